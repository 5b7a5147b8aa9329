"""How much work something is, whatever the machine: calls, of Python's and of C functions."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable


def counting() -> tuple[Callable[[], None], Callable[[], int]]:
    """How to begin to count the calls of this thread, and how to end, which gives how many there were.

    Nothing is collected meanwhile: what listens to that would be counted, whenever it happens to be due.
    """
    count, collects = 0, gc.isenabled()
    before = sys.getprofile()

    def counted(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    def begin() -> None:
        gc.disable()
        sys.setprofile(counted)

    def end() -> int:
        sys.setprofile(before)
        if collects:
            gc.enable()
        return count - 2  # the ones that end the counting

    return begin, end


def calls(work: Callable[[], object]) -> int:
    """How many calls it makes."""
    begin, end = counting()
    begin()
    try:
        work()
    finally:
        count = end()
    return count
