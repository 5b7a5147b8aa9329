"""Odd JSON in any field of another program's files: a sign-in is read as far as it goes, no other suffers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiro_auth.accounts.account import account_of
from kiro_auth.accounts.registry import admit
from kiro_auth.accounts.view import account_view
from kiro_auth.cli.imports import described_sign_in
from kiro_auth.failures import ConfigFailed, Failure, StoreFailed
from kiro_auth.folders import Machine
from kiro_auth.login.tools.export import MARK, VERSION
from kiro_auth.login.tools.kiro_cli import TOKENS
from kiro_auth.login.tools.search import find
from kiro_auth.store.files import FileStore
from support import foreign as made
from support.examples import examples
from support.storing import at_once

NOW = 1_800_000_000.0
HASH = "0a" * 20
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([
        "", "ksk_x", "us-gov-west-1", "https://view.awsapps.com/start/", "a.e30.c", 10**400, -(10**30), 1e308,
        "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9" * 400, "2027-01-01", "\x00", "sso",
        "idc",
    ])
)  # fmt: skip
ODD = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
)


VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary()
"""What SQLite may hold."""
COLUMNS = (
    "email", "auth_method", "region", "client_id", "client_secret", "profile_arn", "access_token",
    "expires_at",
)  # fmt: skip


def with_odd_fields(usual: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The object with some of its fields odd or gone, or something else in its place."""
    changes = st.dictionaries(st.sampled_from(sorted(usual)), ODD | st.just(...), max_size=4)
    changed = changes.map(lambda odd: {k: v for k, v in {**usual, **odd}.items() if v is not ...})
    return changed | ODD


ARN = "arn:aws:codewhisperer:us-east-1:1:p"
ROW = {
    "access_token": "a", "refresh_token": "r", "expires_at": made.rfc3339(NOW), "region": "us-east-1",
    "start_url": None, "oauth_flow": "Pkce", "scopes": [], "profile_arn": ARN,
    "provider": "google", "token_endpoint": "https://x.okta.com/t", "issuer_url": "https://x.okta.com",
    "client_id": "c",
}  # fmt: skip
REGISTRATION = {
    "client_id": "c", "client_secret": "a.e30.c", "client_secret_expires_at": made.rfc3339(NOW),
    "region": "us-east-1",
}  # fmt: skip
STATE = {
    "api.codewhisperer.profile": {"arn": ARN, "profile_name": "p"},
    "auth.idc.start-url": "https://acme.awsapps.com/start", "auth.idc.region": "us-east-1",
}  # fmt: skip
IDE = {
    "accessToken": "a", "refreshToken": "r", "expiresAt": "2027-01-01T00:00:00Z", "clientIdHash": HASH,
    "authMethod": "IdC", "provider": "Enterprise", "region": "us-east-1", "startUrl": None,
    "profileArn": None, "tokenEndpoint": None, "issuerUrl": None, "clientId": None, "scopes": [],
}  # fmt: skip
IDE_REGISTRATION = {"clientId": "c", "clientSecret": "s", "expiresAt": "2027-01-01T00:00:00Z"}
ACCOUNT = {
    "id": "c" * 32, "email": "ada@example.com", "realEmail": None, "authMethod": "idc", "region": "us-east-1",
    "clientId": "c", "clientSecret": "s", "profileArn": None, "refreshToken": "r2", "accessToken": "a2",
    "expiresAt": 1_800_000_000_000, "ssoStartUrl": None, "unhealthyReason": None, "label": "L",
    "state": "ready", "stateUntil": 1,
    "kiroAuth": {"provider": {"token_endpoint": "https://x.okta.com/t"}, "source": None},
}  # fmt: skip


def key_rows() -> st.SearchStrategy[dict[str, Any]]:
    row, registration = with_odd_fields(ROW), with_odd_fields(REGISTRATION)
    names = dict.fromkeys(TOKENS, row) | {"kirocli:odic:device-registration": registration}
    return st.fixed_dictionaries({}, optional=names)


def checked(home: Path, wanted: str = "auto") -> list[Failure]:
    """Everything that an import does with what it finds there, but for the service; what was said of it."""
    troubles: list[Failure] = []
    store = FileStore(home / "ours", home / "locks")
    for held in find(wanted, Machine("linux", home, {}), troubles.append):
        described_sign_in(held)
        if held.lacks is None:
            try:
                account = at_once(admit(store, held.signed_in(), NOW)).account
            except StoreFailed as error:
                troubles.append(error.failure)
                continue
            json.dumps(account_view(account_of(store.snapshot().record(account.id) or {}), NOW))
    return troubles


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("home")


often = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(60)
)


@pytest.mark.slow
@often
@given(rows=key_rows(), state=st.fixed_dictionaries({}, optional={k: with_odd_fields(STATE) for k in STATE}))
def test_odd_rows_of_kiro_cli(fresh: Callable[[], Path], rows: dict[str, Any], state: dict[str, Any]) -> None:
    home = fresh()
    made.kiro_cli(home / ".local/share/kiro-cli/data.sqlite3", rows, state)

    assert checked(home) == []


@often
@given(values=st.lists(VALUES, min_size=5))
def test_values_of_kiro_cli_that_are_no_json(fresh: Callable[[], Path], values: list[Any]) -> None:
    home = fresh()
    path = home / ".local/share/kiro-cli/data.sqlite3"
    made.kiro_cli(path, {"kirocli:social:token": ROW})
    with closing(sqlite3.connect(path)) as connection, connection:
        names = ("kirocli:odic:token", "kirocli:odic:device-registration", "kirocli:external-idp:token")
        connection.executemany("insert into auth_kv values (?, ?)", zip(names, values, strict=False))
        connection.executemany("insert into state values (?, ?)", zip(STATE, values[3:], strict=False))

    found = find("kiro-cli", Machine("linux", home, {}), pytest.fail)

    assert "kirocli:social:token" in [held.source.key for held in found]


def test_a_row_that_is_no_text_hides_no_other(fresh: Callable[[], Path]) -> None:
    home = fresh()
    path = home / ".local/share/kiro-cli/data.sqlite3"
    made.kiro_cli(path, {"kirocli:social:token": ROW})
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("insert into auth_kv values ('kirocli:odic:token', cast(x'ff7b7d' as text))")

    [held] = find("kiro-cli", Machine("linux", home, {}), pytest.fail)

    assert held.source.key == "kirocli:social:token"


@often
@given(token=with_odd_fields(IDE), registration=with_odd_fields(IDE_REGISTRATION), profile=ODD)
def test_odd_files_of_the_ide(fresh: Callable[[], Path], token: Any, registration: Any, profile: Any) -> None:
    home = fresh()
    cache = home / ".aws" / "sso" / "cache"
    place = home / ".config/Kiro/User/globalStorage/kiro.kiroagent/profile.json"
    for folder in (cache, place.parent):
        folder.mkdir(parents=True)
    (cache / "kiro-auth-token.json").write_text(json.dumps(token))
    (cache / f"{HASH}.json").write_text(json.dumps(registration))
    place.write_text(json.dumps(profile))

    assert all(failure.code == "KA-STORE" for failure in checked(home))


@pytest.mark.parametrize(
    "bad",
    [b"", b"{", b"\xff", b"[" * 100_000, b" " * 3_000_000],
    ids=["empty", "cut", "no text", "deep", "large"],
)
@pytest.mark.parametrize("which", ["kiro-auth-token-cli.json", "profile.json"])
def test_a_broken_file_of_the_ide_hides_no_other(fresh: Callable[[], Path], bad: bytes, which: str) -> None:
    home = fresh()
    cache = home / ".aws" / "sso" / "cache"
    made.kiro_ide(cache, IDE, IDE_REGISTRATION)
    profiles = home / ".config/Kiro/User/globalStorage/kiro.kiroagent"
    place = (profiles if which == "profile.json" else cache) / which
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(bad)
    troubles: list[Failure] = []

    [held] = find("kiro-ide", Machine("linux", home, {}), troubles.append)

    assert held.lacks is None
    assert [str(place) in failure.message for failure in troubles] == [True]


@often
@given(entries=st.lists(with_odd_fields(ACCOUNT), max_size=3), at=st.integers(0, 3))
def test_odd_accounts_of_the_original(fresh: Callable[[], Path], entries: list[Any], at: int) -> None:
    home = fresh()
    good = ACCOUNT | {"id": "d" * 32, "refreshToken": "good", "accessToken": "good", "clientId": "own"}
    folder = home / ".config" / "opencode"
    folder.mkdir(parents=True)
    document = {"version": 1, "accounts": [*entries[:at], good, *entries[at:]]}
    (folder / "kiro-accounts.json.bak").write_text(json.dumps(document))

    checked(home)

    found = find("original", Machine("linux", home, {}), lambda _: None)
    assert "good" in [held.refresh_token for held in found]


@often
@given(rows=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, VALUES)), max_size=3))
def test_odd_rows_of_the_original_s_database(fresh: Callable[[], Path], rows: list[dict[str, Any]]) -> None:
    home = fresh()
    numbered = [{"id": f"{n}" * 32, "refresh_token": f"r{n}", **row} for n, row in enumerate(rows)]
    good = {"id": "d" * 32, "refresh_token": "good", "access_token": "good", "auth_method": "desktop"}
    made.original(home / ".config/opencode/kiro.db", made.ORIGINAL_1_5, [*numbered, good])

    checked(home)

    found = find("original", Machine("linux", home, {}), pytest.fail)
    assert "good" in [held.refresh_token for held in found]


@often
@given(entries=st.lists(with_odd_fields(ACCOUNT), max_size=3))
def test_odd_accounts_in_an_export(fresh: Callable[[], Path], entries: list[Any]) -> None:
    home = fresh()
    path = home / "export.json"
    good = ACCOUNT | {"id": "d" * 32, "refreshToken": "good"}
    path.write_text(json.dumps({MARK: VERSION, "accounts": [*entries, good]}))

    checked(home, str(path))

    kept = FileStore(home / "ours", home / "locks").snapshot().accounts
    assert "good" in [record["refreshToken"] for record in kept if "refreshToken" in record]


@often
@given(document=ODD)
def test_an_export_of_any_other_form_is_refused_by_its_name(fresh: Callable[[], Path], document: Any) -> None:
    path = fresh() / "export.json"
    path.write_text(json.dumps(document))

    with pytest.raises(ConfigFailed, match=r"export\.json cannot be imported"):
        checked(path.parent, str(path))
