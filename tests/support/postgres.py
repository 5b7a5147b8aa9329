"""A real PostgreSQL for tests: a cluster of their own, in a folder of its own, at a port of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kiro_auth.store.postgres import PostgresStore, migrate
from support.ports import free_port
from support.storing import at_once

USER = "kiro"
KEY = bytes(range(32))
_TABLES = ("accounts", "leases", "notes", "replicas", "homes", "keys", "key_audit")


def programs() -> Path | None:
    """Where PostgreSQL's programs are; Debian does not put them on the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


class Cluster:
    """A database server that can be stopped, started again, and frozen."""

    def __init__(self, folder: Path, bin_: Path, *, durable: bool = False) -> None:
        self._folder = folder
        self._fsync = "on" if durable else "off"
        self._bin = bin_
        # It refuses to run as root.
        self._as: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:
            self._as |= {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(folder, "postgres", "postgres")
        self.port = free_port()
        self._run("initdb", "-D", "data", "-U", USER, "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8")
        self.start()

    def start(self) -> None:
        options = (
            f"-h 127.0.0.1 -p {self.port} -k {self._folder} -c fsync={self._fsync} -c max_connections=300 "
            "-c shared_buffers=16MB -c autovacuum=off"
        )
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` is as if its machine had failed; `fast` breaks all connections off in order."""
        self._run("pg_ctl", "-D", "data", "-m", mode, "-w", "stop")

    @contextlib.contextmanager
    def stopped(self, mode: str = "immediate") -> Iterator[None]:
        self.stop(mode)
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections stay, and new ones are taken by the system; nothing answers."""
        os.kill(self.processes()[0], signal.SIGSTOP)  # from now on there is no further one
        processes = self.processes()
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(processes):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def log(self) -> str:
        """What the server has written down."""
        return (self._folder / "log").read_text(errors="replace")

    def processes(self) -> list[int]:
        """The ids of all its processes, the first one first."""
        parent = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True)
        return [parent, *map(int, listed.stdout.split())]

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def execute(self, statement: Any, name: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    @contextlib.contextmanager
    def logged(self, name: str) -> Iterator[list[str]]:
        """The statements of connections to a database that are made meanwhile; there after the block."""
        self.execute(f"ALTER DATABASE {name} SET log_statement = 'all'")
        log = self._folder / "log"
        before = log.stat().st_size
        statements: list[str] = []
        yield statements
        self.execute(f"ALTER DATABASE {name} RESET log_statement")
        entries = re.split(r"^\d{4}-\d\d-\d\d .*?\] ", log.read_bytes()[before:].decode(), flags=re.MULTILINE)
        found = [re.match(r"LOG:  (?:execute [^:]*|statement): (.*)", entry, re.DOTALL) for entry in entries]
        statements.extend(" ".join(each[1].split()) for each in found if each)

    def new_database(self, name: str) -> str:
        """An empty database; its address."""
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, timeout=240, **self._as,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """A server for as long as the block lasts; without PostgreSQL the test is skipped, but never in CI.

    One that is `durable` waits for the disk with each commit, as servers do that are no test's.
    """
    bin_ = programs()
    if bin_ is None:
        assert "CI" not in os.environ, "PostgreSQL is missing: apt-get install postgresql"
        pytest.skip("needs PostgreSQL's programs")
    with tempfile.TemporaryDirectory(prefix="kiro-postgres-", ignore_cleanup_errors=True) as folder:
        server = Cluster(Path(folder), bin_, durable=durable)
        try:
            yield server
        finally:
            server.stop()


async def listening(url: str, count: int) -> None:
    """Wait until so many programs hear of changes in this database."""
    query = """
        SELECT count(*) >= %s FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%%'
    """
    with psycopg.connect(url, autocommit=True) as connection:
        async with asyncio.timeout(20):
            while connection.execute(query, [count]).fetchone() != (True,):
                await asyncio.sleep(0.02)


def migrated(url: str) -> str:
    """The address, with all tables there."""
    at_once(migrate(url))
    return url


class Stores:
    """Stores on one database, which is emptied for each new folder unless it is to stay as it is."""

    def __init__(self, url: str, *, empty: bool = True) -> None:
        self.url = migrated(url)
        self._empty = empty
        self._folder: Path | None = None
        self._opened: list[PostgresStore] = []

    def opened(self, folder: Path) -> PostgresStore:
        if folder != self._folder:
            self.close()
            self._folder = folder
            with psycopg.connect(self.url, autocommit=True) as connection:
                for table in _TABLES if self._empty else ():
                    connection.execute(f"DELETE FROM kiro_auth.{table}")
        store = PostgresStore(self.url, [KEY], folder / f"machine-{len(self._opened)}" / "locks")
        self._opened.append(store)
        return store

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()
