"""Places and homes in one SQLite file, shared by the processes of one machine.

A process has a row for each name of which it holds places, with how many they are.  The row is always set to
what the process itself counts, so whatever could not be written is right with the next write.  Each process
holds a lock of the system for as long as it lives: who finds no place free looks which of the others still
hold theirs, and the rows of those that ended go at once, however they ended.  A process that only sleeps
loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from typing import Final

from kiro_auth.failures import StoreFailed
from kiro_auth.store.lately_full import LatelyFull
from kiro_auth.store.locks import Lock
from kiro_auth.store.sqlite_file import Change, SqliteFile
from kiro_auth.store.together import Together

UNUSED_DAYS: Final = 30
"""After so many days without a request a conversation is forgotten."""
_DAY: Final = 86400
_AGAIN_SECONDS: Final = 1.0
"""After a write that failed."""
_LIVING_SECONDS: Final = 1.0
"""The longest wait for one's own lock, which another may look at as it is made."""
_LIFE, _LOCK = "process-", ".lock"
"""How the names of these locks begin and end."""


class SqlitePlaces:
    """See `Places`, and the module; what takes a connection is for the thread that writes."""

    lags: Final = (0.01, 0.04)
    """See `Places.lags`."""

    def __init__(self, file: SqliteFile, changes: Together[Change], locks: Path) -> None:
        self._file = file
        self._changes = changes
        self._locks = locks
        self._id = secrets.token_hex(16)
        self._life = Lock(_life(locks, self._id))
        self._lives = False
        self._guard = threading.Lock()
        self._held: Counter[str] = Counter()
        self._unwritten: set[str] = set()
        self._full = LatelyFull(0.01, 0.05)

    @property
    def full(self) -> Collection[str]:
        """See `Places.full`."""
        return self._full.names

    async def take(self, name: str, limit: int) -> bool:
        """See `Places.take`."""
        taken: list[bool] = []
        asked = time.monotonic()

        def take(connection: sqlite3.Connection) -> None:
            self._live()
            with self._guard:
                mine = self._held[name]
            if mine < limit and mine + self._of_others(connection, name, limit - mine) < limit:
                with self._guard:
                    self._held[name] += 1
                self._put(connection, name)
                taken.append(True)

        making = self._changes.begin(take)
        try:
            await asyncio.shield(asyncio.wrap_future(making))
        except (asyncio.CancelledError, StoreFailed):
            self._give_back_if(name, taken, making)
            raise
        if taken:
            self._full.taken(name)
        else:
            self._full.refused(name, asked)
        return bool(taken)

    def release(self, name: str) -> None:
        """See `Places.release`; what could not be written is written later."""
        with self._guard:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]
            self._unwritten.add(name)
        self._write_soon()

    async def count(self, name: str) -> int:
        """See `Places.count`."""
        counts: list[int] = []

        def count(connection: sqlite3.Connection) -> None:
            with self._guard:
                mine = self._held[name]
            counts.append(mine + self._of_others(connection, name, 1))

        if not self._file.path.exists():
            return 0
        await self._changes.make(count)
        return counts[0]

    async def freed(self) -> None:
        """See `Places.freed`: it is asked again a moment later."""
        await self._full.over()

    def forget_ended(self, connection: sqlite3.Connection) -> None:
        """Remove the rows and the locks of processes that ended."""
        rows = {process for (process,) in connection.execute("select process from places")}
        locks = {path.name[len(_LIFE) : -len(_LOCK)] for path in self._locks.glob(f"{_LIFE}*{_LOCK}")}
        for process in rows | locks:
            self._remove_if_ended(connection, process)

    def _give_back_if(self, name: str, taken: list[bool], making: Future[None]) -> None:
        """Once the taking is over, give back what was taken for one who does not want it any more."""
        loop = asyncio.get_running_loop()

        def look(_: Future[None]) -> None:
            if taken:
                with contextlib.suppress(RuntimeError):  # the program ends, and its places with it
                    loop.call_soon_threadsafe(self.release, name)

        making.add_done_callback(look)

    def _write_soon(self) -> None:
        names: set[str] = set()
        loop = asyncio.get_running_loop()

        def write(connection: sqlite3.Connection) -> None:
            with self._guard:
                names.update(self._unwritten)
                self._unwritten.clear()
            for name in names:
                self._put(connection, name)

        def look(done: Future[None]) -> None:
            if done.exception() is not None:
                with self._guard:
                    self._unwritten |= names
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(loop.call_later, _AGAIN_SECONDS, self._write_soon)

        self._changes.begin(write).add_done_callback(look)

    def _put(self, connection: sqlite3.Connection, name: str) -> None:
        """Write how many this process holds."""
        with self._guard:
            taken = self._held[name]
        if taken:
            connection.execute(
                "insert or replace into places (name, process, taken) values (?, ?, ?)",
                [name, self._id, taken],
            )
        else:
            connection.execute("delete from places where name = ? and process = ?", [name, self._id])

    def _of_others(self, connection: sqlite3.Connection, name: str, free: int) -> int:
        """How many others hold; if they seem to leave none of so many free, of those alone that live."""
        query = "select process, taken from places where name = ? and process <> ?"
        rows = connection.execute(query, [name, self._id]).fetchall()
        if sum(taken for _, taken in rows) < free:
            return sum(taken for _, taken in rows)
        return sum(taken for process, taken in rows if not self._remove_if_ended(connection, process))

    def _live(self) -> None:
        """Hold the lock that says so.  Raises StoreFailed."""
        if not self._lives and not self._life.take(_LIVING_SECONDS):
            raise self._life.busy()
        self._lives = True

    def _remove_if_ended(self, connection: sqlite3.Connection, process: str) -> bool:
        if process == self._id:
            return False
        path = _life(self._locks, process)
        lock = Lock(path)
        if not lock.take():
            return False
        connection.execute("delete from places where process = ?", [process])
        with contextlib.suppress(OSError):  # on Windows another may look at it now
            path.unlink(missing_ok=True)
        lock.free()
        return True


class SqliteHomes:
    """See `Homes`.  The ids of conversations, which clients choose, are kept as their SHA-256 alone."""

    def __init__(self, file: SqliteFile, changes: Together[Change]) -> None:
        self._file = file
        self._changes = changes
        self._settling: dict[bytes, str] = {}  # what is not written yet

    async def home(self, session: str | None) -> str | None:
        """See `Homes.home`: a row by its primary key, which takes less time than to wait for a thread."""
        if session is None:
            return None
        key = _hashed(session)
        if (settling := self._settling.get(key)) is not None:
            return settling
        query = "select account, used from homes where session = ?"
        found = self._file.read(lambda connection: connection.execute(query, [key]).fetchone(), None)
        if found is None:
            return None
        account_id, used = found
        if used != _today():
            self._settle(key, account_id)
        return str(account_id)

    def settle(self, session: str | None, account_id: str) -> None:
        """See `Homes.settle`.  Where it fails, the next request of the conversation settles it."""
        if session is not None:
            self._settle(_hashed(session), account_id)

    def forget_unused(self, connection: sqlite3.Connection) -> None:
        """Remove the conversations that had no request for UNUSED_DAYS."""
        connection.execute("delete from homes where used < ?", [_today() - UNUSED_DAYS])

    def _settle(self, key: bytes, account_id: str) -> None:
        self._settling[key] = account_id

        def settle(connection: sqlite3.Connection) -> None:
            connection.execute(
                "insert or replace into homes (session, account, used) values (?, ?, ?)",
                [key, account_id, _today()],
            )
            if key[0] == 0:  # now and then, by chance, as hashes are spread evenly
                self.forget_unused(connection)

        def look(done: Future[None]) -> None:
            done.exception()
            if self._settling.get(key) is account_id:
                self._settling.pop(key, None)

        self._changes.begin(settle).add_done_callback(look)


def _life(locks: Path, process: str) -> Path:
    return locks / f"{_LIFE}{process}{_LOCK}"


def _today() -> int:
    return int(time.time()) // _DAY


def _hashed(session: str) -> bytes:
    return sha256(session.encode(errors="surrogatepass")).digest()
