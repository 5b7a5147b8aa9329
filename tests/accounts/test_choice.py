"""The choice of an account, as laws over any accounts in any state."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.choice import AllBusy, Chosen, NoneReady, Wish, candidates, pick
from kiro_auth.accounts.roster import Roster, readable
from kiro_auth.accounts.strategies import STRATEGIES

NOW = 1_800_000_000.0
SLOTS = 2
IDS = "abcd"
STATES = ["ready", "cooling", "quota", "suspended", "sign-in", "disabled"]

ids = st.sampled_from(IDS)


@st.composite
def accounts(draw: st.DrawFn) -> tuple[Account, ...]:
    found = []
    for id_ in draw(st.lists(ids, unique=True)):
        state = draw(st.sampled_from(STATES))
        until = draw(st.none() | st.integers(-500, 500).map(lambda s: (NOW + s) * 1000))
        code = draw(st.sampled_from(["KA-THROTTLE", "KA-KMS"])) if state == "cooling" else None
        found.append(Account(id=id_, state=state, state_until=until, state_code=code))
    return tuple(found)


rosters = st.builds(
    Roster,
    accounts=accounts(),
    usage=st.dictionaries(
        ids, st.fixed_dictionaries({"usedCount": st.integers(0, 9), "limitCount": st.integers(0, 9)})
    ),
    last_used=st.dictionaries(ids, st.integers(1, 9)),
    in_flight=st.dictionaries(ids, st.integers(0, 3)),
    now=st.just(NOW),
)
wishes = st.builds(
    Wish,
    home=st.none() | ids,
    unsuited=st.frozensets(ids),
    tried=st.frozensets(ids),
    insist=st.none() | ids,
)
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)


@every_strategy
@given(roster=rosters, wish=wishes, allowed=st.frozensets(ids, min_size=1))
def test_a_key_for_some_accounts_gets_one_of_them_as_if_there_were_no_other(
    strategy, roster: Roster, wish: Wish, allowed: frozenset[str]
) -> None:
    among = replace(roster, accounts=tuple(a for a in roster.accounts if a.id in allowed))
    picked = pick(roster, replace(wish, allowed=allowed), strategy, SLOTS)

    assert picked == pick(among, wish, strategy, SLOTS)
    assert not isinstance(picked, Chosen) or picked.account.id in allowed


@every_strategy
@given(roster=rosters, wish=wishes, only=ids)
def test_what_asks_for_one_account_gets_that_one_as_if_there_were_no_other(
    strategy, roster: Roster, wish: Wish, only: str
) -> None:
    picked = pick(roster, replace(wish, only=only), strategy, SLOTS)

    alone = replace(roster, accounts=tuple(a for a in roster.accounts if a.id == only))
    assert picked == pick(alone, replace(wish, only=only), strategy, SLOTS)
    if isinstance(picked, Chosen):
        assert (picked.account.id, picked.settles) == (only, False)


@every_strategy
@given(roster=rosters, wish=wishes)
def test_whoever_is_chosen_may_serve_and_has_a_free_slot(strategy, roster: Roster, wish: Wish) -> None:
    picked = pick(roster, wish, strategy, SLOTS)

    if isinstance(picked, Chosen):
        account = picked.account
        assert account in roster.accounts
        assert roster.in_flight.get(account.id, 0) < SLOTS
        if account.id == wish.insist:
            assert health.effective(account, NOW) in ("ready", "cooling")
        else:
            assert health.usable(account, NOW)
            assert account.id not in wish.tried


@every_strategy
@given(roster=rosters, wish=wishes)
def test_an_account_that_could_serve_is_never_left_for_an_excuse(
    strategy, roster: Roster, wish: Wish
) -> None:
    able = [account for account in roster.usable() if account.id not in wish.tried]
    picked = pick(roster, wish, strategy, SLOTS)

    assert not (isinstance(picked, NoneReady) and able)
    if isinstance(picked, AllBusy):
        assert all(roster.in_flight.get(a.id, 0) >= SLOTS for a in candidates(roster, wish))


@every_strategy
@given(roster=rosters, wish=wishes)
def test_an_account_that_lacks_the_model_is_only_asked_when_no_other_can_serve(
    strategy, roster: Roster, wish: Wish
) -> None:
    picked = pick(roster, wish, strategy, SLOTS)

    if isinstance(picked, Chosen) and picked.account.id in wish.unsuited - {wish.insist}:
        able = {account.id for account in roster.usable()} - wish.tried
        assert able <= wish.unsuited


@every_strategy
@given(roster=rosters, wish=wishes)
def test_a_conversation_stays_at_home_while_home_is_free_and_keeps_it_while_it_is_only_busy(
    strategy, roster: Roster, wish: Wish
) -> None:
    picked = pick(roster, wish, strategy, SLOTS)
    able = {account.id for account in candidates(roster, wish)}

    if isinstance(picked, Chosen) and wish.home in able:
        free = roster.in_flight.get(str(wish.home), 0) < SLOTS
        assert (picked.account.id == wish.home) == free
        assert not picked.settles
    elif isinstance(picked, Chosen):
        assert picked.settles


@given(roster=rosters, wish=wishes)
def test_the_wait_is_until_the_first_untried_account_that_was_asked_to_slow_down(
    roster: Roster, wish: Wish
) -> None:
    picked = pick(roster, wish, STRATEGIES["sticky"], SLOTS)

    if isinstance(picked, NoneReady):
        ends = [
            (a.state_until or 0) / 1000 - NOW
            for a in roster.accounts
            if a.state_code == "KA-THROTTLE" and a.id not in wish.tried
        ]
        assert picked.wait == max(0.0, min(ends)) if ends else picked.wait == math.inf


@every_strategy
@given(roster=rosters, wish=wishes)
def test_choosing_twice_chooses_the_same(strategy, roster: Roster, wish: Wish) -> None:
    assert pick(roster, wish, strategy, SLOTS) == pick(roster, wish, strategy, SLOTS)


def test_a_record_that_cannot_be_read_hides_no_other() -> None:
    found, others = readable([{"id": "a"}, {"id": "bad", "accessToken": {"s3cret": 1}}, {"id": "b"}])

    assert [account.id for account in found] == ["a", "b"]
    assert [(other.id, other.failure.code) for other in others] == [("bad", "KA-STORE")]
    assert "s3cret" not in others[0].failure.sentence()
