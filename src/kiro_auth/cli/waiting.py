"""A sign of life while a command waits for the network, for people who look at a terminal."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kiro_auth.cli.terminal import width

SILENT_SECONDS: Final = 1.0
"""What takes no longer needs no sign."""
_FRAME_SECONDS: Final = 0.1
_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_FRAMES: Final = "|/-\\"
_CLEARED: Final = "\r\x1b[K"


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """Say on stderr what is waited for, from a second on and until the block ends.

    Print nothing within the block.  Pipes, CI and terminals that cannot move back are shown nothing.
    """
    if not sys.stderr.isatty() or os.environ.get("CI") or os.environ.get("TERM") in ("dumb", "unknown"):
        yield
        return
    over = threading.Event()
    sign = threading.Thread(target=_show, args=(words, over), daemon=True)
    sign.start()
    try:
        yield
    finally:
        over.set()
        sign.join()


def _show(words: str, over: threading.Event) -> None:
    begun = time.monotonic()
    if over.wait(SILENT_SECONDS):
        return
    frames = _FRAMES if "utf" in (sys.stderr.encoding or "").lower() else _PLAIN_FRAMES
    for frame in itertools.cycle(frames):
        text = f"{frame} {words} ({time.monotonic() - begun:.0f} s)"
        sys.stderr.write(f"\r{text[: width() - 1]}")
        sys.stderr.flush()
        if over.wait(_FRAME_SECONDS):
            break
    sys.stderr.write(_CLEARED)
    sys.stderr.flush()
