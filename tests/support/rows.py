"""Rows of a store that seals, read and written by another hand than the program's."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg

from kiro_auth.store.postgres import PostgresStore
from kiro_auth.store.sealed import Sealer
from kiro_auth.store.sqlite import FILE, SqliteStore
from kiro_auth.store.written import Writing

ROW = tuple[bytes, bytes | None]


class Place:
    """Where rows are: `opened` with keys, and read and written by another hand."""

    marker = "?"

    def opened(self, *keys: bytes) -> SqliteStore | PostgresStore:
        raise NotImplementedError

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        raise NotImplementedError

    def table(self) -> str:
        return "accounts"

    def row(self, name: str) -> ROW:
        query = f"SELECT record, usage FROM {self.table()} WHERE id = {self.marker}"
        [(record, usage)] = self.execute(query, name)
        return bytes(record), None if usage is None else bytes(usage)  # type: ignore[call-overload]

    def damage(self, name: str, record: bytes, column: str = "record") -> None:
        """Write these bytes as its record, as a change that every program sees."""
        set_ = f"{column} = {self.marker}, revision = (SELECT max(revision) + 1 FROM {self.table()})"
        self.execute(f"UPDATE {self.table()} SET {set_} WHERE id = {self.marker}", record, name)

    def insert(self, name: str, record: bytes) -> None:
        """Add a row as another program would that has another key."""
        values = f"SELECT {self.marker}, coalesce(max(revision), 0) + 1, {self.marker} FROM {self.table()}"
        self.execute(f"INSERT INTO {self.table()} (id, revision, record) {values}", name, record)


class InSqlite(Place):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stores: list[SqliteStore] = []

    def opened(self, *keys: bytes) -> SqliteStore:
        sealer = Sealer(list(keys)) if keys else None
        self.stores.append(SqliteStore(self.folder, self.folder / "locks", Writing(sealer)))
        return self.stores[-1]

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.folder / FILE, isolation_level=None) as connection:
            found = connection.execute(statement, values).fetchall()
            if not statement.startswith("SELECT"):
                connection.execute("update state set revision = (select max(revision) from accounts)")
        connection.close()
        return found

    def close(self) -> None:
        for store in self.stores:
            store.close()


class InPostgres(Place):
    marker = "%s"

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.stores: list[PostgresStore] = []

    def opened(self, *keys: bytes) -> PostgresStore:
        self.stores.append(PostgresStore(self.url, list(keys), self.folder / "locks"))
        return self.stores[-1]

    def table(self) -> str:
        return "kiro_auth.accounts"

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute(statement.encode(), values)
            return found.fetchall() if found.description else []

    def close(self) -> None:
        for store in self.stores:
            store.close()
