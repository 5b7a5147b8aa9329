"""Stores of other programs, written from what is known of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KIRO_CLI_SCHEMA = """
create table migrations (id integer primary key, version integer not null, migration_time integer not null);
create table history (id integer primary key, command text);
create table state (key text primary key, value blob);
create table auth_kv (key text primary key, value text);
create table conversations (key text primary key, value text);
"""
ORIGINAL_1_3 = """
create table accounts (id text primary key, email text, real_email text, auth_method text, region text,
  client_id text, client_secret text, profile_arn text, refresh_token text, access_token text,
  expires_at integer, rate_limit_reset integer, is_healthy integer, unhealthy_reason text,
  recovery_time integer, last_used integer);
create table usage (account_id text primary key, used_count real, limit_count real, real_email text,
  last_sync integer);
create table settings (key text primary key, value text);
"""
ORIGINAL_1_5 = """
create table accounts (id text primary key, email text, auth_method text, region text, client_id text,
  client_secret text, profile_arn text, refresh_token text, access_token text, expires_at integer,
  rate_limit_reset integer, is_healthy integer, unhealthy_reason text, recovery_time integer,
  last_used integer, fail_count integer, used_count real, limit_count real, last_sync integer);
create unique index idx_refresh_token_unique on accounts (refresh_token);
"""


def rfc3339(epoch: float, digits: int = 9) -> str:
    """A time as kiro-cli writes it."""
    moment = datetime.fromtimestamp(epoch, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06}000"[:digits] + "Z"


def kiro_cli(
    path: Path, rows: Mapping[str, Any], state: Mapping[str, Any] | None = None, *, wal: bool = False
) -> None:
    """A database of kiro-cli or amazon-q.  `wal`: what was written last is still in the log beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(KIRO_CLI_SCHEMA)
    connection.commit()
    if wal:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma wal_autocheckpoint = 0")
    for key, value in rows.items():
        connection.execute("insert into auth_kv values (?, ?)", (key, json.dumps(value)))
    for key, value in (state or {}).items():
        connection.execute("insert into state values (?, ?)", (key, json.dumps(value).encode()))
    connection.commit()
    if wal:  # as when the program was killed: nobody folds the log back in
        files = [path, path.with_name(path.name + "-wal")]
        kept = {file: file.read_bytes() for file in files}
        connection.close()
        for file, data in kept.items():
            file.write_bytes(data)
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
        return
    connection.close()


def row_of(path: Path, key: str) -> Any:
    """What a row of kiro-cli holds now; None when it is gone."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("select value from auth_kv where key = ?", (key,)).fetchone()
    return json.loads(row[0]) if row else None


def put_row(path: Path, key: str, value: Any) -> None:
    """As kiro-cli itself writes, or removes, a row."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("delete from auth_kv where key = ?", (key,))
        if value is not None:
            connection.execute("insert into auth_kv values (?, ?)", (key, json.dumps(value)))


def kiro_ide(cache: Path, token: Mapping[str, Any], registration: Mapping[str, Any] | None = None) -> None:
    """The token file of the IDE, and the registration that it names."""
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "kiro-auth-token.json").write_text(json.dumps(token, indent=2))
    if registration:
        (cache / f"{token['clientIdHash']}.json").write_text(json.dumps(registration))


def original(path: Path, schema: str, rows: list[Mapping[str, Any]]) -> None:
    """The original plugin's database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma journal_mode = wal")
        connection.executescript(schema)
        for row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(
                f"insert into accounts ({', '.join(row)}) values ({marks})", tuple(row.values())
            )


def bytes_below(folder: Path) -> dict[str, bytes]:
    """Every file there, byte for byte."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
