"""A request's body, unpacked: whatever way a client packed it, and never more than the limit.

Nothing is unpacked before somebody asks for the body, which is after the guard has let the request in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.gateway.http.head import Unreadable
from kiro_auth.gateway.http.incoming import TooLarge
from kiro_auth.gateway.http.request import Request

MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes of one request, packed and unpacked.  20 MB of images and history are ordinary traffic; the rest is
headroom."""

_MOST_TIMES: Final = 3
"""How often a body may be packed: each time it may become as large as there may be."""


async def read_body(request: Request) -> bytes:
    """The whole body.  Raises TurnFailed: KA-SIZE, KA-ENCODING, and KA-REQUEST for one that is damaged."""
    try:
        body = await request.body()
    except TooLarge as error:
        raise TurnFailed(_TOO_LARGE) from error
    except Unreadable as error:
        raise TurnFailed(_damaged(error.reason)) from error
    encodings = _encodings(request.head.all("content-encoding"))
    if len(encodings) > _MOST_TIMES:
        raise TurnFailed(_PACKED_TOO_OFTEN)
    if encodings:  # a few bytes may become as many as there may be
        body = await asyncio.to_thread(_unpacked, body, encodings)
    return body


def _unpacked(body: bytes, encodings: Sequence[str]) -> bytes:
    from kiro_auth.gateway import unpacking  # brings what most gateways never need

    for encoding in reversed(encodings):
        unpack = unpacking.UNPACKERS.get(encoding)
        if unpack is None:
            raise TurnFailed(
                Failure(
                    code="KA-ENCODING",
                    message=f"The request's body is packed as {encoding[:40]!r}, which is not known here.",
                    next_step=f"Send it as it is, or packed as one of {', '.join(unpacking.UNPACKERS)}.",
                )
            )
        try:
            body = unpack(body, MAX_BODY + 1) if body else body
        except unpacking.DAMAGED as error:
            raise TurnFailed(_damaged(f"it is not packed as {encoding}, or not whole")) from error
        if len(body) > MAX_BODY:
            raise TurnFailed(_TOO_LARGE)
    return body


def _encodings(lines: Sequence[str]) -> list[str]:
    """How the body was packed, in the order in which that was done."""
    named = ",".join(lines).lower().split(",") if lines else ()
    return [name for name in map(str.strip, named) if name not in ("", "identity")]


def _damaged(reason: str) -> Failure:
    return Failure(code="KA-REQUEST", message=f"The request's body cannot be read: {reason}.")


_TOO_LARGE: Final = Failure(
    code="KA-SIZE",
    message=f"The request is larger than {MAX_BODY >> 20} MiB.",
    next_step="Leave out large attachments, or compact the conversation (/compact).",
)
_PACKED_TOO_OFTEN: Final = Failure(
    code="KA-ENCODING",
    message=f"The request's body is packed more than {_MOST_TIMES} times.",
    next_step="Pack it once, or not at all.",
)
