"""Which account takes a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.roster import Roster
from kiro_auth.accounts.strategies import STRATEGIES, lowest_usage, round_robin, sticky
from kiro_auth.accounts.usage_row import share
from kiro_auth.options import STRATEGIES as OFFERED

FIGURE = st.integers(0, 10_000) | st.floats(0, 10_000)
ROWS = st.fixed_dictionaries({}, optional={"usedCount": FIGURE, "limitCount": FIGURE})
IDS = st.lists(st.sampled_from("abcdef"), min_size=1, unique=True)


@st.composite
def snapshots(draw: st.DrawFn) -> Roster:
    ids = draw(IDS)
    return Roster(
        [Account(id=name) for name in ids],
        draw(st.dictionaries(st.sampled_from(ids), ROWS)),
        draw(st.dictionaries(st.sampled_from(ids), st.integers(1, 100))),
    )


def served(strategy: Callable[[Roster], Account], turns: int) -> list[str]:
    """Who serves one turn after the other when nothing else happens."""
    accounts = [Account(id=name) for name in "abc"]
    last_used: dict[str, int] = {}
    order: list[str] = []
    for turn in range(1, turns + 1):
        order.append(strategy(Roster(accounts, {}, last_used)).id)
        last_used[order[-1]] = turn
    return order


def test_every_strategy_of_the_options_is_there() -> None:
    assert set(STRATEGIES) == set(OFFERED)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
@given(snapshot=snapshots())
def test_the_choice_is_one_of_the_accounts_and_does_not_depend_on_chance(
    strategy: Callable[[Roster], Account], snapshot: Roster
) -> None:
    chosen = strategy(snapshot)

    assert chosen in snapshot.accounts
    assert strategy(snapshot) is chosen


@given(snapshots())
def test_lowest_usage_takes_the_least_share_of_its_own_quota(snapshot: Roster) -> None:
    chosen = share(snapshot.usage.get(lowest_usage(snapshot).id, {}))

    assert all(chosen <= share(snapshot.usage.get(account.id, {})) for account in snapshot.accounts)


def test_a_share_is_not_an_absolute_figure() -> None:
    """90 of 1000 is less than 10 of 50."""
    usage = {"a": {"usedCount": 10, "limitCount": 50}, "b": {"usedCount": 90, "limitCount": 1000}}

    assert lowest_usage(Roster([Account(id="a"), Account(id="b")], usage, {})).id == "b"


@pytest.mark.parametrize(
    "row",
    [{}, {"usedCount": 5}, {"usedCount": 5, "limitCount": 0}, {"usedCount": "5", "limitCount": 50}],
    ids=["nothing", "no limit", "a limit of nothing", "text"],
)
def test_an_account_of_which_nothing_is_known_is_tried(row: dict[str, Any]) -> None:
    assert share(row) == 0.0


@pytest.mark.parametrize(
    ("strategy", "order"),
    [(sticky, "aaaaaa"), (round_robin, "abcabc"), (lowest_usage, "abcabc")],
    ids=["sticky", "round-robin", "lowest-usage among equals"],
)
def test_the_order_in_which_equal_accounts_serve(strategy: Callable[[Roster], Account], order: str) -> None:
    assert "".join(served(strategy, 6)) == order


@given(st.integers(1, 60))
def test_round_robin_is_fair(turns: int) -> None:
    counts = Counter(served(round_robin, turns))

    assert max(counts.values()) - min(counts[name] for name in "abc") <= 1


@given(snapshots())
def test_sticky_stays_with_the_one_used_last(snapshot: Roster) -> None:
    used = [account.id for account in snapshot.accounts if account.id in snapshot.last_used]

    if used:
        assert snapshot.last_used[sticky(snapshot).id] == max(snapshot.last_used[name] for name in used)
