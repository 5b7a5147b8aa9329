"""The sign-ins of kiro-cli and of its ancestor amazon-q, in their SQLite database.

The spelling `odic` is theirs.  There is at most one row of each kind, and one with the client registration.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from kiro_auth.accounts.account import Source, region_of
from kiro_auth.addresses import partition_of
from kiro_auth.folders import Machine
from kiro_auth.json_values import NotJson, as_text, decoded, first_text, object_in
from kiro_auth.kinds import BUILDER_ID_REGION, KINDS
from kiro_auth.login.tools.held import Held, moment, provider_of, service_of
from kiro_auth.login.tools.organisation import KINDS_OF, Noted, judged
from kiro_auth.login.tools.places import command_line_stores, foreign, former_store
from kiro_auth.login.tools.sqlite import snapshot, tables
from kiro_auth.login.tools.tool import NewTokens, OnTrouble, is_there, looked_into

TOKENS: Final = (
    "kirocli:odic:token",
    "codewhisperer:odic:token",
    "kirocli:social:token",
    "kirocli:external-idp:token",
)
_OWN, _ANCESTOR = "kirocli:", "codewhisperer:"
_PROFILE: Final = "api.codewhisperer.profile"
_START_URL: Final = "auth.idc.start-url"
_REGION: Final = "auth.idc.region"
"""Rows of the table `state`: the last organisation, and the Kiro profile that was chosen."""
_BUSY_SECONDS: Final = 5.0


class KiroCli:
    """kiro-cli, or amazon-q: see `SharingTool`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find(self, machine: Machine, on_trouble: OnTrouble) -> list[Held]:
        """The sign-ins in all its databases."""
        places = command_line_stores(machine, self._name)
        sign_ins_there = looked_into(places, lambda path: sign_ins(self._name, path), on_trouble)
        former = former_store(machine, self._name)
        return [
            _left_behind(held, sign_ins_there) if Path(held.source.path) == former else held
            for held in sign_ins_there
        ]

    def read(self, source: Source) -> Held | None:
        """The sign-in as it stands there now; None when it is gone.  Raises StoreFailed."""
        sign_ins_there = sign_ins(source.tool, Path(source.path))
        return next((held for held in sign_ins_there if held.source.key == source.key), None)

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
    if not is_there(path):
        return []
    with snapshot(path) as connection:
        there = tables(connection)
        if "auth_kv" not in there:
            return []
        rows = {str(key): value for key, value in connection.execute("select key, value from auth_kv")}
        state = _state(connection) if "state" in there else {}
    sign_ins_there = [_held(Source(tool, str(path), key), rows, state) for key in TOKENS if key in rows]
    ordered = sorted((held for held in sign_ins_there if held), key=lambda held: -held.expires_at)
    return [_beside(held, ordered) for held in _with_profile(ordered, object_in(state.get(_PROFILE)) or {})]


def _with_profile(ordered: Sequence[Held], profile: Mapping[str, Any]) -> list[Held]:
    """The chosen profile belongs to the sign-in that was made or renewed last, in its partition of AWS."""
    arn, region = first_text(profile, "arn"), region_of(first_text(profile, "arn"))
    helds = list(ordered)
    for number, held in enumerate(helds):
        if KINDS[held.kind].needs_profile:
            mine = held.profile_arn == arn if held.profile_arn else _in_one_partition(region, held.region)
            if arn and mine:
                name = first_text(profile, "profile_name", "profileName")
                helds[number] = replace(held, profile_arn=arn, profile_name=name)
            break
    return helds


def _in_one_partition(region: str | None, other: str) -> bool:
    return region is not None and partition_of(region) == partition_of(other)


def _left_behind(held: Held, sign_ins_there: Sequence[Held]) -> Held:
    """An earlier version kept it; the present one has it elsewhere, and renews it there."""
    source = held.source
    for other in sign_ins_there:
        moved = other.source.key == source.key and other.source.path != source.path
        if moved and other.expires_at > held.expires_at:
            why = f"{source.key} in {source.path} is older than the one in {other.source.path}"
            return replace(held, left_alone=why)
    return held


def _beside(held: Held, others: Sequence[Held]) -> Held:
    """kiro-cli copies its ancestor's row beside its own, where nobody renews it: not worth taking over."""
    twin = held.source.key.replace(_ANCESTOR, _OWN)
    fresher = any(other.source.key == twin and other.expires_at > held.expires_at for other in others)
    if twin == held.source.key or not fresher:
        return held
    return replace(held, left_alone=f"{held.source.key} is an old copy beside the fresher {twin}")


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


def _held(source: Source, rows: Mapping[str, Any], state: Mapping[str, Any]) -> Held | None:
    record = object_in(rows[source.key]) or {}
    access = first_text(record, "access_token", "accessToken")
    refresh = first_text(record, "refresh_token", "refreshToken")
    if not access and not refresh:
        return None
    region = first_text(record, "region") or BUILDER_ID_REGION
    service = service_of(record, source.key)
    registration, no_client = _client(rows, source, region) if service == "aws_oidc" else ({}, None)
    secret = _secret(registration)
    is_ = KINDS_OF.get(service) or judged(record, secret, region, _noted(state))
    return Held(
        source=source,
        kind=is_.kind,
        kind_unsure=is_.unsure,
        access_token=access or "",
        refresh_token=refresh or "",
        expires_at=moment(record.get("expires_at", record.get("expiresAt"))),
        region=region,
        start_url=is_.start_url,
        client_id=first_text(registration, "client_id", "clientId"),
        client_secret=secret,
        client_secret_expires_at=moment(registration.get("client_secret_expires_at")) or None,
        no_client=no_client,
        profile_arn=first_text(record, "profile_arn", "profileArn"),
        provider=provider_of(record) if is_.kind == "external-idp" else None,
    )


def _client(rows: Mapping[str, Any], source: Source, region: str) -> tuple[Mapping[str, Any], str | None]:
    """The client that the sign-in was made with, or why there is none."""
    key = source.key.replace(":token", ":device-registration")
    pair = _pair(object_in(rows.get(key)))
    if pair is None:
        return {}, f"its client registration is missing: there is no {key} in {source.path}"
    made_in = first_text(pair, "region")
    if made_in not in (None, region):  # of an earlier sign-in somewhere else: it renews nothing here
        return {}, f"its client registration is missing: {key} is of {made_in}, the sign-in of {region}"
    return pair, None


def _pair(value: Any) -> Mapping[str, Any] | None:
    """The object that holds both id and secret; some versions keep it deeper inside."""
    waiting = [value]
    while waiting:
        inner = waiting.pop(0)
        if isinstance(inner, dict):
            id_, secret = first_text(inner, "client_id", "clientId"), _secret(inner)
            if id_ and secret:
                return inner
            waiting += inner.values()
    return None


def _secret(registration: Mapping[str, Any]) -> str | None:
    return first_text(registration, "client_secret", "clientSecret")


def _noted(state: Mapping[str, Any]) -> Noted:
    chosen = first_text(object_in(state.get(_PROFILE)) or {}, "arn")
    return Noted(_text(state.get(_START_URL)), _text(state.get(_REGION)), has_profile=chosen is not None)


def _text(value: Any) -> str | None:
    """A text of the table `state`, which keeps it as JSON."""
    try:
        return as_text(decoded(value)) if isinstance(value, bytes | str) else None
    except NotJson:
        return None


def _state(connection: sqlite3.Connection) -> dict[str, Any]:
    wanted = (_PROFILE, _START_URL, _REGION)
    rows = connection.execute("select key, value from state where key in (?, ?, ?)", wanted)
    return {str(key): value for key, value in rows}
