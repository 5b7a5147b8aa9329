"""One account as others see it: the same for commands and the gateway, and never a secret."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.health import State
from kiro_auth.accounts.view import STATE_WORDS, account_view, masked, named, remarks, state_words
from kiro_auth.failures import CATALOGUE, Failure
from support.programs import KEY, Home
from support.storing import HandStore

NOW = 1_800_000_000.0
PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
ADA = Account(
    id="a" * 32,
    label="Ada's",
    real_email="ada@example.com",
    access_token="access-1",
    refresh_token="refresh-1",
    client_id="client-1",
    client_secret="secret-1",
    proxy="http://user:password@proxy:1",
    expires_at=NOW * 1000,
    extra={"plan": "KIRO PRO", "userId": "user-1"},
)


def test_the_documentation_has_every_field_and_no_other() -> None:
    section = PAGE.partition("## One account as JSON")[2].partition("\n## ")[0]
    names = " ".join(re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE))

    assert re.findall(r"`(\w+)`", names) == list(account_view(ADA, NOW))


def test_no_secret_and_no_whole_e_mail_is_in_it() -> None:
    text = json.dumps(account_view(ADA, NOW))
    private = ("access-1", "refresh-1", "client-1", "secret-1", "password", "ada@")

    assert not [word for word in private if word in text]
    assert account_view(ADA, NOW)["email"] == "a***@example.com"


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, ("ready", None, None, None)),
        (
            {"state": "cooling", "state_until": (NOW - 1) * 1000, "state_reason": "Slow"},
            ("ready", None, None, None),
        ),
        (
            {"state": "cooling", "state_until": (NOW + 1) * 1000, "state_reason": "Slow"},
            ("cooling", "KA-THROTTLE", "Slow", "2027-01-15T08:00:01+00:00"),
        ),
        ({"state": "disabled", "state_reason": "switched off"}, ("disabled", None, "switched off", None)),
        ({"state_reason": "no profile"}, ("ready", None, "no profile", None)),
    ],
)
def test_a_state_is_shown_as_long_as_it_lasts(fields: dict[str, Any], shown: tuple[Any, ...]) -> None:
    view = account_view(Account(id="a", label="A", **fields), NOW)

    assert tuple(view[name] for name in ("state", "stateCode", "stateReason", "stateUntil")) == shown


def test_a_next_step_names_the_account() -> None:
    locked = Account(
        id="a", label="Ada's", state="suspended", state_code="KA-SUSPENDED", state_reason="Locked."
    )
    off = Account(id="a", label="Ada's", state="disabled", state_reason="switched off by you")

    assert str(account_view(locked, NOW)["nextStep"]).endswith("""kiro-auth accounts verify 'Ada'"'"'s'""")
    assert list(remarks(off, NOW)) == [
        "Ada's: switched off by you",
        """  kiro-auth accounts enable 'Ada'"'"'s'""",
    ]


@given(st.sampled_from(sorted(CATALOGUE)))
def test_every_failure_of_an_account_can_be_told(code: str) -> None:
    failure = Failure(code=code, message="What it says.", next_step=CATALOGUE[code].remedy)

    assert named(failure, ADA).sentence().startswith(f"What it says ({code}).")


def test_every_state_has_words_for_people() -> None:
    assert set(STATE_WORDS) == set(get_args(State))
    throttled = replace(ADA, state="cooling", state_code="KA-THROTTLE", state_until=(NOW + 9) * 1000)
    limited = replace(throttled, state_code="KA-ACTIVITY")

    assert [state_words(a, NOW) for a in (ADA, throttled, limited)] == ["ready", "throttled", "paused"]
    assert state_words(throttled, NOW + 10) == "ready"


@pytest.mark.parametrize(
    ("email", "shown"),
    [(None, ""), ("", ""), ("nobody", ""), ("@x", "***@x"), ("a@b@c.example", "a***@c.example")],
)
def test_an_e_mail_is_shown_by_its_first_letter_and_its_domain(email: str | None, shown: str) -> None:
    assert masked(email) == shown


def test_the_gateway_and_the_command_say_the_same(tmp_path: Path) -> None:
    home = Home(tmp_path)
    store = HandStore(home.config, home.state / "locks")
    store.add_account({"id": "a" * 32, "label": "A", "email": "ada@example.com", "expiresAt": NOW * 1000})
    store.add_account(
        {"id": "b" * 32, "label": "B", "authMethod": "sso", "state": "disabled", "stateReason": "x"}
    )

    with home.gateway() as url:
        request = urllib.request.Request(f"{url}/kiro/accounts", headers={"x-api-key": KEY})
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
        assert answer == home.json("accounts")

    assert [account["name"] for account in answer["accounts"]] == ["A", "B"]
