"""Trouble of this machine, for as long as a block lasts: a full disk, names that are not found."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process grows: what is written behind a file's end, and what is new, meets ENOSPC.

    A quota of a real file system needs root; so the system's calls are stood in for, where all writing of
    the store ends.
    """
    write, fsync = os.write, os.fsync

    def full_write(handle: int, data: Any, /) -> int:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            end = os.lseek(handle, 0, os.SEEK_CUR) + len(data)
            if end > os.fstat(handle).st_size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data)

    def full_fsync(handle: int, /) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    os.write, os.fsync = full_write, full_fsync  # type: ignore[assignment]
    try:
        yield
    finally:
        os.write, os.fsync = write, fsync


class Names:
    """The names of hosts, as this event loop finds them: the next `missing` looks find nothing."""

    def __init__(self) -> None:
        self.missing = 0

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        loop: Any = asyncio.get_running_loop()
        look = loop.getaddrinfo

        async def found(*args: Any, **options: Any) -> Any:
            if self.missing > 0:
                self.missing -= 1
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return await look(*args, **options)

        loop.getaddrinfo = found
        try:
            yield
        finally:
            loop.getaddrinfo = look
