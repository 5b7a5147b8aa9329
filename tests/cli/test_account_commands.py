"""The commands about accounts: what they change, what they print, in a pipe and in a terminal."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from cli.conftest import ADA, Stage

pytestmark = pytest.mark.usefixtures("in_order")


def test_switching_off_and_on_says_the_state_for_people_and_programs(stage: Stage) -> None:
    name = stage.names[0]

    assert stage.home.run("accounts", "disable", name).stdout == f"{name}: disabled.\n"
    assert stage.state(name) == "disabled"
    told = stage.home.json("accounts", "enable", name)
    assert (told["name"], told["state"]) == (name, "ready")
    told = stage.home.json("accounts", "disable", name)
    assert (told["state"], told["stateReason"]) == ("disabled", "switched off by you")
    assert told["nextStep"] == f"kiro-auth accounts enable {shlex.quote(name)}"


def test_removing_says_what_was_removed(stage: Stage) -> None:
    stage.home.run("login", "--builder-id", "--no-browser")
    names = [account["name"] for account in stage.home.json("accounts")["accounts"]]
    for name in names[2:]:  # the simulator's people come in turn: it may be one that was there
        assert stage.home.json("accounts", "remove", name)["removed"]["name"] == name
    assert len(stage.home.json("accounts")["accounts"]) == 2


def test_a_damaged_record_is_removed_by_its_id_and_by_nothing_that_means_another(stage: Stage) -> None:
    path = stage.home.config / "kiro-accounts.json"
    document = json.loads(path.read_text())
    document["accounts"].insert(0, {"id": "damaged-0123", "accessToken": {"not": "a token"}})
    path.write_text(json.dumps(document))

    listed = stage.home.json("accounts")
    unknown = stage.home.process("accounts", "remove", "damag", "--yes", check=False)
    removed = stage.home.json("accounts", "remove", "damaged")["removed"]

    assert [account["name"] for account in listed["accounts"]] == stage.names
    assert [(each["id"], each["code"]) for each in listed["unreadable"]] == [("damaged-0123", "KA-STORE")]
    assert (unknown.returncode, "No account is called" in unknown.stderr) == (1, True)
    assert removed == listed["unreadable"][0]
    assert [record["id"] for record in json.loads(path.read_text())["accounts"]] == [
        account["id"] for account in listed["accounts"]
    ]


def test_usage_is_told_with_its_parts_and_what_was_metered_since(stage: Stage) -> None:
    stage.simulator.ask("user", {"email": ADA, "used": 250, "limit": 1000})
    row = stage.home.json("usage")["accounts"][0]

    assert (row["used"], row["limit"], row["share"], row["usedSince"]) == (250, 1000, 0.25, None)
    assert row["plan"] == "KIRO PRO"
    assert row["asOf"]
    assert row["resetAt"]
    assert row["parts"][0]["kind"] == "plan"


def test_in_a_pipe_tables_are_plain_columns(stage: Stage) -> None:
    stage.simulator.ask("user", {"email": ADA, "used": 250, "limit": 1000})
    head, first, *_ = stage.home.run("usage").stdout.splitlines()

    assert head.split() == ["ACCOUNT", "PLAN", "QUOTA", "USED", "LIMIT", "SHARE", "UNTIL", "AS", "OF"]
    assert re.search(r"KIRO PRO +plan   250.00  1,000.00    25%  resets (.*, )?in \S+ \w+  now$", first)


@pytest.mark.parametrize(
    "verb",
    [("accounts",), *(pytest.param((verb,), marks=pytest.mark.clients) for verb in ("models", "status"))],
)
def test_in_a_terminal_tables_are_drawn_and_no_color_is_honoured(stage: Stage, verb: Any) -> None:
    plain = stage.terminal(*verb)
    coloured = stage.terminal(*verb, NO_COLOR="", CI="")

    assert "──" in plain
    assert "…" not in plain
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain)
    assert "──" in coloured


def test_states_are_coloured_in_a_terminal_and_where_it_is_forced(stage: Stage) -> None:
    ready = "\x1b[32mready\x1b[0m"
    stage.home.environment["FORCE_COLOR"] = "1"
    try:
        assert ready in stage.terminal("accounts", NO_COLOR="", CI="")
        assert ready not in stage.terminal("accounts", NO_COLOR="1")
        assert ready not in stage.terminal("accounts", NO_COLOR="", TERM="dumb")
    finally:
        del stage.home.environment["FORCE_COLOR"]
    assert ready not in stage.home.run("accounts").stdout


def test_status_tells_of_the_accounts_too(stage: Stage) -> None:
    stage.home.run("accounts", "disable", stage.names[0])
    done = stage.home.run("status", "--json", check=False)
    told = json.loads(done.stdout)

    assert (done.returncode, told["running"]) == (1, False)
    assert [account["state"] for account in told["accounts"]] == ["disabled", "ready"]
    assert "disabled" in stage.home.run("status", check=False).stdout


def test_whose_an_account_is_becomes_known_when_kiro_is_asked_for_its_usage(stage: Stage) -> None:
    """As of a store of the original plugin, which often holds a placeholder; it is nobody's mark then."""
    unknown = {"email": "builder-id@aws.amazon.com", "realEmail": None}
    stage.store.change_account(stage.ids[0], unknown)
    before = stage.home.json("accounts", "show", stage.ids[0])

    stage.home.run("usage")

    record = next(account for account in stage.home.accounts() if account["id"] == stage.ids[0])
    assert (before["name"], before["email"]) == (f"builder-id-{stage.ids[0][:6]}", None)
    assert stage.home.json("accounts", "show", stage.ids[0])["name"] == stage.names[0]
    assert (record["email"], record.get("realEmail")) == (ADA, None)
    stage.store.change_account(stage.ids[0], {"realEmail": ADA})


def test_an_account_that_does_not_exist_is_named(stage: Stage) -> None:
    for verb in ("show", "enable", "disable", "remove", "verify"):
        done = stage.home.run("accounts", verb, "nobody", check=False)
        assert done.returncode == 1
        assert "No account is called 'nobody'" in done.stderr


def test_no_command_shows_a_secret(stage: Stage) -> None:
    secrets = [
        account[name]
        for account in stage.home.accounts()
        for name in ("accessToken", "refreshToken", "clientSecret", "realEmail", "email")
        if account.get(name)
    ]
    verbs = [("accounts",), ("usage",), ("status",), ("models",), ("accounts", "show", stage.names[0])]
    for verb in [*verbs, *((*verb, "--json") for verb in verbs)]:
        done = stage.home.run(*verb, check=False)
        assert not any(secret in done.stdout + done.stderr for secret in secrets), verb


def test_a_state_has_its_code_and_one_that_has_passed_leaves_no_reason(stage: Stage) -> None:
    cooling = {
        "state": "cooling",
        "stateCode": "KA-ENTITLEMENT",
        "stateReason": "The plan has no such thing.",
    }
    stage.store.change_account(stage.ids[0], {**cooling, "stateUntil": 32503680000000})
    stage.store.change_account(stage.ids[1], {**cooling, "stateUntil": 1000})

    now, passed = stage.home.json("accounts")["accounts"]
    lines = stage.home.run("accounts").stdout.splitlines()

    assert (now["stateCode"], now["stateReason"]) == ("KA-ENTITLEMENT", "The plan has no such thing.")
    assert now["nextStep"].endswith(f"kiro-auth accounts show '{stage.names[0]}'")
    assert (passed["state"], passed["stateCode"], passed["stateReason"]) == ("ready", None, None)
    assert [line for line in lines if stage.names[1] in line][1:] == []
