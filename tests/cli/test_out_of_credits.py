"""Accounts that are out of credits: their models are listed all the same, and until when is said."""

from __future__ import annotations

import re
import time

import pytest

from cli.conftest import Stage

pytestmark = pytest.mark.usefixtures("in_order")
SPENT = {"state": "quota", "stateCode": "KA-QUOTA", "stateUntilStated": True}


def until(hours: float) -> int:
    return round((time.time() + hours * 3600) * 1000)


def test_models_are_listed_for_accounts_that_are_out_of_credits_and_until_when_is_said(stage: Stage) -> None:
    for account_id in stage.ids:
        stage.store.change_account(account_id, {**SPENT, "stateUntil": until(0.5)})

    done = stage.home.run("models")

    assert "claude-sonnet" in done.stdout
    assert all(name in done.stdout for name in stage.names)
    notes = done.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in notes] == stage.names
    assert all("plan limit is used up (KA-QUOTA). Available again in 30 min." in line for line in notes)


def test_models_of_an_account_that_must_sign_in_are_not_asked_for_and_that_is_said(stage: Stage) -> None:
    stage.store.change_account(stage.ids[1], {"state": "sign-in", "stateCode": "KA-SIGNIN"})

    done = stage.home.run("models")

    assert f"note: {stage.names[1]}: The sign-in of the account has ended (KA-SIGNIN)." in done.stderr
    assert stage.names[1] not in done.stdout


def test_times_in_json_are_iso_with_their_zone(stage: Stage) -> None:
    stage.store.change_account(stage.ids[0], {**SPENT, "stateUntil": until(40)})

    assert stage.home.json("accounts", "show", stage.names[0])["stateUntil"].endswith("+00:00")
    told = stage.home.json("doctor")["checks"]
    (said,) = (line["message"] for line in told if line["check"] == f"account {stage.names[0]}")
    assert re.search(r"Available again 20\S+ \S+ UTC, in 40 h\.$", said)
