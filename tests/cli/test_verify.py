"""`accounts verify`: what Kiro says is told and written down; what the user decided stays."""

from __future__ import annotations

import json
import time
from datetime import datetime

import pytest

from cli.conftest import ADA, Stage
from kiro_auth.times import when
from support.programs import Home

pytestmark = pytest.mark.usefixtures("in_order")


def used_up(stage: Stage) -> None:
    """Ada's plan, as the gateway leaves it."""
    stage.simulator.ask("user", {"email": ADA, "used": 1000, "limit": 1000})
    until = round((time.time() + 3600) * 1000)
    fields = {"state": "quota", "stateCode": "KA-QUOTA", "stateReason": "Used up.", "stateUntil": until}
    stage.store.change_account(stage.ids[0], fields)


def test_all_are_asked_and_the_one_that_does_not_work_is_named(stage: Stage) -> None:
    stage.simulator.ask("user", {"email": ADA, "suspended": True})

    done = stage.home.run("accounts", "verify", "--json", check=False)
    found = json.loads(done.stdout)["accounts"]

    assert done.returncode == 1
    assert [account["works"] for account in found] == [False, True]
    assert "AWS has locked the account" in found[0]["failure"]
    assert [account["state"] for account in found] == ["suspended", "ready"]


def test_one_that_works_is_used_again(stage: Stage) -> None:
    stage.store.change_account(stage.ids[1], {"state": "suspended", "stateCode": "KA-SUSPENDED"})

    done = stage.home.run("accounts", "verify", stage.names[1])

    assert done.stdout == f"{stage.names[1]} works and is in use.\n"
    assert stage.state(stage.names[1]) == "ready"


def test_what_the_user_switched_off_stays_off_and_is_not_asked(stage: Stage) -> None:
    stage.home.run("accounts", "disable", stage.names[0])
    before = len(stage.simulator.calls("GetUsageLimits"))

    done = stage.home.run("accounts", "verify")

    assert stage.state(stage.names[0]) == "disabled"
    assert len(stage.simulator.calls("GetUsageLimits")) == before + 1
    assert done.stdout == f"{stage.names[1]} works and is in use.\n"
    assert f"{stage.names[0]} is disabled and was not asked" in done.stderr
    assert f"kiro-auth accounts enable '{stage.names[0]}'" in done.stderr
    assert [a["works"] for a in stage.home.json("accounts", "verify")["accounts"]] == [None, True]


def test_a_disabled_one_that_is_named_is_asked_and_stays_so(stage: Stage) -> None:
    stage.home.run("accounts", "disable", stage.names[0])

    done = stage.home.run("accounts", "verify", stage.names[0])

    assert "works and stays disabled" in done.stdout
    assert f"kiro-auth accounts enable '{stage.names[0]}'" in done.stdout
    assert stage.state(stage.names[0]) == "disabled"


def test_a_plan_that_is_used_up_is_told_with_its_reset_and_the_state_stays(stage: Stage) -> None:
    used_up(stage)

    before = time.time()
    done = stage.home.run("accounts", "verify", stage.names[0], check=False)
    after = time.time()

    resets = stage.home.json("usage")["accounts"][0]["resetAt"]
    assert (done.returncode, done.stdout) == (1, "")
    until = {when(datetime.fromisoformat(resets).timestamp(), now) for now in (before, after)}
    told = "limit is used up (KA-QUOTA). Available again {}. Wait"
    assert any(told.format(each) in done.stderr for each in until), done.stderr
    shown = stage.home.json("accounts", "show", stage.names[0])
    assert (shown["state"], shown["stateUntil"]) == ("quota", resets)


def test_a_plan_with_something_left_is_used_again(stage: Stage) -> None:
    used_up(stage)
    stage.simulator.ask("user", {"email": ADA, "limit": 2000})

    stage.home.run("accounts", "verify", stage.names[0])

    assert stage.state(stage.names[0]) == "ready"


def test_a_locked_account_is_known_as_such_from_then_on(stage: Stage) -> None:
    stage.simulator.ask("user", {"email": ADA, "suspended": True})

    done = stage.home.run("accounts", "verify", stage.names[0], check=False)

    assert done.returncode == 1
    assert done.stderr.endswith(f"kiro-auth accounts verify '{stage.names[0]}'\n")
    shown = stage.home.json("accounts", "show", stage.names[0])
    assert (shown["state"], shown["stateCode"]) == ("suspended", "KA-SUSPENDED")


def test_without_an_account_there_is_something_to_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    done = Home(tmp_path_factory.mktemp("empty")).run("accounts", "verify")

    assert "kiro-auth login" in done.stdout


def test_a_proxy_of_its_own_that_is_gone_is_named_with_the_command_for_it(stage: Stage) -> None:
    stage.home.run("accounts", "set", stage.names[0], "--proxy", "http://127.0.0.1:9")

    told = stage.home.run("accounts", "verify", stage.names[0], check=False).stderr
    stage.home.run("accounts", "set", stage.names[0], "--proxy", "")

    assert "The account's own proxy for 127.0.0.1 cannot be reached (KA-NETWORK)." in told
    assert f"kiro-auth accounts set '{stage.names[0]}' --proxy …" in told


@pytest.mark.parametrize("state", ["ready", "quota"])
def test_a_throttled_question_about_usage_changes_nothing(stage: Stage, state: str) -> None:
    if state == "quota":
        used_up(stage)
    before = stage.store.accounts()
    body = {"__type": "ThrottlingException", "message": "Rate exceeded"}
    stage.simulator.ask("fault", {"operation": "GetUsageLimits", "status": 429, "body": body, "times": 2})

    found = stage.home.json("accounts", "verify")["accounts"]

    assert [account["works"] for account in found] == [None, None]
    assert all("slow down" in account["failure"] for account in found)
    assert [account["state"] for account in found] == [state, "ready"]
    assert stage.store.accounts() == before
