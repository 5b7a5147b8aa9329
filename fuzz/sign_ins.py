"""Any file of another program gives sign-ins that can be kept, or says what is wrong; and is not changed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fuzz.mutation import changed_bytes, changed_json
from kiro_auth.accounts.account import account_of
from kiro_auth.accounts.registry import admit
from kiro_auth.failures import ConfigFailed, Failure, StoreFailed
from kiro_auth.folders import Machine, config_folder
from kiro_auth.login.tools.search import ALL, find
from kiro_auth.store.files import FileStore

_NOW = 1_800_000_000.0
_TOKENS = {
    "accessToken": "a",
    "refreshToken": "r",
    "expiresAt": "2027-01-15T08:00:00Z",
    "region": "us-east-1",
}
_CLIENT = {
    "client_id": "c",
    "client_secret": "s",
    "client_secret_expires_at": "2027-01-15T08:00:00.123456789Z",
}
_COMPANY = {"tokenEndpoint": "https://a.example/t", "issuerUrl": "https://a.example", "scopes": ["a", "b"]}
_PROFILE = {"arn": "arn:aws:codewhisperer:eu-central-1:1:profile/A", "profile_name": "Mine"}
_ROWS: dict[str, list[Any]] = {
    "kirocli:odic:token": [
        {
            "access_token": "a",
            "refresh_token": "r",
            "expires_at": "2027-01-15T08:00:00.1Z",
            "region": "us-east-1",
        }
    ],
    "kirocli:odic:device-registration": [{"deep": {**_CLIENT, "region": "us-east-1"}}],
    "kirocli:social:token": [{**_TOKENS, "provider": "google", "profile_arn": _PROFILE["arn"]}],
    "kirocli:external-idp:token": [{**_TOKENS, **_COMPANY}],
    "codewhisperer:odic:token": [_TOKENS],
}
_STATE: dict[str, list[Any]] = {
    "api.codewhisperer.profile": [_PROFILE],
    "auth.idc.start-url": ["https://d-1.awsapps.com/start"],
    "auth.idc.region": ["eu-north-1"],
}
_IDE = {**_TOKENS, "clientIdHash": "ab" * 20, "provider": "Enterprise", "authMethod": "IdC"}
_RECORD = {
    "id": "a" * 32, "authMethod": "idc", "email": "a@example.com", "region": "us-east-1", "clientId": "c",
    "clientSecret": "s", "refreshToken": "r|c|s|idc", "accessToken": "a", "expiresAt": 1_800_000_000_000,
    "profileArn": _PROFILE["arn"], "isHealthy": True,
}  # fmt: skip
_EXPORT = {"kiro-auth-export": 1, "accounts": [{**_RECORD, "kiroAuth": {"provider": {"client_id": "c"}}}]}


def _database(rows: Mapping[str, bytes], state: Mapping[str, bytes]) -> bytes:
    """A database of kiro-cli with these rows."""
    with _small_database() as connection:
        connection.execute("create table auth_kv (key text primary key, value text)")
        connection.execute("create table state (key text primary key, value blob)")
        connection.executemany("insert into auth_kv values (?, ?)", list(rows.items()))
        connection.executemany("insert into state values (?, ?)", list(state.items()))
        connection.commit()
        return connection.serialize()


def _original(record: Mapping[str, Any]) -> bytes:
    """A database of the original with this account."""
    values = {name: value for name, value in record.items() if not isinstance(value, dict | list)}
    with _small_database() as connection:
        columns = ", ".join(json.dumps(_snake(name)) for name in values) or "id"
        marks = ", ".join("?" * len(values)) or "null"
        with contextlib.suppress(sqlite3.Error, OverflowError, UnicodeEncodeError):
            connection.execute(f"create table accounts ({columns})")
            connection.execute(f"insert into accounts values ({marks})", list(values.values()))  # noqa: S608
        connection.commit()
        return connection.serialize()


@contextlib.contextmanager
def _small_database() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("pragma page_size = 512")
        yield connection


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _members(sound: Mapping[str, list[Any]]) -> st.SearchStrategy[dict[str, bytes]]:
    """Each of them, or not, as it is or changed."""
    as_it_is = {
        name: st.sampled_from([json.dumps(value).encode() for value in sound[name]]) for name in sound
    }
    return st.fixed_dictionaries(
        {}, optional={name: as_it_is[name] | changed_json(values) for name, values in sound.items()}
    )


_SOUND_DATABASE = _database(
    {name: json.dumps(values[0]).encode() for name, values in _ROWS.items()},
    {name: json.dumps(values[0]).encode() for name, values in _STATE.items()},
)
_OBJECTS = changed_json([_RECORD]).map(json.loads).filter(lambda value: isinstance(value, dict))
INPUTS = st.tuples(
    st.builds(_database, _members(_ROWS), _members(_STATE)) | changed_bytes([_SOUND_DATABASE]),
    changed_json([_IDE]) | changed_bytes([json.dumps(_IDE).encode()]),
    changed_json([_CLIENT]),
    st.builds(_original, _OBJECTS) | changed_bytes([_original(_RECORD)]),
    changed_json([_EXPORT]),
)
_PLACES: tuple[Callable[[Machine], Path], ...] = (
    lambda machine: machine.home / ".local" / "share" / "kiro-cli" / "data.sqlite3",
    lambda machine: machine.home / ".aws" / "sso" / "cache" / "kiro-auth-token.json",
    lambda machine: machine.home / ".aws" / "sso" / "cache" / f"{'ab' * 20}.json",
    lambda machine: config_folder(machine) / "kiro.db",
    lambda machine: machine.home / "export.json",
)


def check(data: tuple[bytes, bytes, bytes, bytes, bytes]) -> None:
    """The invariant, for one input: the bytes of each file."""
    with tempfile.TemporaryDirectory() as name:
        machine = Machine("linux", Path(name), {})
        files = {place(machine): text for place, text in zip(_PLACES, data, strict=True)}
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        troubles: list[Failure] = []
        held = find(ALL, machine, troubles.append)
        with contextlib.suppress(ConfigFailed):
            held += find(str(machine.home / "export.json"), machine, troubles.append)
        assert all(trouble.sentence() for trouble in troubles)
        for one in held:
            assert one.access_token or one.refresh_token
            assert one.lacks is None or one.lacks
        asyncio.run(_kept(Path(name), [one.signed_in() for one in held if one.lacks is None]))
        assert {path: path.read_bytes() for path in files} == files


async def _kept(folder: Path, signed_in: list[Any]) -> None:
    """Each becomes an account that is read again, or is refused with the reason."""
    store = FileStore(folder / "config", folder / "locks")
    for one in signed_in:
        with contextlib.suppress(StoreFailed):
            await admit(store, one, _NOW)
    for record in (await store.load()).accounts:
        account_of(record)
