"""Three accounts, three strategies, anything going wrong: nobody is asked who is out, and nobody starves.

What may be asked is decided here, from the failures alone, and not by reading the pool's own states.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth import config
from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.attempts import attempts
from kiro_auth.accounts.pool import Pool
from kiro_auth.failures import Cause, Failure, TurnFailed
from kiro_auth.kiro.tokens.grants import TokenGrant
from support.examples import examples
from support.storing import HandStore

NOW = 1_800_000_000.0
NAMES = "abc"
DAY = 86400
LONG = 10**7  # seconds, beyond every wait below


class World:
    """The pool, and what its services would say: `answers[name]` one after another, then success."""

    def __init__(self, folder: Path, strategy: str) -> None:
        self.now = NOW
        self.answers: dict[str, list[Failure]] = {name: [] for name in NAMES}
        self.out_until: dict[str, float] = dict.fromkeys(NAMES, 0.0)
        self.off: set[str] = set()
        self.served: list[str] = []
        self.calls = 0
        self.store = HandStore(folder, folder / "locks")
        for name in NAMES:
            self.store.add_account(
                {"id": name, "accessToken": "t", "refreshToken": "r", "expiresAt": (NOW + LONG**2) * 1000}
            )
        environment = {"KIRO_ACCOUNT_SELECTION_STRATEGY": strategy, "KIRO_RATE_LIMIT_MAX_RETRIES": "2"}
        self.pool = Pool(
            self.store,
            config.load(environment=environment, folder=folder / "nowhere"),
            refresh=self._renew,
            sleep=self._sleep,
            clock=lambda: self.now,
            monotonic=lambda: self.now,
            chance=lambda: 1.0,
        )

    async def _renew(self, _: Account) -> TokenGrant:
        return TokenGrant("t", "r", LONG**2)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds

    async def turn(self) -> None:
        """One request."""
        asked: set[str] = set()
        try:
            for attempt in attempts(self.pool, session=None):
                async with attempt as account:
                    self.calls += 1
                    # Within a request an account may be asked again, after the pause that it asked for.
                    assert account.id in asked or self.may_serve(account.id), f"{account.id} is out"
                    assert account.id not in self.off
                    asked.add(account.id)
                    if self.answers[account.id]:
                        failure = self.answers[account.id].pop(0)
                        self._note(account.id, failure)
                        raise TurnFailed(failure)
                    attempt.commit()
                    self.served.append(account.id)
        except TurnFailed as error:
            if error.failure.cause is Cause.ACCOUNT:  # of other failures another account would do no better
                able = [name for name in NAMES if self.may_serve(name)]
                assert asked.issuperset(able), f"{able} could have served"

    def may_serve(self, name: str) -> bool:
        return name not in self.off and self.out_until[name] <= self.now

    def _note(self, name: str, failure: Failure) -> None:
        reset = failure.until or 0.0
        if reset <= self.now:  # it cannot be right: the account is looked at again on the next day
            reset = (self.now // DAY + 1) * DAY
        ends = {
            "KA-SUSPENDED": math.inf,
            "KA-SIGNIN": math.inf,
            "KA-QUOTA": reset,
            "KA-THROTTLE": self.now + (failure.retry_after or 0.0),
        }
        self.out_until[name] = max(self.out_until[name], ends.get(failure.code, 0.0))


def throttle(seconds: float) -> Failure:
    return Failure(code="KA-THROTTLE", message="Slow down.", retry_after=seconds)


KINDS = [
    "KA-SUSPENDED", "KA-SIGNIN", "KA-BODY", "KA-OVERFLOW", "KA-CAPACITY", "KA-SERVICE", "KA-NETWORK",
    "KA-MODEL",
]  # fmt: skip
failures = st.one_of(
    st.sampled_from(KINDS).map(lambda code: Failure(code=code, message="No.")),
    st.integers(1, 500).map(throttle),
    st.integers(1, 5000).map(lambda s: Failure(code="KA-QUOTA", message="Used up.", until=NOW + s)),
)  # fmt: skip
steps = st.one_of(
    st.tuples(st.just("fail"), st.sampled_from(NAMES), failures),
    st.tuples(st.just("turn")),
    st.tuples(st.just("turn")),
    st.tuples(st.just("wait"), st.integers(1, 600)),
    st.tuples(st.just("switch"), st.sampled_from(NAMES), st.booleans()),
)


async def play(world: World, story: list[Any]) -> None:
    for step in story:
        match step:
            case ("fail", name, failure):
                world.answers[name].append(failure)
            case ("turn",):
                before = world.calls
                await world.turn()
                assert world.calls - before <= 30
            case ("wait", seconds):
                world.now += seconds
            case ("switch", name, on):
                _switch(world, name, on)


def _switch(world: World, name: str, on: bool) -> None:
    """As `accounts disable` and `accounts enable`: the latter forgives everything."""
    world.store.change_account(name, health.READY if on else {"state": "disabled", "stateUntil": None})
    if on:
        world.off.discard(name)
        world.out_until[name] = 0.0
    else:
        world.off.add(name)


def told(folder: Path, strategy: str, story: list[Any], then: Callable[[World], Awaitable[None]]) -> None:
    async def everything() -> None:
        world = World(folder, strategy)
        await play(world, story)
        world.answers = {name: [] for name in NAMES}
        world.now += LONG
        world.served.clear()
        await then(world)

    asyncio.run(everything())


@pytest.mark.parametrize("strategy", ["sticky", "round-robin", "lowest-usage"])
@settings(max_examples=examples(60), deadline=None)
@given(story=st.lists(steps, max_size=25))
def test_nobody_is_asked_who_is_out_and_nobody_starves(
    tmp_path_factory: pytest.TempPathFactory, strategy: str, story: list[Any]
) -> None:
    async def then(world: World) -> None:
        able = [name for name in NAMES if world.may_serve(name)]
        for _ in range(2 * len(able)):
            await world.turn()
        if strategy == "sticky":
            assert len(set(world.served)) <= 1
        else:  # nothing is known of their usage, so all are equal
            assert sorted(world.served) == sorted(able * 2)
        assert len(world.served) == 2 * len(able)

    told(tmp_path_factory.mktemp("pool"), strategy, story, then)


@settings(max_examples=examples(60), deadline=None)
@given(
    story=st.lists(steps, max_size=15),
    usage=st.fixed_dictionaries({name: st.tuples(st.integers(0, 50), st.integers(1, 50)) for name in NAMES}),
)
def test_the_least_share_serves(
    tmp_path_factory: pytest.TempPathFactory, story: list[Any], usage: dict[str, tuple[int, int]]
) -> None:
    async def then(world: World) -> None:
        for name, (used, limit) in usage.items():
            world.store.set_usage(name, {"usedCount": used, "limitCount": limit})
        able = [name for name in NAMES if world.may_serve(name)]
        for _ in able:
            await world.turn()
        least = min((usage[name][0] / usage[name][1] for name in able), default=0.0)
        assert all(usage[name][0] / usage[name][1] == least for name in world.served)

    told(tmp_path_factory.mktemp("pool"), "lowest-usage", story, then)
