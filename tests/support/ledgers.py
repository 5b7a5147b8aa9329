"""Ledgers for tests: the same laws over a file and over a real database."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from kiro_auth.ledger.local import FILE, LocalLedger
from kiro_auth.ledger.postgres import PostgresLedger
from kiro_auth.ledger.protocol import Ledger
from kiro_auth.ledger.row import Row
from kiro_auth.store.database import Database
from support.postgres import Cluster, migrated

KINDS = ("file", "database")


class Ledgers:
    """Ledgers of one kind; each call of `another` is a further program's, on this machine or another."""

    def __init__(
        self, kind: str, folder: Path, server: Callable[[], Cluster], clock: Callable[[], float]
    ) -> None:
        self.folder = folder
        self.url = migrated(server().new_database(f"d{os.urandom(6).hex()}")) if kind == "database" else ""
        self._clock = clock
        self._databases: list[Database] = []
        self._opened: list[PostgresLedger] = []

    def another(self, machine: str = "here") -> Ledger:
        if not self.url:
            return LocalLedger(self.folder / FILE, clock=self._clock)
        database = Database(self.url)
        ledger = PostgresLedger(self.url, database, self.folder / machine / "spool", clock=self._clock)
        self._databases.append(database)
        self._opened.append(ledger)
        return ledger

    def close(self) -> None:
        for ledger in self._opened:
            ledger.close()
        for database in self._databases:
            database.close()


def with_rows(ledger: Ledger, rows: Sequence[Row]) -> Ledger:
    assert ledger.add_missing(rows) == len(rows)
    return ledger
