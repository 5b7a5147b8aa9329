"""Whether something came on a connection that nobody has read yet."""

from __future__ import annotations

import asyncio
import select


def has_unread(transport: asyncio.BaseTransport) -> bool:
    """Whether bytes, or its end, wait in the system's buffer of this connection, which must be open."""
    number = transport.get_extra_info("socket").fileno()
    if hasattr(select, "poll"):
        looking = select.poll()
        looking.register(number, select.POLLIN)
        return bool(looking.poll(0))
    return bool(select.select([number], [], [], 0)[0])
