"""Under which names the programs of one state folder hold the leases of a database.

Such a lease outlives a process that was killed, so that no other machine spends the refresh token whose
successor the process may have kept ahead (`ahead`).  The next program on its state folder finds that, and may
have the lease at once: it is held here by a lock of a file as well, which the system frees with the process,
and beside the lock stands the name that the database knows the holder by.

A lock that is free says that a process is over only on the machine where the process ran: a folder that two
machines share by mistake may be on a file system that keeps locks for each of them.  So the name counts only
on the machine that wrote it, until that is started again.
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

_ID: Final = re.compile(r"([0-9a-f]{32}) ([\w-]*)")
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
"""What differs for each machine and each of its starts, on Linux; containers see that of their machine."""


class Holder:
    """One that holds a lease, or tries to: `id` is its name in the database.

    `follows`: it has the name of one before, which may hold the lease still.
    """

    def __init__(self, id_: str, lock: Lock | None, *, follows: bool) -> None:
        self.id = id_
        self.lock = lock
        self.follows = follows

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
                holder = await asyncio.to_thread(_written, lock)
            except StoreBusy:
                raise
            except (StoreFailed, OSError):  # a folder that cannot be written: the row alone has to do
                left = self._left.pop(name, None)
                holder = Holder(left or _new_id(), None, follows=left is not None)
            yield holder

    def on_freed(self, holder: Holder) -> None:
        """Forget the id: the database has it no more."""
        if holder.lock is not None:
            with contextlib.suppress(OSError):
                _beside(holder.lock.path).unlink()

    def on_left(self, name: str, holder: Holder) -> None:
        """Keep the id for the next one, as the database may have it still."""
        if holder.lock is None:
            self._left[name] = holder.id


def _written(lock: Lock) -> Holder:
    """The one whose name stands beside the lock, or a new one, whose name is put there.  Raises OSError."""
    machine = _machine()
    handle = open_to_change(_beside(lock.path))
    try:
        there = _ID.fullmatch(os.read(handle, 128).decode(errors="replace"))
        if there and there[2] == machine:
            return Holder(there[1], lock, follows=True)
        id_ = _new_id()
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"{id_} {machine}".encode())
    finally:
        os.close(handle)
    return Holder(id_, lock, follows=False)


def _machine() -> str:
    """What tells this machine, since its start, from others; nothing where the system does not say."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _beside(lock: Path) -> Path:
    return lock.with_suffix(".holder")


def _new_id() -> str:
    return secrets.token_hex(16)
