"""Which requests are much work: some are refused, and the work on others is not done on the event loop.

What a request costs depends less on its bytes than on the values in it: a picture is one, and two bytes may
be one, too.  So they are counted, roughly, before anything is made of them.
"""

from __future__ import annotations

from typing import Final

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.off_loop import Run, Threads, at_once

MOST_VALUES: Final = 500_000
"""JSON values of a request, with the commas and brackets in its texts.  A value and its comma are two tokens,
so that a context of a million tokens holds no more."""
LIGHT_BYTES: Final = 256 * 1024
LIGHT_VALUES: Final = 5_000
"""What is decoded and built within some milliseconds, and so on the event loop."""
THREADS: Final = 2

_REFERENCE: Final = 1000
"""As how many values a `$ref` counts: one in a tool's schema can stand for many others."""
_PIECE: Final = 64 * 1024  # of a body is counted at a time
_ESCAPE: Final = rb"\u00"
_ESCAPED: Final = len(rb"\u002c")

_SIZE: Final = Failure(
    code="KA-SIZE",
    message=f"The request has more than {MOST_VALUES:,} JSON values.",
    next_step="Leave out long lists of values, or compact the conversation (/compact).",
)


def run_for(body: bytes, threads: Threads) -> Run:
    """How to do the work on a request with this body.  Raises TurnFailed (KA-SIZE)."""
    if 2 * len(body) <= LIGHT_VALUES:  # a value takes two bytes at least
        return at_once
    values = values_in(body)
    if values > MOST_VALUES:
        raise TurnFailed(_SIZE)
    light = len(body) <= LIGHT_BYTES and values + _REFERENCE * body.count(b"$ref") <= LIGHT_VALUES
    return at_once if light else threads.run


def values_in(body: bytes) -> int:
    """About how many values there are, never too few; once they are too many, the rest is not counted.

    An escape may be one of the signs between values, in JSON that stands in a text.  Where there is no room
    for too many of them, they are not looked for: that would take longer than all the rest.
    """
    values = 0
    for start in range(0, len(body), _PIECE):
        commas = body[start : start + _PIECE].replace(b"[", b",").replace(b"{", b",")  # which is fast
        values += commas.count(b",")
        if values > MOST_VALUES:
            return values
    escapes = len(body) // _ESCAPED
    if len(body) <= LIGHT_BYTES or values + escapes > MOST_VALUES:
        escapes = body.count(_ESCAPE)
    return values + escapes
