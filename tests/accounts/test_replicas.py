"""Pools of several programs on one database: they share places, homes, and what was learnt of an account."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_auth import config
from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.attempts import attempts
from kiro_auth.accounts.pool import Pool
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.store import mirror
from kiro_auth.store.postgres import PostgresStore
from support.postgres import KEY, Cluster, cluster, listening, migrated

HOUR = 3600.0


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as server:
        yield server


class Team:
    """Programs with a pool each, on one database with the accounts a and b."""

    def __init__(self, server: Cluster, folder: Path) -> None:
        self.url = migrated(server.new_database(f"d{os.urandom(6).hex()}"))
        self._folder = folder
        self._stores: list[PostgresStore] = []

    async def accounts(self, names: str) -> None:
        store = self._store()
        for name in names:
            token = {"accessToken": "t", "refreshToken": "r", "expiresAt": (time.time() + HOUR) * 1000}
            await store.add({"id": name, "label": f"Account {name}", **token})

    def pool(self, **options: object) -> Pool:
        environment = {f"KIRO_{name.upper()}": str(value) for name, value in options.items()}
        options_ = config.load(environment=environment, folder=self._folder / "nowhere")
        return Pool(self._store(), options_, refresh=_renewed)

    def _store(self) -> PostgresStore:
        self._stores.append(PostgresStore(self.url, [KEY], self._folder / "locks"))
        return self._stores[-1]

    def close(self) -> None:
        for store in self._stores:
            store.close()


async def _renewed(_: Account) -> TokenGrant:
    return TokenGrant("t", "r", HOUR)


@pytest.fixture
def team(server: Cluster, tmp_path: Path) -> Iterator[Team]:
    team = Team(server, tmp_path)
    yield team
    team.close()


async def turn(pool: Pool, session: str | None = None, *, fails: Failure | None = None) -> str:
    for attempt in attempts(pool, session=session):
        async with attempt as account:
            if fails is not None:
                failure, fails = fails, None
                raise TurnFailed(failure)
            attempt.commit()
            return account.id
    raise AssertionError


async def test_an_account_serves_only_so_many_at_a_time_however_many_programs_use_it(team: Team) -> None:
    await team.accounts("ab")
    pools = [team.pool(max_concurrent_per_account=2) for _ in range(3)]
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def use(pool: Pool) -> None:
        for attempt in attempts(pool, session=None):
            async with attempt as account:
                under_way[account.id] += 1
                most[account.id] = max(most[account.id], under_way[account.id])
                while most[account.id] < 2:  # both places are taken once, however slowly the others come
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.03)
                under_way[account.id] -= 1

    await asyncio.wait_for(asyncio.gather(*(use(pool) for pool in pools for _ in range(8))), 40)

    assert most == {"a": 2, "b": 2}


async def test_where_others_use_an_account_up_another_one_serves_at_once(team: Team) -> None:
    await team.accounts("ab")
    here, there = (team.pool(max_concurrent_per_account=1) for _ in range(2))
    async with contextlib.AsyncExitStack() as held:
        attempt = next(iter(attempts(here, session="s")))
        held.push_async_exit(attempt)
        busy = (await attempt.__aenter__()).id

        async with asyncio.timeout(40):  # the first is busy for as long as this lasts
            for _ in range(3):
                assert await turn(there, "s") != busy
        attempt.commit()


async def test_a_conversation_keeps_its_account_whatever_program_gets_its_requests(team: Team) -> None:
    await team.accounts("abc")
    pools = [team.pool(account_selection_strategy="round-robin") for _ in range(3)]

    homes = {
        name: {await turn(pool, name) for _ in range(3) for pool in pools} for name in ("s1", "s2", "s3")
    }

    assert all(len(home) == 1 for home in homes.values())
    assert await turn(pools[0], "s1", fails=Failure(code="KA-QUOTA", message="Used up.")) not in homes["s1"]
    (moved,) = {await turn(pool, "s1") for pool in pools}
    assert moved not in homes["s1"]


@pytest.mark.parametrize(
    "failure",
    [
        Failure(code="KA-THROTTLE", message="Slow down.", retry_after=120),
        Failure(code="KA-QUOTA", message="Used up."),
        Failure(code="KA-SIGNIN", message="Sign in again."),
        Failure(code="KA-SUSPENDED", message="Locked."),
    ],
    ids=lambda failure: failure.code,
)
async def test_what_one_program_learns_of_an_account_all_know_at_once(
    team: Team, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_POLL_SECONDS", 60.0)
    await team.accounts("ab")
    here, there = team.pool(), team.pool()
    assert len(here.usable()) == len(there.usable()) == 2
    await listening(team.url, 2)

    served = await turn(here, fails=failure)

    async with asyncio.timeout(40):  # a look comes later
        while [account.id for account in there.usable()] != [served]:
            await asyncio.sleep(0.01)


async def test_rests_grow_with_each_throttling_whichever_program_meets_it(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FIRST_COOLING", 0.5)
    await team.accounts("a")
    throttled = Failure(code="KA-THROTTLE", message="Slow down.")
    pools = [team.pool(rate_limit_max_retries=0) for _ in range(3)]
    for pool in pools:
        pool.accounts()
    await listening(team.url, len(pools))

    for pool, rest in zip(pools, (0.5, 1.0, 2.0), strict=True):
        while not pool.usable():
            await asyncio.sleep(0.02)
        before = time.time()
        with pytest.raises(TurnFailed):
            await turn(pool, fails=throttled)
        after = time.time()
        (account,) = pool.accounts()
        until = (account.state_until or 0) / 1000
        assert before + rest - 0.01 <= until <= after + rest + 0.01
        async with asyncio.timeout(40):
            while any(other.accounts()[0].state_until != account.state_until for other in pools):
                await asyncio.sleep(0.01)
