"""What the system says of processes, any of which may end while it is asked."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path


def gone(pid: int) -> bool:
    """Whether the process has ended, be it that nobody has taken notice of that yet.

    Its first thread may have ended before others, which still hold its files and sockets.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z" and len(os.listdir(f"/proc/{pid}/task")) == 1
    except (FileNotFoundError, ProcessLookupError):  # the second where it ends between opening and reading
        return True


def until_gone(pid: int) -> None:
    """Wait for its end."""
    while not gone(pid):
        time.sleep(0.01)


def processor_seconds(pid: int) -> float:
    """How long a process has worked so far, which is no longer on a busy machine."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> Iterator[tuple[int, bytes]]:
    """The processes that one has started, each with its command line."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            yield int(stat.parent.name), command
