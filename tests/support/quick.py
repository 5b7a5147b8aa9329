"""`--quick`: only tests that start no process and open no socket, and a proof that they do not.

Which those are is read from what a test's module imports, so that no list has to be kept.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

OUTSIDE = (
    "pexpect", "playwright", "support.chromium", "support.ledgers", "support.npm", "support.opencode",
    "support.postgres", "support.programs", "support.scripted", "support.scripted_gateway",
    "support.serving", "support.window",
)  # fmt: skip
"""Modules by which tests reach processes and sockets."""
_IMPORTS = re.compile(rf"^\s*(?:from|import) (?:{'|'.join(map(re.escape, OUTSIDE))})\b", re.MULTILINE)
_MARK = "pytest.mark.outside"
_FOR_ALL = Path(__file__).parents[1] / "conftest.py"
FORBIDDEN = frozenset(
    {"os.exec", "os.fork", "os.posix_spawn", "socket.bind", "socket.connect", "subprocess.Popen"}
)


def is_quick(path: Path) -> bool:
    """Whether neither a file of tests nor its folder's fixtures import what reaches outside.

    A file may also mark by itself which of its tests do.  The files are read, not imported, which would take
    seconds.
    """
    fixtures = path.with_name("conftest.py")
    files = [path, *([fixtures] if fixtures.exists() and fixtures != _FOR_ALL else [])]
    texts = [file.read_text() for file in files]
    return _MARK in texts[0] or not any(map(_IMPORTS.search, texts))


class Forbidding:
    """While entered, starting a process or opening a connection is an error of the test that does it."""

    def __init__(self) -> None:
        self._entered = False
        sys.addaudithook(self._hook)  # there is no way to take one back

    def __enter__(self) -> None:
        self._entered = True

    def __exit__(self, *_: object) -> None:
        self._entered = False

    def _hook(self, event: str, _: tuple[object, ...]) -> None:
        if self._entered and event in FORBIDDEN:
            raise AssertionError(f"{event}: with --quick only tests run that reach nothing outside")
