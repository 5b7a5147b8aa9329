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
_LEAST: Final = len(b"0,")  # bytes of a value
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
    if len(body) > LIGHT_BYTES:
        if has_too_many_values(body):
            raise TurnFailed(_SIZE)
        return threads.run
    light = values_in(body) + _REFERENCE * body.count(b"$ref") <= LIGHT_VALUES
    return at_once if light else threads.run


def values_in(body: bytes) -> int:
    """About how many values there are, never too few."""
    return _signs(body) + body.count(_ESCAPE)


def has_too_many_values(body: bytes) -> bool:
    """Whether there may be more than MOST_VALUES.

    No more is counted than what decides it: most bodies are too short for so many.  An escape may be one of
    the signs between values, in JSON that stands in a text.  Where there is no room for too many of them,
    they are not looked for, and where there is none they are not counted, which takes four times as long.
    """
    values = 0
    for start in range(0, len(body), _PIECE):
        if values + start // _ESCAPED + (len(body) - start) // _LEAST <= MOST_VALUES:
            return False
        values += _signs(body[start : start + _PIECE])
        if values > MOST_VALUES:
            return True
    if values + len(body) // _ESCAPED <= MOST_VALUES or body.rfind(_ESCAPE) < 0:
        return False
    return values + body.count(_ESCAPE) > MOST_VALUES


def _signs(body: bytes) -> int:
    """The commas and opening brackets."""
    return body.replace(b"[", b",").replace(b"{", b",").count(b",")  # which is fast
