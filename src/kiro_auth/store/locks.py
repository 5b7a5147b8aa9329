"""Locks and leases between processes, as files that the operating system locks.

It frees the lock of a process that died at once, however that died.  The files are those that releases
before the leases lock as well, so that both exclude each other.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from kiro_auth.failures import Failure
from kiro_auth.file_lock import FileLock
from kiro_auth.regular_files import make_folder
from kiro_auth.store.json_file import unusable
from kiro_auth.store.protocol import StoreBusy

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,79}")
_LOOK_SECONDS: Final = 0.05
"""Between two looks at a lease that another holds."""


class Locks:
    """Locks by name, each a file in `folder`, which is made with the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def held(self, name: str, *, wait: float) -> Iterator[None]:
        """Exclude other threads and processes for a block of one thread.

        Raises StoreBusy when another holds it for `wait` seconds, and StoreFailed.
        """
        lock = Lock(self._path(name))
        if not lock.take(wait):
            raise lock.busy()
        try:
            yield
        finally:
            lock.free()

    @asynccontextmanager
    async def lease(self, name: str, seconds: float, *, wait: float) -> AsyncIterator[None]:
        """See `Store.lease`.

        A process that is stopped as a whole (Ctrl-Z) does not notice the end, and keeps the lease until it
        goes on or is ended.
        """
        async with self.lock(name, wait=wait) as lock:
            with lock.freed_after(seconds):
                yield

    @asynccontextmanager
    async def lock(self, name: str, *, wait: float) -> AsyncIterator[Lock]:
        """A lock that is held until the block ends, or it is freed.  Raises as `lease` does."""
        lock = Lock(self._path(name))
        try:
            await _taken(lock, time.monotonic() + wait)
            yield lock
        finally:
            lock.free()  # to close a file takes no time, and must not be cancelled

    def _path(self, name: str) -> Path:
        """Names hold ids, which are anybody's; one that is not plain is hashed."""
        if not _PLAIN.fullmatch(name):
            name = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
        return self._folder / f"{name}.lock"


async def _taken(lock: Lock, end: float) -> None:
    # No thread waits: a program that ends would have to wait for it.
    while not await asyncio.to_thread(lock.take):
        if time.monotonic() >= end:
            raise lock.busy()
        await asyncio.sleep(_LOOK_SECONDS)


class Lock:
    """One try to hold a lock: once freed it is never taken, not even by a thread that only begins then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path)
        self._guard = threading.Lock()
        self._over = False

    def take(self, wait: float = 0.0) -> bool:
        """Whether it is held now; raises StoreFailed.  `free` waits while this does."""
        with self._guard:
            if self._over:
                return False
            try:
                make_folder(self.path.parent)
                return self._lock.take(wait, look=0.01)
            except OSError as error:
                raise unusable(self.path, error) from error

    def free(self) -> None:
        """Let others hold it; nothing happens the second time."""
        with self._guard:
            self._over = True
            self._lock.free()

    @contextmanager
    def freed_after(self, seconds: float) -> Iterator[None]:
        """Free it after so many seconds, if the block goes on so long."""
        end = asyncio.get_running_loop().call_later(seconds, self.free)
        try:
            yield
        finally:
            end.cancel()

    def busy(self) -> StoreBusy:
        """That another holds it."""
        return StoreBusy(
            Failure(
                code="KA-STORE",
                message=f"Another program holds {self.path} for long.",
                next_step="Look for a kiro-auth process that hangs, and end it.",
            )
        )
