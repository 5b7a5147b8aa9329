"""The client at the other end: whether it takes what is written, how long it is waited for, and its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from kiro_auth.gateway.http import limits

NEVER: Final = float("inf")


class Peer(asyncio.Protocol):
    """See the module.  `on_writable` hears when it takes less than was written, and when it takes again.

    What it sends counts until that is dropped.  When the deadline has come it is too late.
    """

    __slots__ = (
        "_deadline", "_drops", "_lingers_until", "_loop", "_unsent", "on_writable", "transport", "writable",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.transport: asyncio.Transport
        self.writable = True
        self.on_writable: Callable[[bool], None] | None = None
        self._drops = False  # whatever still comes
        self._deadline = NEVER
        self._lingers_until = 0.0
        self._unsent = 0  # bytes, when the deadline was last looked at

    def pause_writing(self) -> None:
        """The client takes less than was written."""
        self.writable = False
        if self.on_writable is not None:
            self.on_writable(False)

    def resume_writing(self) -> None:
        """The client takes again."""
        self.writable = True
        if self.on_writable is not None:
            self.on_writable(True)

    def _wait(self, seconds: float) -> None:
        self._deadline = self._loop.time() + seconds

    def _takes(self) -> bool:
        """Whether the client has taken something of what was written since the last time."""
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        return 0 < self._unsent != before

    def _leave(self, *, lingers: bool) -> None:
        """Close it when all is written; a client that still sends is given some time to read first."""
        self._drops = True
        if not lingers or self.transport.is_closing():
            self._wait(limits.BODY_SECONDS)
            self.transport.close()
            return
        self._wait(limits.LINGER_SECONDS)
        self._lingers_until = self._loop.time() + limits.SILENT_SECONDS
        with contextlib.suppress(OSError, RuntimeError):  # under TLS there is no such thing
            self.transport.write_eof()

    def _still_sends(self) -> None:
        """Something came that is dropped: who lingers may go on for a while."""
        if self._loop.time() < self._lingers_until:
            self._wait(limits.LINGER_SECONDS)
