"""Under which names the programs of one state folder hold the leases of a database.

Such a lease outlives a process that was killed, so that no other machine spends the refresh token whose
successor the process may have kept ahead (`ahead`).  The next program on its state folder finds that, and may
have the lease at once: it is held here by a lock of a file as well, which the system frees with the process,
and beside the lock stands the name that the database knows the holder by.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Final

from kiro_auth.failures import StoreFailed
from kiro_auth.regular_files import open_to_change
from kiro_auth.store.locks import Lock, Locks
from kiro_auth.store.protocol import StoreBusy

_ID: Final = re.compile(rb"[0-9a-f]{32}")


class Holder:
    """One that holds a lease, or tries to: `id` is its name in the database."""

    def __init__(self, id_: str, lock: Lock | None) -> None:
        self.id = id_
        self.lock = lock

    def lasts(self, seconds: float) -> AbstractContextManager[None]:
        """For a block: let others of this state folder hold the lease after so many seconds."""
        return nullcontext() if self.lock is None else self.lock.freed_after(seconds)


class Holders:
    """Those of one folder of locks; where nothing can be written there, of one process."""

    def __init__(self, folder: Path) -> None:
        self._locks = Locks(folder)
        self._left: dict[str, str] = {}  # by name, ids that are in no file and may be in the database still

    @asynccontextmanager
    async def holder(self, name: str, *, wait: float) -> AsyncIterator[Holder]:
        """The only one of this folder until the block ends.

        It has the id of the one before, if the lease may still be that one's.  Raises StoreBusy when another
        is there for `wait` seconds.
        """
        async with AsyncExitStack() as stack:
            try:
                lock = await stack.enter_async_context(self._locks.lock(name, wait=wait))
                id_ = await asyncio.to_thread(_written, lock.path)
            except StoreBusy:
                raise
            except (StoreFailed, OSError):  # a folder that cannot be written: the row alone has to do
                lock, id_ = None, self._left.pop(name, "") or _new_id()
            yield Holder(id_, lock)

    def on_freed(self, holder: Holder) -> None:
        """Forget the id: the database has it no more."""
        if holder.lock is not None:
            with contextlib.suppress(OSError):
                _beside(holder.lock.path).unlink()

    def on_left(self, name: str, holder: Holder) -> None:
        """Keep the id for the next one, as the database may have it still."""
        if holder.lock is None:
            self._left[name] = holder.id


def _written(lock: Path) -> str:
    """The id that stands beside a lock, or a new one that does from now on.  Raises OSError."""
    handle = open_to_change(_beside(lock))
    try:
        there = os.read(handle, 64)
        if _ID.fullmatch(there):
            return there.decode()
        id_ = _new_id()
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, id_.encode())
    finally:
        os.close(handle)
    return id_


def _beside(lock: Path) -> Path:
    return lock.with_suffix(".holder")


def _new_id() -> str:
    return secrets.token_hex(16)
