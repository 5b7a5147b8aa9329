"""The sign-ins of kiro-cli and of its ancestor amazon-q, in their SQLite database.

The spelling `odic` is theirs.  There is at most one row of each kind, and one with the client registration.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from kiro_auth.accounts.account import Source
from kiro_auth.folders import Machine
from kiro_auth.json_values import first_text, object_in
from kiro_auth.kinds import KINDS
from kiro_auth.login.tools.held import Held, kind_of, moment, provider_of
from kiro_auth.login.tools.places import command_line_stores, foreign
from kiro_auth.login.tools.sqlite import snapshot, tables
from kiro_auth.login.tools.tool import NewTokens, OnTrouble, looked_into

TOKENS: Final = (
    "kirocli:odic:token",
    "codewhisperer:odic:token",
    "kirocli:social:token",
    "kirocli:external-idp:token",
)
_PROFILE: Final = "api.codewhisperer.profile"
_BUSY_SECONDS: Final = 5.0


class KiroCli:
    """kiro-cli, or amazon-q: see `SharingTool`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find(self, machine: Machine, on_trouble: OnTrouble) -> list[Held]:
        """The sign-ins in all its databases."""
        places = command_line_stores(machine, self._name)
        return looked_into(places, lambda path: sign_ins(self._name, path), on_trouble)

    def read(self, source: Source) -> Held | None:
        """The sign-in as it stands there now; None when it is gone.  Raises StoreFailed."""
        found = sign_ins(source.tool, Path(source.path))
        return next((held for held in found if held.source.key == source.key), None)

    def write_back(self, source: Source, new: NewTokens) -> bool:
        """Put new tokens into the row, if it still holds those that were spent."""
        path = Path(source.path)
        if foreign(path) or not path.is_file():
            return False
        address = f"{path.resolve().as_uri()}?mode=rw"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as connection, connection:
                connection.execute("begin immediate")
                return _replaced(connection, source.key, new)
        except sqlite3.Error:
            return False


def sign_ins(tool: str, path: Path) -> list[Held]:
    """The sign-ins in a database, freshest first; none when there is no such file.  Raises StoreFailed."""
    if not path.is_file():
        return []
    with snapshot(path) as connection:
        there = tables(connection)
        if "auth_kv" not in there:
            return []
        rows = {str(key): value for key, value in connection.execute("select key, value from auth_kv")}
        profile = _profile(connection) if "state" in there else {}
    found = [_held(Source(tool, str(path), key), rows, profile) for key in TOKENS if key in rows]
    return sorted((held for held in found if held), key=lambda held: -held.expires_at)


def _replaced(connection: sqlite3.Connection, key: str, new: NewTokens) -> bool:
    row = connection.execute("select value from auth_kv where key = ?", (key,)).fetchone()
    record = (object_in(row[0]) if row else None) or {}
    if record.get("refresh_token", record.get("refreshToken")) != new.spent:
        return False
    body = msgspec.json.encode(_with(record, new)).decode()
    connection.execute("update auth_kv set value = ? where key = ?", (body, key))
    return True


def _with(record: Mapping[str, Any], new: NewTokens) -> dict[str, Any]:
    """The record with new tokens, in its own spelling."""
    ends = datetime.fromtimestamp(new.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    snake = "access_token" in record or "accessToken" not in record
    names = ("access_token", "refresh_token", "expires_at")
    camel = ("accessToken", "refreshToken", "expiresAt")
    values = (new.access_token, new.refresh_token, ends)
    return {**record, **dict(zip(names if snake else camel, values, strict=True))}


def _held(source: Source, rows: Mapping[str, Any], profile: Mapping[str, Any]) -> Held | None:
    record = object_in(rows[source.key]) or {}
    access = first_text(record, "access_token", "accessToken")
    refresh = first_text(record, "refresh_token", "refreshToken")
    if not access and not refresh:
        return None
    kind = kind_of(record, source.key)
    registration = _registration(rows, source.key) if KINDS[kind].needs_client else {}
    place = first_text(record, "region") or "us-east-1"
    if registration.get("region") not in (None, place):
        registration = {}  # of an earlier sign-in somewhere else: it renews nothing here
    arn = first_text(record, "profile_arn", "profileArn")
    if kind == "idc" and arn is None:
        arn = first_text(profile, "arn")
    return Held(
        source=source,
        kind=kind,
        access_token=access or "",
        refresh_token=refresh or "",
        expires_at=moment(record.get("expires_at", record.get("expiresAt"))),
        region=place,
        start_url=first_text(record, "start_url", "startUrl"),
        client_id=first_text(registration, "client_id", "clientId"),
        client_secret=first_text(registration, "client_secret", "clientSecret"),
        client_secret_expires_at=moment(registration.get("client_secret_expires_at")) or None,
        profile_arn=arn,
        profile_name=_name_of(profile, arn),
        provider=provider_of(record) if kind == "external-idp" else None,
    )


def _name_of(profile: Mapping[str, Any], arn: str | None) -> str | None:
    return first_text(profile, "profile_name", "profileName") if arn == profile.get("arn") else None


def _registration(rows: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The client that the sign-in was made with; some versions keep it deeper inside."""
    value = object_in(rows.get(key.replace(":token", ":device-registration")))
    return next(_pairs(value), {})


def _pairs(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if first_text(value, "client_id", "clientId") and first_text(value, "client_secret", "clientSecret"):
            yield value
        for inner in value.values():
            yield from _pairs(inner)


def _profile(connection: sqlite3.Connection) -> dict[str, Any]:
    row = connection.execute("select value from state where key = ?", (_PROFILE,)).fetchone()
    return (object_in(row[0]) if row else None) or {}
