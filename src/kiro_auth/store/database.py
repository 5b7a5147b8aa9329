"""The connections to a database, in a thread of their own with an event loop of its own.

So any thread and any event loop can use one, a program without a loop too; and whatever the database does
not answer within `SECONDS` ends there, also when its machine is only frozen.  What is to be done is done one
after another on one connection; a second one hears of changes.  A connection that broke is made anew with the
next use.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors

from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.store.address import Address
from kiro_auth.store.schema import STEPS, Connection, made

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]
"""What is to be done on a connection.  It may be called again after an attempt that left nothing behind."""

SECONDS: Final = 1.5
"""The longest that a connection and the work on it may take."""
CHANNEL: Final = "kiro_auth"
"""What LISTEN and NOTIFY name."""
_REST: Final = 0.5
"""Seconds in which a database that could not be reached is not asked again: who comes then fails at once."""
_TRUSTED: Final = 1.0
"""Seconds after its last use in which a connection is not looked at before it is used again."""
_TRIES: Final = 10
_CLOSING_SECONDS: Final = 2.0
_FROZEN: Final = "5s"
"""After so long in the middle of a transaction a program counts as gone: until then its locks stop others."""
_LOCKED: Final = "2s"
"""The longest that a statement waits for a lock: a little longer than anybody waits for the statement."""
_FIRST: Final = """
    SELECT version(), set_config('idle_in_transaction_session_timeout', %s, false),
        set_config('lock_timeout', %s, false)
"""
"""A database does not notice by itself that a machine lost its power, or that nobody waits any more."""
_WITHOUT_NOTICES: Final = ("CockroachDB", "-YB-")
"""Parts of the versions of engines that have no NOTIFY."""
_OF_CONNECTIONS: Final = (psycopg.OperationalError, psycopg.InterfaceError)
_BROKEN: Final = ("08", "57P", "25P03")
"""How the SQLSTATE of a connection begins that broke, or that the server ended."""
_REFUSALS: Final = {
    "25006": ("takes no changes", "Have KIRO_STORE name the server that does, or let it take some again."),
    "55P03": ("is held up by another program that changes the same", "Repeat the request."),
    "53100": ("has no room left on its disk", "Make room there; nothing needs to be started again."),
}
"""What is said of a SQLSTATE, and what helps."""
_OTHER_REFUSAL: Final = (
    "refuses what it was asked for",
    "Check what its user may do, and run: kiro-auth store migrate",
)


class Database:
    """One database, by its address `postgresql://user@host:port/name`.

    Nothing is opened before the first use.  What is `patient` waits for locks as long as its work may take.
    Raises ConfigFailed for an address that cannot be read.
    """

    def __init__(self, url: str, *, migrated: bool = True, patient: bool = False) -> None:
        self._address = Address(url)
        self.name = self._address.name
        self._migrated = migrated
        self._patient = patient
        self._loop = asyncio.SelectorEventLoop()  # the one that psycopg can use on every system
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None
        self._used = 0.0
        self._down: tuple[float, Failure] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.gives_notice = True
        """Whether the engine has LISTEN and NOTIFY; known with the first connection."""

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Have it run in the database's thread; it goes on if nobody waits for it any more."""
        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop.run_forever, name="database", daemon=True)
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def do_soon(self, work: Callable[[], object]) -> None:
        """Have it called in the database's thread, unless that has ended; nobody waits for it."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(work)

    async def call(self, work: Work[T], *, seconds: float = SECONDS) -> T:
        """Do it, from any loop.  Raises StoreFailed, and what `work` raises that is no psycopg.Error."""
        return await outcome(self.submit(self.run(work, seconds=seconds)))

    async def run(self, work: Work[T], *, seconds: float = SECONDS) -> T:
        """As `call`, for who is in the database's thread."""
        async with self._turn:
            if self._down is not None and time.monotonic() < self._down[0]:
                raise StoreFailed(self._down[1])
            try:
                return await in_time(self._tried(work), lambda: self._connection, seconds)
            except (psycopg.Error, TimeoutError, OSError) as error:
                failure = _failure(self.name, error)
                if self._connection is None or isinstance(error, TimeoutError):  # else it may well be there
                    self._down = time.monotonic() + _REST, failure
                await self._drop()
                raise StoreFailed(failure) from error
            except (StoreFailed, asyncio.CancelledError):
                await self._drop()  # it has no tables yet, or was broken off; the next one looks again
                raise
            finally:
                self._used = time.monotonic()

    async def give_notice(self, connection: Connection) -> None:
        """Have all who listen look, once the transaction is done; where the engine has notices."""
        if self.gives_notice:
            await connection.execute(f"NOTIFY {CHANNEL}")

    async def connect(self) -> Connection:
        """A connection more, in autocommit.  Raises psycopg.Error, TimeoutError."""
        try:
            return await psycopg.AsyncConnection.connect(str(self._address), autocommit=True)
        except BaseException:  # it may have been broken off while a server did not answer
            self._address.on_failed()
            raise

    def close(self) -> None:
        """Close all connections, after what is under way; nothing may be done afterwards."""
        thread = self._thread
        if thread is None:
            self._loop.close()
        elif thread is not threading.current_thread() and self._loop.is_running():
            with contextlib.suppress(TimeoutError):
                self.submit(self._closed()).result(_CLOSING_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(_CLOSING_SECONDS)
            if not thread.is_alive():
                self._loop.close()

    def keep_running(self, work: Coroutine[Any, Any, None]) -> None:
        """Have it run, at most until `close`; for who is in the database's thread."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _closed(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._turn:
            await self._drop()

    async def _tried(self, work: Work[T]) -> T:
        """The engine may end a transaction in favour of another; it is to be done again then."""
        for left in reversed(range(_TRIES)):
            connection = await self._connected()
            try:
                return await work(connection)
            except (errors.SerializationFailure, errors.DeadlockDetected):
                if not left:
                    raise
        raise AssertionError

    async def _connected(self) -> Connection:
        connection = self._connection
        if connection is not None and time.monotonic() - self._used > _TRUSTED:
            try:
                await connection.execute("SELECT 1")
            except psycopg.Error:  # the database was started again meanwhile
                await self._drop()
                connection = None
        if connection is None:
            connection = self._connection = await self.connect()
            found = await connection.execute(_FIRST, [_FROZEN, "0" if self._patient else _LOCKED])
            row = await found.fetchone()
            self.gives_notice = not any(part in str(row) for part in _WITHOUT_NOTICES)
            if self._migrated and await made(connection) < len(STEPS):
                raise StoreFailed(_without_tables(self.name))
        return connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()


async def outcome(done: Future[T]) -> T:
    """What it gives, or raises; it goes on if who waits is cancelled."""
    waiting = asyncio.wrap_future(done)
    # Of a failure that nobody hears of, since who waited has left, asyncio would log that.
    waiting.add_done_callback(lambda over: over.cancelled() or over.exception())
    return await asyncio.shield(waiting)


async def in_time(
    work: Coroutine[Any, Any, T], used: Callable[[], Connection | None], seconds: float = SECONDS
) -> T:
    """What `work` gives, within so many seconds; else its connection is broken off.  Raises TimeoutError.

    A cancelled statement waits until the database has agreed, which a frozen one never does.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            raise TimeoutError
        return task.result()
    finally:
        if not task.done():
            if connection := used():
                connection.pgconn.finish()
            task.cancel()
            await asyncio.wait({task})
            _ = task.cancelled() or task.exception()


def _failure(name: str, error: Exception) -> Failure:
    code = error.sqlstate if isinstance(error, psycopg.Error) else None
    is_answer = isinstance(error, psycopg.Error) and not isinstance(error, _OF_CONNECTIONS)
    if code.startswith(_BROKEN) if code else not is_answer:
        return _unreachable(name, error)
    return _refused(name, code or type(error).__name__)


def _unreachable(name: str, error: Exception) -> Failure:
    return Failure(
        code="KA-DATABASE",
        message=f"The database {name} cannot be reached: {_reason(error)}.",
        next_step="Start it, or correct KIRO_STORE, then test it: kiro-auth store check",
    )


def _reason(error: Exception) -> str:
    """In words of ours, as those of the library may quote what it was given."""
    if isinstance(error, TimeoutError):
        return f"it does not answer within {SECONDS:g} seconds"
    text = str(error)
    known = {
        "Connection refused": "nothing listens there",
        "No such file or directory": "nothing listens there",
        "password authentication failed": "it refuses the password",
        "no password supplied": "it asks for a password",
        "does not exist": "it has no such database or user",
        "no pg_hba.conf entry": "it does not let this user in from here",
        "too many": "it has too many connections",
        "session is read-only": "it takes no changes",
        "starting up": "it is starting",
        "shutting down": "it is ending",
        "certificate": "its certificate is not accepted",
        "resolve": "its name cannot be looked up",
        "Name or service not known": "its name cannot be looked up",
    }
    return next((words for part, words in known.items() if part in text), "the connection broke")


def _refused(name: str, code: str) -> Failure:
    words, next_step = _REFUSALS.get(code, _OTHER_REFUSAL)
    return Failure(
        code="KA-DATABASE", message=f"The database {name} {words} (SQLSTATE {code}).", next_step=next_step
    )


def _without_tables(name: str) -> Failure:
    return Failure(
        code="KA-DATABASE",
        message=f"The database {name} lacks tables of this release.",
        next_step="Run once: kiro-auth store migrate",
    )
