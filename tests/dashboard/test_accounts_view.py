"""What is shown of an account's plan, as values."""

from __future__ import annotations

from typing import Any

import pytest

from kiro_auth.accounts.account import Account
from kiro_auth.dashboard.accounts_view import account_card, summary
from kiro_auth.ledger.forecast import Pace
from support.pool import NOW

DAY = 86400.0
RESET = (NOW + 10 * DAY) * 1000


def plan(used: float | None, limit: float | None, **more: Any) -> dict[str, Any]:
    return {"usedCount": used, "limitCount": limit, "resetAt": RESET, **more}


@pytest.mark.parametrize(
    ("spent", "words"),
    [
        (14.0, "At your pace, 1.0 a day, it lasts until it resets."),
        (280.0, "At your pace, 20.0 a day, it is used up"),
        (0.0, ""),
    ],
)
def test_the_pace_says_whether_the_plan_lasts(spent: float, words: str) -> None:
    pace = Pace(40, spent, NOW - 14 * DAY)

    card = account_card(Account(id="a"), plan(900, 1000), NOW, pace=pace)

    assert card.pace.startswith(words)
    assert bool(card.pace) == bool(words)


def test_a_plan_that_is_used_up_has_no_pace() -> None:
    pace = Pace(40, 280, NOW - 14 * DAY)
    assert account_card(Account(id="a"), plan(1000, 1000), NOW, pace=pace).pace == ""


def test_trials_bonuses_and_use_beyond_the_plan_have_bars_of_their_own() -> None:
    parts = [
        {"kind": "plan", "resource": "CREDIT", "used": 50, "limit": 50, "endsAt": RESET},
        {"kind": "trial", "resource": "CREDIT", "used": 10, "limit": 500, "endsAt": RESET},
    ]
    row = plan(60, 550, parts=parts, overage={"enabled": True, "used": 3.5, "limit": 100})

    quotas = account_card(Account(id="a"), row, NOW).quotas

    assert [(q.name, q.used, q.limit, q.percent) for q in quotas] == [
        ("Together", "60.00", "550", "11%"),
        ("Plan", "50.00", "50", "100%"),
        ("Free trial", "10.00", "500", "2%"),
        ("Beyond the plan", "3.50", "100", "4%"),
    ]
    assert quotas[2].ends.startswith("ends ")


@pytest.mark.parametrize(
    ("states", "tone", "headline"),
    [
        ((), "bad", "No account is signed in"),
        (("ready", "ready"), "good", "Everything works"),
        (("ready", "disabled"), "good", "Everything works"),
        (("ready", "sign-in"), "wait", "Works, with 1 of 2 accounts"),
        (("suspended", "sign-in"), "bad", "No account can work now"),
        (("suspended", "cooling"), "wait", "No account can work now"),
        (("disabled",), "off", "Every account is disabled"),
        (("sign-in",), "bad", "a is signed out"),
    ],
)
def test_the_first_line_says_whether_it_works(states: tuple[str, ...], tone: str, headline: str) -> None:
    accounts = [
        Account(id=name, label=name, state=state, state_until=(NOW + 60) * 1000)
        for name, state in zip("ab", states, strict=False)
    ]
    cards = [account_card(account, {}, NOW) for account in accounts]

    found = summary(cards, accounts, {}, NOW)

    assert (found.tone, found.headline) == (tone, headline)


def test_what_is_left_is_never_more_than_there_is_and_disabled_accounts_do_not_count() -> None:
    accounts = [Account(id="a"), Account(id="b"), Account(id="c", state="disabled")]
    rows = {"a": plan(0.23, 1000), "b": plan(1200, 1000), "c": plan(0, 5000)}
    cards = [account_card(account, rows[account.id], NOW) for account in accounts]

    found = summary(cards, accounts, rows, NOW)

    assert (found.left, found.limit) == ("999.77", "2,000")


def test_figures_that_are_not_known_are_not_made_up() -> None:
    accounts = [Account(id="a")]
    cards = [account_card(accounts[0], {}, NOW)]

    assert cards[0].quotas == ()
    assert summary(cards, accounts, {}, NOW).left == "?"
