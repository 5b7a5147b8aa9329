"""Sign-ins of other programs: found where each system keeps them, read as they are, and left as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.accounts.account import Source, account_of
from kiro_auth.accounts.registry import Admitted, admit
from kiro_auth.failures import ConfigFailed, Failure, StoreFailed
from kiro_auth.folders import Machine
from kiro_auth.login.tools.export import export
from kiro_auth.login.tools.held import Held, moment
from kiro_auth.login.tools.kiro_cli import sign_ins
from kiro_auth.login.tools.kiro_ide import KiroIde
from kiro_auth.login.tools.places import foreign
from kiro_auth.login.tools.search import find
from support import foreign as made
from support.storing import HandStore, at_once

NOW = 1_800_000_000.0
START_URL = "https://d-1234567890.awsapps.com/start"
ARN = "arn:aws:codewhisperer:eu-central-1:123456789012:profile/P"
ODIC = "kirocli:odic:token"
REGISTRATION = {
    "client_id": "cid", "client_secret": "secret", "region": "eu-north-1",
    "client_secret_expires_at": made.rfc3339(NOW + 86400), "oauth_flow": "DeviceCode", "scopes": None,
}  # fmt: skip
TOKEN = {
    "access_token": "aoa1", "refresh_token": "aor1", "expires_at": made.rfc3339(NOW), "region": "eu-north-1",
    "start_url": START_URL, "oauth_flow": "DeviceCode", "scopes": ["codewhisperer:completions"],
}  # fmt: skip


def machine(system: str, home: Path, **environment: str) -> Machine:
    return Machine(system, home, environment)


def found(wanted: str, on: Machine, troubles: list[Failure] | None = None) -> list[Held]:
    return find(wanted, on, (troubles if troubles is not None else []).append)


CLI_PLACES = [
    ("linux", {}, ".local/share/{tool}/data.sqlite3"),
    ("linux", {"XDG_DATA_HOME": "{home}/data"}, "data/{tool}/data.sqlite3"),
    ("darwin", {}, "Library/Application Support/{tool}/data.sqlite3"),
    ("win32", {"LOCALAPPDATA": "{home}/Local"}, "Local/{tool}/data.sqlite3"),
    ("win32", {"APPDATA": "{home}/Roaming"}, "Roaming/{tool}/data.sqlite3"),
]


@pytest.mark.parametrize("wal", [False, True], ids=["journal", "write-ahead log"])
@pytest.mark.parametrize("tool", ["kiro-cli", "amazon-q"])
@pytest.mark.parametrize(("system", "environment", "place"), CLI_PLACES)
def test_the_command_line_tools_are_read_on_each_system_and_left_as_they_were(
    tmp_path: Path, system: str, environment: dict[str, str], place: str, tool: str, wal: bool
) -> None:
    key = ODIC if tool == "kiro-cli" else "codewhisperer:odic:token"
    rows = {key: TOKEN, key.replace("token", "device-registration"): REGISTRATION}
    state = {"api.codewhisperer.profile": {"arn": ARN, "profile_name": "P"}}
    made.kiro_cli(tmp_path / place.format(tool=tool), rows, state, wal=wal)
    before = made.bytes_below(tmp_path)
    named = {name: value.format(home=tmp_path) for name, value in environment.items()}

    [held] = found("auto", machine(system, tmp_path, **named))

    assert made.bytes_below(tmp_path) == before
    assert (held.source.tool, held.kind, held.region) == (tool, "idc", "eu-north-1")
    assert (held.access_token, held.refresh_token, held.expires_at) == ("aoa1", "aor1", NOW)
    assert (held.client_id, held.client_secret) == ("cid", "secret")
    assert (held.start_url, held.profile_arn, held.profile_name) == (START_URL, ARN, "P")
    assert held.lacks is None


@pytest.mark.parametrize(("roaming", "left"), [(NOW - 60, True), (NOW + 60, False)], ids=["older", "newer"])
def test_what_kiro_cli_left_behind_where_it_was_before_is_left_alone(
    tmp_path: Path, roaming: float, left: bool
) -> None:
    for folder, ends in (("Local", NOW), ("Roaming", roaming)):
        row = TOKEN | {"expires_at": made.rfc3339(ends), "refresh_token": folder}
        rows = {ODIC: row, "kirocli:odic:device-registration": REGISTRATION}
        made.kiro_cli(tmp_path / folder / "kiro-cli" / "data.sqlite3", rows)
    places = {"LOCALAPPDATA": str(tmp_path / "Local"), "APPDATA": str(tmp_path / "Roaming")}

    now, before = found("kiro-cli", machine("win32", tmp_path, **places))

    assert (now.refresh_token, now.left_alone) == ("Local", None)
    assert (before.left_alone is not None) == left
    assert not left or str(tmp_path / "Roaming") in str(before.left_alone)


def test_two_databases_that_were_named_are_two_sign_ins(tmp_path: Path) -> None:
    named, usual = tmp_path / "mine.sqlite3", tmp_path / ".local/share/kiro-cli/data.sqlite3"
    for number, path in enumerate((named, usual)):
        made.kiro_cli(path, {ODIC: TOKEN | {"refresh_token": f"r{number}", "expires_at": NOW - number}})

    both = found("kiro-cli", machine("linux", tmp_path, KIROCLI_DB_PATH=str(named)))

    assert [(held.refresh_token, held.left_alone) for held in both] == [("r0", None), ("r1", None)]


@pytest.mark.parametrize("later", [-60, 0, 60])
def test_amazon_q_s_row_beside_kiro_cli_s_is_left_alone_only_when_it_is_older(
    tmp_path: Path, later: int
) -> None:
    path, old = tmp_path / "data.sqlite3", "codewhisperer:odic:token"
    copy = TOKEN | {"refresh_token": "copied", "expires_at": made.rfc3339(NOW + later)}
    made.kiro_cli(path, {ODIC: TOKEN, old: copy})

    by_key = {held.source.key: held.left_alone for held in sign_ins("kiro-cli", path)}

    assert by_key[ODIC] is None
    assert (by_key[old] is not None) == (later < 0)


CHOSEN = {"api.codewhisperer.profile": {"arn": ARN, "profile_name": "P"}}
COMPANY = {
    "access_token": "e", "refresh_token": "er", "client_id": "c", "token_endpoint": "https://x.okta.com/t",
}  # fmt: skip


@pytest.mark.parametrize(("later", "whose"), [(-60, "idc"), (60, "external-idp")])
def test_the_chosen_profile_is_that_of_the_organisation_used_last(
    tmp_path: Path, later: int, whose: str
) -> None:
    path = tmp_path / "data.sqlite3"
    company = COMPANY | {"expires_at": NOW + later, "region": "us-east-1"}
    made.kiro_cli(path, {ODIC: TOKEN, "kirocli:external-idp:token": company}, CHOSEN)

    profiles = {held.kind: held.profile_arn for held in sign_ins("kiro-cli", path)}

    assert profiles == {"idc": None, "external-idp": None} | {whose: ARN}


@pytest.mark.parametrize("region", ["us-gov-west-1", "cn-north-1"])
def test_a_profile_of_another_partition_belongs_to_another_sign_in(tmp_path: Path, region: str) -> None:
    path = tmp_path / "data.sqlite3"
    made.kiro_cli(path, {ODIC: TOKEN | {"region": region}}, CHOSEN)

    [held] = sign_ins("kiro-cli", path)

    assert (held.kind, held.profile_arn) == ("idc", None)


def test_every_kind_of_row_is_an_account_of_its_own_the_freshest_first(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite3"
    rows = {
        ODIC: TOKEN | {"start_url": None, "region": None},
        "kirocli:odic:device-registration": {"outer": {"deeper": REGISTRATION | {"region": None}}},
        "kirocli:social:token": {
            "access_token": "s", "refresh_token": "sr", "expires_at": made.rfc3339(NOW + 60, 3),
            "profile_arn": ARN, "provider": "google",
        },
        "kirocli:external-idp:token": {
            "access_token": "e", "refresh_token": "er", "expires_at": made.rfc3339(NOW + 120),
            "issuer_url": "https://login.microsoftonline.com/t/v2.0", "client_id": "c",
            "token_endpoint": "https://login.microsoftonline.com/t/oauth2/v2.0/token", "scopes": ["a", "b"],
        },
        "kirocli:other": {"access_token": "no"},
    }  # fmt: skip
    made.kiro_cli(path, rows)

    held = sign_ins("kiro-cli", path)

    assert [one.kind for one in held] == ["external-idp", "social", "builder-id"]
    assert held[0].provider == {
        "token_endpoint": "https://login.microsoftonline.com/t/oauth2/v2.0/token",
        "issuer_url": "https://login.microsoftonline.com/t/v2.0", "client_id": "c", "scope": "a b",
    }  # fmt: skip
    assert held[1].profile_arn == ARN
    assert (held[2].region, held[2].client_id) == ("us-east-1", "cid")


IDE_HOMES = [("linux", {}), ("darwin", {}), ("win32", {"USERPROFILE": "{home}"})]


@pytest.mark.parametrize(("system", "environment"), IDE_HOMES)
def test_the_ide_is_read_on_each_system_with_the_registration_that_it_names(
    tmp_path: Path, system: str, environment: dict[str, str]
) -> None:
    cache = tmp_path / ".aws" / "sso" / "cache"
    token = {
        "accessToken": "a", "refreshToken": "r", "expiresAt": "2027-01-15T08:00:00.000Z",
        "clientIdHash": "ab" * 20, "authMethod": "IdC", "provider": "Enterprise", "region": "eu-west-1",
        "startUrl": START_URL,
    }  # fmt: skip
    registration = {"clientId": "cid", "clientSecret": "s", "expiresAt": "2027-03-01T00:00:00Z"}
    made.kiro_ide(cache, token, registration)
    (cache / ("cd" * 20 + ".json")).write_text(json.dumps({"accessToken": "of the AWS command line"}))
    before = made.bytes_below(tmp_path)

    [held] = found("kiro-ide", machine(system, tmp_path, **{k: str(tmp_path) for k in environment}))

    assert made.bytes_below(tmp_path) == before
    assert (held.kind, held.region, held.client_id, held.lacks) == ("idc", "eu-west-1", "cid", None)
    assert held.expires_at == NOW


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"authMethod": "social", "provider": "Google"}, "social"),
        ({"authMethod": "IdC", "provider": "BuilderId", "clientIdHash": "ab" * 20}, "builder-id"),
        ({"authMethod": "IdC", "provider": "Internal", "clientIdHash": "ab" * 20}, "idc"),
        ({"authMethod": "external_idp", "tokenEndpoint": "https://x.okta.com/t"}, "external-idp"),
    ],
)
def test_the_ide_s_words_tell_the_kind(tmp_path: Path, fields: dict[str, Any], kind: str) -> None:
    made.kiro_ide(tmp_path, {"accessToken": "a", "refreshToken": "r", "expiresAt": 0, **fields})

    held = KiroIde().read(Source("kiro-ide", str(tmp_path / "kiro-auth-token.json"), "x"))

    assert held is not None
    assert held.kind == kind
    assert (held.lacks is None) == (kind in ("social", "external-idp"))  # the registration is missing


@pytest.mark.parametrize("hash_", ["../../secret", "ab", "ab" * 40, ""])
def test_a_hash_that_is_none_names_no_file(tmp_path: Path, hash_: str) -> None:
    (tmp_path / "secret.json").write_text(json.dumps({"clientId": "x", "clientSecret": "y"}))
    made.kiro_ide(tmp_path / "a" / "b", {"accessToken": "a", "refreshToken": "r", "clientIdHash": hash_})

    held = KiroIde().read(Source("kiro-ide", str(tmp_path / "a/b/kiro-auth-token.json"), "x"))

    assert held is not None
    assert held.client_id is None


ROW = {
    "id": "c" * 32, "email": "ada@example.com", "auth_method": "idc", "region": "us-west-2",
    "client_id": "cid", "client_secret": "s", "refresh_token": "r1", "access_token": "a1",
    "expires_at": 1_800_000_000_000, "is_healthy": 1,
}  # fmt: skip


@pytest.mark.parametrize(("system", "folder"), [("linux", ".config"), ("darwin", ".config"), ("win32", "R")])
@pytest.mark.parametrize("schema", [made.ORIGINAL_1_3, made.ORIGINAL_1_5], ids=["1.3", "1.5"])
def test_the_original_s_database_is_read_on_each_system(
    tmp_path: Path, system: str, folder: str, schema: str
) -> None:
    rows = [
        ROW,
        ROW | {"id": "d" * 64, "auth_method": "desktop", "refresh_token": "r2", "client_id": "c2"},
        ROW | {"id": "e" * 32, "refresh_token": "r3", "unhealthy_reason": "Replaced by real email"},
        ROW | {"id": "f" * 32, "refresh_token": "r4", "email": "x-placeholder+00112233@awsapps.local"},
        ROW | {"id": "0" * 32, "refresh_token": "r5", "auth_method": "sso", "client_id": "c5"},
    ]
    made.original(tmp_path / folder / "opencode" / "kiro.db", schema, rows)
    before = made.bytes_below(tmp_path)

    held = found("original", machine(system, tmp_path, APPDATA=str(tmp_path / "R")))

    assert made.bytes_below(tmp_path) == before
    assert [(one.kind, one.refresh_token) for one in held] == [
        ("builder-id", "r1"),
        ("social", "r2"),
        ("idc", "r5"),
    ]
    assert (held[0].id, held[0].region, held[0].expires_at) == ("c" * 32, "us-west-2", NOW)
    assert not held[0].source.linked


def test_what_the_original_set_aside_is_read_too(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "opencode"
    folder.mkdir(parents=True)
    account = {"id": "c" * 32, "authMethod": "idc", "refreshToken": "r|c|s|idc", "accessToken": "a"}
    text = json.dumps({"version": 1, "accounts": [account | {"clientId": "c", "clientSecret": "s"}, 5]})
    (folder / "kiro-accounts.json.bak").write_text(text)

    [held] = found("original", machine("linux", tmp_path))

    assert (held.kind, held.refresh_token, held.lacks) == ("builder-id", "r", None)


def test_one_damaged_store_stops_no_other(tmp_path: Path) -> None:
    damaged = tmp_path / ".local/share/kiro-cli/data.sqlite3"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    made.kiro_ide(
        tmp_path / ".aws/sso/cache", {"accessToken": "a", "refreshToken": "r", "authMethod": "social"}
    )
    troubles: list[Failure] = []

    held = found("auto", machine("linux", tmp_path), troubles)

    assert [one.source.tool for one in held] == ["kiro-ide"]
    assert [str(damaged) in failure.message for failure in troubles] == [True]


def test_an_empty_machine_holds_nothing(tmp_path: Path) -> None:
    for system in ("linux", "darwin", "win32"):
        assert found("auto", machine(system, tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "epoch"),
    [
        ("2026-06-27T12:48:46.723389123Z", 1782564526.723389),
        ("2026-06-27T12:48:46Z", 1782564526),
        ("2026-06-27T14:48:46+02:00", 1782564526),
        ("2026-06-27T12:48:46", 1782564526),
        (1782564526, 1782564526),
        (1782564526000, 1782564526),
        ("1782564526000", 1782564526),
        (None, 0),
        ("soon", 0),
        (True, 0),
        ({}, 0),
        (-5, 0),
        (1e308, 0),
        (10**400, 0),
        ("9" * 400, 0),
        (float("inf"), 0),
        ("0001-01-01T00:00:00+23:59", 0),
        ("9999-12-31T23:59:59-23:59", 0),
    ],
)
def test_times_are_read_in_every_form(value: Any, epoch: float) -> None:
    assert moment(value) == pytest.approx(epoch, abs=1e-3)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3)
)
def test_any_value_is_a_time_before_the_year_10000_or_long_past(value: Any) -> None:
    assert 0.0 <= moment(value) < 253402300800.0


# -------------------------------------------------------------------------------------- becoming ours


def held(**fields: Any) -> Held:
    source = Source("kiro-cli", "/x/data.sqlite3", ODIC)
    usual = {
        "source": source, "kind": "builder-id", "access_token": "a", "refresh_token": "r",
        "expires_at": NOW, "client_id": "c", "client_secret": "s",
    }  # fmt: skip
    return Held(**(usual | fields))


def add(store: HandStore, held: Held) -> Admitted:
    return at_once(admit(store, held.signed_in(), NOW))


def test_a_sign_in_is_added_once_and_brought_up_to_date_when_it_is_newer(tmp_path: Path) -> None:
    store = HandStore(tmp_path, tmp_path / "locks")

    assert add(store, held()).change == "added"
    assert add(store, held()).change == "unchanged"
    newer = add(store, held(access_token="a2", refresh_token="r2", expires_at=NOW + 60))

    assert newer.change == "updated"
    [record] = store.accounts()
    account = account_of(record)
    assert (account.access_token, account.refresh_token, account.kind) == ("a2", "r2", "builder-id")
    assert newer.account == account
    assert account.extra["source"]["path"] == "/x/data.sqlite3"


def test_what_the_original_took_from_kiro_cli_stays_kiro_cli_s(tmp_path: Path) -> None:
    """One chain of refresh tokens in two stores: a renewal with the original's copy would end kiro-cli's."""
    made.kiro_cli(tmp_path / ".local/share/kiro-cli/data.sqlite3", {ODIC: TOKEN | {"region": "us-west-2"}})
    copy = ROW | {"refresh_token": "aor1", "access_token": "older"}
    other = ROW | {"id": "d" * 32, "refresh_token": "r2", "client_id": "c2", "client_secret": "s2"}
    made.original(tmp_path / ".config/opencode/kiro.db", made.ORIGINAL_1_5, [copy, other])

    for wanted in ("original", "auto"):
        shared, own = found(wanted, machine("linux", tmp_path))
        assert (shared.source.tool, shared.source.linked) == ("kiro-cli", True)
        assert (shared.id, shared.email, shared.access_token) == (ROW["id"], ROW["email"], "aoa1")
        assert shared.lacks is None, "what kiro-cli does not hold any more comes from the copy"
        assert (own.source.tool, own.source.linked, own.id) == ("original", False, "d" * 32)


def test_a_copy_with_the_same_client_and_another_token_is_kept_beside_its_owner(tmp_path: Path) -> None:
    place = tmp_path / ".local/share/kiro-cli/data.sqlite3"
    made.kiro_cli(place, {ODIC: TOKEN, ODIC.replace("token", "device-registration"): REGISTRATION})
    copies = [ROW | {"id": id_ * 32, "client_secret": "secret", "refresh_token": id_} for id_ in "cd"]
    made.original(tmp_path / ".config/opencode/kiro.db", made.ORIGINAL_1_5, copies)

    held = found("original", machine("linux", tmp_path))

    assert [(one.source.tool, one.refresh_token) for one in held] == [
        ("kiro-cli", "aor1"),
        ("original", "c"),
        ("original", "d"),
    ]


def test_an_account_of_our_own_with_kiro_cli_s_token_is_shared_from_then_on(tmp_path: Path) -> None:
    store = HandStore(tmp_path, tmp_path / "locks")
    mine = held(source=Source("original", "/x/kiro.db", "i", linked=False), id="i" * 32)
    add(store, mine)

    assert add(store, held()).change == "updated"
    [record] = store.accounts()
    assert (record["id"], record["kiroAuth"]["source"]["tool"]) == ("i" * 32, "kiro-cli")
    assert add(store, held()).change == "unchanged"


@pytest.mark.parametrize(("state", "after"), [("disabled", "disabled"), ("sign-in", "ready")])
def test_newer_tokens_end_only_what_a_sign_in_ends(tmp_path: Path, state: str, after: str) -> None:
    store = HandStore(tmp_path, tmp_path / "locks")
    added = add(store, held()).account
    store.change_account(added.id, {"state": state, "generation": 3})

    add(store, held(access_token="a2", refresh_token="r2", expires_at=NOW + 60))

    [record] = store.accounts()
    assert (record["accessToken"], record["state"], record["generation"]) == ("a2", after, 4)


@pytest.mark.parametrize(("state", "accounts"), [("sign-in", 1), ("ready", 2)])
def test_an_ended_account_is_what_kiro_cli_made_of_it(tmp_path: Path, state: str, accounts: int) -> None:
    store = HandStore(tmp_path, tmp_path / "locks")
    source = Source("original", "/x/kiro.db", "i", linked=False)
    add(store, held(source=source, refresh_token="spent", id="i" * 32))
    store.change_account("i" * 32, {"state": state})

    add(store, held(refresh_token="rotated", access_token="new", expires_at=NOW + 1))

    assert len(store.accounts()) == accounts
    if accounts == 1:
        [record] = store.accounts()
        assert (record["refreshToken"], record["state"]) == ("rotated", "ready")
        assert record["kiroAuth"]["source"]["tool"] == "kiro-cli"


def test_what_lacks_its_client_is_not_whole() -> None:
    assert held().lacks is None
    assert held(client_secret=None).lacks == "the client that it was made with is not known"
    assert held(kind="social", client_secret=None).lacks is None
    assert held(kind="api-key", refresh_token="", client_secret=None).lacks is None


def test_two_people_with_one_profile_stay_two(tmp_path: Path) -> None:
    store = HandStore(tmp_path, tmp_path / "locks")
    for number in range(2):
        source = Source("kiro-cli", f"/{number}", ODIC)
        one = held(
            source=source, refresh_token=f"r{number}", client_id=f"c{number}", profile_arn=ARN, email="e"
        )
        assert add(store, one).change == "added"

    one, two = store.accounts()
    assert one["id"] != two["id"]


def test_an_export_is_imported_whole(tmp_path: Path) -> None:
    here, there = (HandStore(tmp_path / name, tmp_path / f"{name}-locks") for name in ("here", "there"))
    add(here, held())
    source = Source("kiro-cli", "/x", "kirocli:external-idp:token")
    provider = {"token_endpoint": "https://x.okta.com/t", "issuer_url": "", "client_id": "c", "scope": ""}
    add(here, held(source=source, kind="external-idp", refresh_token="e", provider=provider))
    own = {"label": "Mine", "state": "disabled", "profileRegion": "eu-central-1", "strange": [1]}
    key = {"id": "k", "authMethod": "api-key", "accessToken": "ksk_1"}
    here.change_account(here.accounts()[0]["id"], own)
    here.add_account(key)
    (tmp_path / "export.json").write_bytes(export(here.accounts()))

    for _ in range(2):
        for one in find(str(tmp_path / "export.json"), machine("linux", tmp_path), lambda _: None):
            add(there, one)

    wanted = here.accounts()
    for record in wanted:
        record.setdefault("kiroAuth", {}).pop("source", None)  # of a program on the other machine
    assert there.accounts() == wanted


def test_a_registration_of_another_region_renews_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data.sqlite3"
    made.kiro_cli(
        path, {ODIC: TOKEN, "kirocli:odic:device-registration": REGISTRATION | {"region": "us-east-1"}}
    )

    [found] = sign_ins("kiro-cli", path)

    assert found.lacks


def test_a_damaged_file_of_the_ide_is_no_sign_out(tmp_path: Path) -> None:
    path = tmp_path / "kiro-auth-token.json"
    path.write_text('{"accessToken": "a"')

    with pytest.raises(StoreFailed, match="cannot be read"):
        KiroIde().read(Source("kiro-ide", str(path), path.name))


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"kiro-auth-export": 2}'])
def test_a_file_that_is_no_export_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "file"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ConfigFailed, match=r"cannot be imported.*kiro-auth accounts export"):
        find(str(path), machine("linux", tmp_path), lambda _: None)


def test_disks_of_another_system_are_known() -> None:
    assert foreign(Path("/mnt/c/Users/ada/AppData/Local/kiro-cli/data.sqlite3"))
    assert not foreign(Path("/home/ada/.local/share/kiro-cli/data.sqlite3"))


@pytest.mark.parametrize(
    ("wanted", "place", "table"),
    [("original", ".config/opencode/kiro.db", b"accounts"), ("kiro-cli", CLI_PLACES[0][2], b"auth_kv")],
)
def test_a_database_that_is_damaged_in_its_own_description_is_told(
    tmp_path: Path, wanted: str, place: str, table: bytes
) -> None:
    """What SQLite says of it quotes the damaged bytes, which are no text."""
    path = tmp_path / place.format(tool=wanted)
    made.original(path, f"create table {table.decode()} (id text primary key, email text);", [])
    path.write_bytes(path.read_bytes().replace(table + b" (id", table + b" \x80\xff "))
    troubles: list[Failure] = []

    assert found(wanted, machine("linux", tmp_path), troubles) == []
    assert [trouble.code for trouble in troubles] == ["KA-STORE"]
    assert str(path) in troubles[0].message
