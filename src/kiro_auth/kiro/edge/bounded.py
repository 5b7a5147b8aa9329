"""Answers that are read whole: up to a limit, packed or not."""

from __future__ import annotations

from typing import Final

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro.edge.answer import Answer

LARGEST: Final = 2 * 1024 * 1024
"""Bytes of one answer, unpacked; the longest list seen has a twentieth."""


async def read_bounded(answer: Answer) -> bytes:
    """The body.  Raises TurnFailed (KA-SERVICE) when it is longer than `LARGEST`, and LineFailed.

    It is unpacked by and by, so that no more than the limit, and one step of unpacking, is ever in memory.
    """
    parts: list[bytes] = []
    size = 0
    while part := await answer.read():
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise TurnFailed(
                Failure(
                    code="KA-SERVICE",
                    message=f"The answer of {answer.host} is longer than {LARGEST >> 20} MB.",
                    next_step="Repeat it; check that no proxy changes answers.",
                )
            )
    return b"".join(parts)
