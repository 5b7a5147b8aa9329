"""The pool: who serves, what follows a failure, and that everything ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth import config
from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account, account_of
from kiro_auth.accounts.pool import Pool
from kiro_auth.failures import CATALOGUE, Cause, Failure, StoreFailed, TurnFailed
from kiro_auth.kiro.oidc import TokenGrant
from kiro_auth.store.files import FileStore

NOW = 1_800_000_000.0
LASTING = 10 * 86400


class Stage:
    """A pool over real files whose time passes only by waiting; `answers` says what each account does.

    `answers[account id]` is a list of failure codes, or failures, one for each call; None is a success, and
    so is everything after the end of the list.
    """

    def __init__(self, folder: Path, accounts: str = "a", **options: Any) -> None:
        self.store = FileStore(folder, folder / "locks")
        self.now = NOW
        self.answers: dict[str, list[str | Failure | None]] = {}
        self.calls: list[str] = []
        self.tokens: list[str | None] = []
        self.slept: list[float] = []
        self.refreshed: list[str] = []
        self.refresh_trouble: list[Failure] = []
        self.meanwhile: Callable[[], object] = lambda: None
        environment = {f"KIRO_{name.upper()}": str(value) for name, value in options.items()}
        self.pool = Pool(
            self.store,
            config.load(environment=environment, folder=folder / "nowhere"),
            refresh=self.refresh,
            sleep=self.sleep,
            clock=lambda: self.now,
            monotonic=lambda: self.now,
            chance=lambda: 1.0,
        )
        for name in accounts:
            self.add(name)

    def add(self, name: str, **fields: Any) -> None:
        self.store.add_account(
            {
                "id": name,
                "label": f"Account {name}",
                "accessToken": f"{name}-0",
                "refreshToken": "r",
                "expiresAt": (NOW + LASTING) * 1000,
                **fields,
            }
        )

    async def refresh(self, account: Account) -> TokenGrant:
        self.refreshed.append(account.id)
        if self.refresh_trouble:
            raise TurnFailed(self.refresh_trouble.pop(0))
        return TokenGrant(f"{account.id}-{len(self.refreshed)}", "r", LASTING)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.meanwhile()

    async def turn(self, session: str | None = None) -> str:
        """One request; the id of the account that served it in the end."""
        async for attempt in self.pool.attempts(session=session):
            async with attempt as account:
                self.calls.append(account.id)
                self.tokens.append(account.access_token)
                answers = self.answers.get(account.id, [])
                answer = answers.pop(0) if answers else None
                if answer is not None:
                    raise TurnFailed(failure(answer))
                attempt.commit()
                return account.id
        raise AssertionError("attempts end with an answer or an exception")

    async def failing_turn(self) -> Failure:
        with pytest.raises(TurnFailed) as raised:
            await self.turn()
        return raised.value.failure

    def account(self, name: str = "a") -> Account:
        return next(account_of(record) for record in self.store.accounts() if record["id"] == name)


def failure(what: str | Failure) -> Failure:
    return what if isinstance(what, Failure) else Failure(code=what, message=f"What {what} says.")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def test_a_success_is_one_call(stage: Stage) -> None:
    assert await stage.turn() == "a"
    assert (stage.calls, stage.slept, stage.refreshed) == (["a"], [], [])


async def test_an_idle_account_answers_its_first_request(stage: Stage) -> None:
    """The token has expired over night: one refresh, one call."""
    stage.now += 2 * LASTING

    assert await stage.turn() == "a"
    assert (stage.refreshed, stage.calls, stage.tokens) == (["a"], ["a"], ["a-1"])


# ------------------------------------------------------------------------------- one account's failures


@pytest.mark.parametrize(
    ("code", "calls", "waits"),
    [
        ("KA-CAPACITY", 4, [5, 10, 20]),
        ("KA-SERVICE", 3, [1, 2]),
        ("KA-NETWORK", 3, [1, 2]),
        ("KA-CUT", 3, [1, 2]),
        ("KA-TIMEOUT", 1, []),
        ("KA-SIGNATURE", 2, [0]),
        ("KA-THROTTLE", 4, [5, 10, 20]),
        ("KA-QUOTA", 1, []),
        ("KA-OVERAGE", 1, []),
        ("KA-SUSPENDED", 1, []),
        ("KA-SIGNIN", 1, []),
        ("KA-ENTITLEMENT", 1, []),
        ("KA-PROFILE", 1, []),
        ("KA-KMS", 1, []),
        ("KA-BODY", 1, []),
        ("KA-OVERFLOW", 1, []),
        ("KA-CONVERSATION", 1, []),
        ("KA-MODEL", 1, []),
        ("KA-REQUEST", 1, []),
        ("KA-STORE", 1, []),
        ("KA-INTERNAL", 1, []),
    ],
)
async def test_how_often_and_after_which_waits_a_failure_is_tried_again(
    stage: Stage, code: str, calls: int, waits: list[float]
) -> None:
    """The waits are the longest there can be: chance picks a part of each."""
    stage.answers["a"] = [code] * 99

    ended = await stage.failing_turn()

    assert (len(stage.calls), stage.slept) == (calls, waits)
    assert (ended.code, ended.message) == (code, f"What {code} says.")


@pytest.mark.parametrize("code", [code for code, row in CATALOGUE.items() if row.cause is not Cause.ACCOUNT])
async def test_a_failure_that_is_not_the_accounts_never_changes_its_health(tmp_path: Path, code: str) -> None:
    stage = Stage(tmp_path, "ab")
    stage.answers = {"a": [code] * 99, "b": [code] * 99}
    before = stage.store.accounts()

    await stage.failing_turn()

    assert len(set(stage.calls)) == 1, "no other account is bothered with it"
    assert stage.store.accounts() == before


@pytest.mark.parametrize(("delay", "retries"), [(1000, 0), (1000, 2), (2000, 4)])
async def test_the_options_bound_a_throttled_request(tmp_path: Path, delay: int, retries: int) -> None:
    stage = Stage(tmp_path, rate_limit_retry_delay_ms=delay, rate_limit_max_retries=retries)
    stage.answers["a"] = ["KA-THROTTLE"] * 99

    await stage.failing_turn()

    assert len(stage.calls) == retries + 1
    assert stage.slept == [delay / 1000 * 2**retry for retry in range(retries)]


async def test_a_stated_wait_is_waited_in_full(stage: Stage) -> None:
    stage.answers["a"] = [Failure(code="KA-THROTTLE", message="Slow down.", retry_after=17)]

    assert await stage.turn() == "a"
    assert stage.slept == [17]
    assert stage.account().state == "ready"


async def test_a_wait_beyond_the_requests_time_is_told_and_not_waited(stage: Stage) -> None:
    stage.answers["a"] = [Failure(code="KA-THROTTLE", message="Slow down.", retry_after=400)]

    ended = await stage.failing_turn()

    assert (ended.code, ended.retry_after, ended.until) == ("KA-THROTTLE", 400, NOW + 400)
    assert stage.slept == []


async def test_a_request_that_comes_while_the_only_account_cools_is_told_how_long(tmp_path: Path) -> None:
    stage = Stage(tmp_path, rate_limit_max_retries=0)
    stage.answers["a"] = ["KA-THROTTLE"]
    await stage.failing_turn()
    stage.now += 3

    ended = await stage.failing_turn()

    assert (ended.code, ended.retry_after, len(stage.calls)) == ("KA-THROTTLE", 5, 1)


async def test_throttles_in_a_row_cool_longer_and_a_success_ends_that(tmp_path: Path) -> None:
    stage = Stage(tmp_path, rate_limit_max_retries=0)
    stage.answers["a"] = ["KA-THROTTLE"] * 6
    cooled = []
    for _ in range(6):
        await stage.failing_turn()
        until = stage.account().state_until or 0
        cooled.append(until / 1000 - stage.now)
        stage.now = until / 1000
    await stage.turn()
    stage.answers["a"] = ["KA-THROTTLE"]
    await stage.failing_turn()

    assert cooled == [8, 16, 32, 60, 60, 60]
    assert (stage.account().state_until or 0) / 1000 - stage.now == 8


async def test_a_refused_token_is_renewed_once_and_the_request_replayed(stage: Stage) -> None:
    stage.answers["a"] = ["KA-TOKEN"]

    assert await stage.turn() == "a"
    assert (stage.calls, stage.refreshed, stage.tokens) == (["a", "a"], ["a"], ["a-0", "a-1"])
    assert stage.account().state == "ready"


async def test_a_renewed_token_that_is_refused_too_needs_a_new_sign_in(stage: Stage) -> None:
    stage.answers["a"] = ["KA-TOKEN", "KA-TOKEN"]

    ended = await stage.failing_turn()

    assert (stage.calls, stage.refreshed) == (["a", "a"], ["a"])
    assert (ended.code, ended.next_step) == ("KA-SIGNIN", "Sign in again: kiro-auth login --builder-id")
    assert stage.account().state == "sign-in"


async def test_a_refresh_that_fails_for_now_is_tried_again_and_blames_nobody(stage: Stage) -> None:
    stage.now += 2 * LASTING
    stage.refresh_trouble = [failure("KA-SERVICE")]

    assert await stage.turn() == "a"
    assert (stage.refreshed, stage.slept, stage.calls) == (["a", "a"], [1], ["a"])

    stage.now += 2 * LASTING
    stage.refresh_trouble = [failure("KA-NETWORK")] * 99
    assert (await stage.failing_turn()).code == "KA-NETWORK"
    assert stage.account().state == "ready"


async def test_a_dead_sign_in_is_asked_once_for_all_requests(stage: Stage) -> None:
    stage.now += 2 * LASTING
    stage.refresh_trouble = [failure("KA-SIGNIN")] * 99

    ended = [await stage.failing_turn() for _ in range(3)]

    assert stage.refreshed == ["a"]
    assert stage.calls == []
    assert {(each.code, each.next_step) for each in ended} == {
        ("KA-SIGNIN", "Sign in again: kiro-auth login --builder-id")
    }


@pytest.mark.parametrize("code", ["KA-QUOTA", "KA-OVERAGE", "KA-SUSPENDED", "KA-ENTITLEMENT", "KA-KMS"])
async def test_one_account_that_is_out_says_why_without_asking_again(stage: Stage, code: str) -> None:
    stage.answers["a"] = [code] * 99
    first = await stage.failing_turn()

    second = await stage.failing_turn()

    assert len(stage.calls) == 1
    assert (second.code, second.message, second.until) == (first.code, first.message, first.until)
    assert second.account == "Account a"
    assert second.next_step


async def test_a_used_up_account_serves_again_after_its_reset(stage: Stage) -> None:
    stage.store.change_usage("a", {"usedCount": 50, "limitCount": 50, "resetAt": (NOW + 5000) * 1000})
    stage.answers["a"] = ["KA-QUOTA"]
    assert (await stage.failing_turn()).until == NOW + 5000

    stage.now += 5000
    assert await stage.turn() == "a"
    assert stage.account().state == "ready"


# ------------------------------------------------------------------------------------- several accounts


@pytest.mark.parametrize(
    "code",
    ["KA-THROTTLE", "KA-QUOTA", "KA-OVERAGE", "KA-SUSPENDED", "KA-SIGNIN", "KA-ENTITLEMENT", "KA-PROFILE"],
)
async def test_another_account_takes_over_before_anything_is_waited_for(tmp_path: Path, code: str) -> None:
    stage = Stage(tmp_path, "ab")
    stage.answers["a"] = [code]

    assert await stage.turn() == "b"
    assert (stage.calls, stage.slept) == (["a", "b"], [])
    assert await stage.turn() == "b"


async def test_another_account_takes_over_when_a_token_cannot_be_renewed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "a")
    stage.add("b", expiresAt=(NOW + 3 * LASTING) * 1000)
    stage.now += 2 * LASTING
    stage.refresh_trouble = [failure("KA-NETWORK")]

    assert await stage.turn() == "b"
    assert (stage.calls, stage.slept, stage.account("a").state) == (["b"], [], "ready")


async def test_with_all_accounts_out_each_reason_and_the_earliest_end_are_told_at_once(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, "abcd")
    stage.store.change_account("d", {"state": "disabled"})
    stage.answers = {
        "a": ["KA-SUSPENDED"],
        "b": [Failure(code="KA-QUOTA", message="Used up.", until=NOW + 900)],
        "c": [Failure(code="KA-QUOTA", message="Used up.", until=NOW + 300)],
    }

    for _ in range(2):
        ended = await stage.failing_turn()
        assert (ended.code, ended.until) == ("KA-ACCOUNTS-BUSY", NOW + 300)
        for words in ("Account a: What KA-SUSPENDED says.", "Account b: Used up.", "Account c: Used up."):
            assert words in ended.message
        assert "Account d" not in ended.message
    assert (sorted(stage.calls), stage.slept) == (["a", "b", "c"], [])


async def test_with_all_accounts_cooling_the_shortest_wait_is_told(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", rate_limit_max_retries=0)
    stage.answers = {
        "a": [Failure(code="KA-THROTTLE", message="Slow down.", retry_after=30)],
        "b": [Failure(code="KA-THROTTLE", message="Slow down.", retry_after=12)],
    }

    first, second = await stage.failing_turn(), await stage.failing_turn()

    assert (first.code, first.retry_after) == ("KA-ACCOUNTS-BUSY", 12)
    assert (second.code, second.retry_after) == ("KA-ACCOUNTS-BUSY", 12)
    assert sorted(stage.calls) == ["a", "b"]


async def test_with_all_accounts_cooling_the_one_that_can_serve_soonest_is_waited_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "abc")
    waits = {"a": 4, "b": 30, "c": 50}
    stage.answers = {
        name: [Failure(code="KA-THROTTLE", message="Slow down.", retry_after=wait)]
        for name, wait in waits.items()
    }

    assert await stage.turn() == "a"
    assert (stage.calls, stage.slept) == (["a", "b", "c", "a"], [4])


async def test_a_request_that_comes_while_all_accounts_cool_waits_for_the_soonest(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")
    for name, seconds in {"a": 30, "b": 12}.items():
        cooled = health.after(
            stage.account(name), Failure(code="KA-THROTTLE", message="Slow down.", retry_after=seconds), NOW
        )
        stage.store.change_account(name, cooled or {})

    assert await stage.turn() == "b"
    assert (stage.calls, stage.slept) == (["b"], [13])  # with a random second, for those that wait together


@pytest.mark.parametrize(("code", "seconds"), [("KA-THROTTLE", 301), ("KA-ENTITLEMENT", 0), ("KA-QUOTA", 20)])
async def test_what_a_request_cannot_wait_for_is_told_at_once(
    stage: Stage, code: str, seconds: float
) -> None:
    refused = Failure(code=code, message="No.", retry_after=seconds, until=NOW + 100)
    stage.store.change_account("a", health.after(stage.account(), refused, NOW) or {})

    assert (await stage.failing_turn()).code == code
    assert (stage.calls, stage.slept) == ([], [])


async def test_each_of_several_throttled_accounts_has_its_own_retries(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "abcde", max_request_iterations=20)
    throttled = Failure(code="KA-THROTTLE", message="Slow down.", retry_after=2)
    stage.answers = {name: [throttled] for name in "abcde"}

    await stage.turn()

    assert (len(stage.calls), stage.slept) == (6, [2])


@pytest.mark.parametrize(("code", "state"), [("KA-TOKEN", "ready"), ("KA-SUSPENDED", "suspended")])
async def test_a_token_that_ends_within_an_answer_is_no_verdict(stage: Stage, code: str, state: str) -> None:
    async for attempt in stage.pool.attempts(session=None):
        async with attempt:
            attempt.commit()
            attempt.broke(failure(code))

    assert stage.account().state == state


async def test_who_signed_in_meanwhile_is_not_judged_by_the_tokens_of_before(stage: Stage) -> None:
    async def late() -> None:
        async for attempt in stage.pool.attempts(session=None):
            async with attempt:
                stage.store.change_account("a", {"accessToken": "new", "generation": 7})
                raise TurnFailed(failure("KA-SIGNIN"))

    with pytest.raises(TurnFailed):
        await late()

    assert stage.account().state == "ready"


async def test_a_renewal_under_way_is_saved_before_the_pool_closes(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.now += 2 * LASTING
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slow(account: Account) -> TokenGrant:
        asked.set()
        await answered.wait()
        return TokenGrant("new", "r2", LASTING)

    options = config.load(environment={}, folder=tmp_path)
    pool = Pool(stage.store, options, refresh=slow, clock=lambda: stage.now)
    client = asyncio.create_task(pool.fresh(stage.account()))
    await asked.wait()
    client.cancel()
    asyncio.get_running_loop().call_later(0.1, answered.set)
    await pool.close()

    assert (stage.account().access_token, stage.account().refresh_token) == ("new", "r2")


async def test_a_full_model_is_asked_again_with_the_same_account_whoever_cools(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", account_selection_strategy="sticky")
    stage.answers = {"a": ["KA-CAPACITY"]}
    throttled = Failure(code="KA-THROTTLE", message="Slow down.", retry_after=1)
    stage.store.change_account("b", health.after(stage.account("b"), throttled, NOW) or {})

    assert await stage.turn() == "a"
    assert stage.calls == ["a", "a"]


async def test_a_request_whose_time_is_over_is_not_begun_anew_with_another_account(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")

    async def late() -> None:
        async for attempt in stage.pool.attempts(session=None):
            async with attempt as account:
                stage.calls.append(account.id)
                stage.now += 301
                raise TurnFailed(failure("KA-QUOTA"))

    with pytest.raises(TurnFailed) as raised:
        await late()

    assert (raised.value.failure.code, len(stage.calls)) == ("KA-QUOTA", 1)


async def test_a_renewal_that_hangs_ends_the_request_in_its_time_and_goes_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.now += 2 * LASTING
    answered = asyncio.Event()

    async def slow(account: Account) -> TokenGrant:
        await answered.wait()
        return TokenGrant("new", "r2", LASTING)

    options = msgspec.structs.replace(config.load(environment={}, folder=tmp_path), request_timeout_ms=50)
    stage.pool = pool = Pool(stage.store, options, refresh=slow, clock=lambda: stage.now)

    ended = await stage.failing_turn()

    assert (ended.code, stage.account().state) == ("KA-TIMEOUT", "ready")
    answered.set()
    assert (await pool.fresh(stage.account())).access_token == "new"
    assert stage.account().refresh_token == "r2"


async def test_no_request_makes_more_calls_than_the_option_allows(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "abcdefghijkl", max_request_iterations=10)
    stage.answers = {name: ["KA-QUOTA"] for name in "abcdefghijkl"}

    ended = await stage.failing_turn()

    assert (ended.code, "".join(stage.calls)) == ("KA-ACCOUNTS-BUSY", "abcdefghij")
    assert "Account j: " in ended.message
    assert "Account k" not in ended.message


async def test_with_all_others_switched_off_the_one_accounts_own_failure_is_told(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")
    stage.store.change_account("b", {"state": "disabled"})
    stage.answers["a"] = ["KA-QUOTA"]

    assert (await stage.failing_turn()).code == "KA-QUOTA"


async def test_without_an_account_the_way_to_one_is_told(tmp_path: Path) -> None:
    ended = await Stage(tmp_path, "").failing_turn()

    assert (ended.code, ended.next_step) == ("KA-NO-ACCOUNT", "Sign in: kiro-auth login")


async def test_a_suspended_account_is_not_asked_again_by_requests_under_way(tmp_path: Path) -> None:
    """One request waits out a throttle; meanwhile another learns that the account is locked."""
    stage = Stage(tmp_path, "a")
    stage.answers["a"] = ["KA-THROTTLE"]

    def locked() -> None:
        stage.store.change_account(
            "a", {"state": "suspended", "stateCode": "KA-SUSPENDED", "stateReason": "Locked."}
        )

    stage.meanwhile = locked
    ended = await stage.failing_turn()

    assert stage.calls == ["a"]
    assert stage.account().state == "suspended"
    assert ended.account == "Account a"


async def test_a_damaged_record_stops_nobody_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path, "")
    stage.add("bad", accessToken={"secret": "s3cret"})
    stage.add("b")

    assert await stage.turn() == "b"
    assert [account.id for account in stage.pool.accounts()] == ["b"]
    assert "bad" in caplog.text
    assert "s3cret" not in caplog.text


async def test_accounts_whose_token_cannot_be_renewed_are_left_out_of_the_fresh_ones(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")
    stage.add("c", expiresAt=0)
    stage.store.change_account("b", {"state": "disabled"})
    stage.refresh_trouble = [failure("KA-NETWORK")]

    assert [account.id for account in await stage.pool.fresh_accounts()] == ["a"]
    assert [account.id for account in await stage.pool.fresh_accounts()] == ["a", "c"]


# ---------------------------------------------------------------------------------------------- choice


@pytest.mark.parametrize(
    ("strategy", "order"), [("sticky", "aaaaaa"), ("round-robin", "abcabc"), ("lowest-usage", "cccccc")]
)
async def test_the_strategy_of_the_options_chooses(tmp_path: Path, strategy: str, order: str) -> None:
    stage = Stage(tmp_path, "abc", account_selection_strategy=strategy)
    for name, used, limit in (("a", 10, 50), ("b", 40, 50), ("c", 90, 1000)):
        stage.store.change_usage(name, {"usedCount": used, "limitCount": limit})

    assert "".join([await stage.turn() for _ in range(6)]) == order


async def test_a_conversation_stays_with_its_account_while_that_can_serve(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", account_selection_strategy="round-robin")

    before = [await stage.turn(session) for session in ("s1", "s2", "s1", "s2", "s1")]
    stage.answers["a"] = ["KA-QUOTA"]
    after = [await stage.turn(session) for session in ("s1", "s2", "s1")]

    assert "".join(before) == "ababa"
    assert "".join(after) == "bbb"


async def test_one_account_serves_only_so_many_at_a_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", max_concurrent_per_account=2, account_selection_strategy="sticky")
    under_way: dict[str, int] = {"a": 0, "b": 0}
    most: dict[str, int] = {"a": 0, "b": 0}

    async def turn() -> None:
        async for attempt in stage.pool.attempts(session=None):
            async with attempt as account:
                under_way[account.id] += 1
                most[account.id] = max(most[account.id], under_way[account.id])
                await asyncio.sleep(0.005)
                under_way[account.id] -= 1

    await asyncio.wait_for(asyncio.gather(*(turn() for _ in range(30))), 20)

    assert most == {"a": 2, "b": 2}


async def test_a_conversation_whose_account_is_only_busy_comes_back_to_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", max_concurrent_per_account=1)
    assert await stage.turn("s") == "a"

    async for attempt in stage.pool.attempts(session="s"):
        async with attempt as account:
            assert account.id == "a"
            assert await stage.turn("s") == "b"

    assert await stage.turn("s") == "a"


async def test_waiting_for_a_free_slot_ends_at_the_requests_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path, max_concurrent_per_account=1)
    async for attempt in stage.pool.attempts(session=None):
        async with attempt:
            late = stage.pool.attempts(session=None)
            second = await anext(late)
            stage.now += 301
            with pytest.raises(TurnFailed) as raised:
                await second.__aenter__()
            await late.aclose()

    assert raised.value.failure.code == "KA-TIMEOUT"


# --------------------------------------------------------------------------------------------- the ends


async def test_a_client_that_leaves_frees_its_slot(tmp_path: Path) -> None:
    """Whether it waits for the service or for a slot."""
    stage = Stage(tmp_path, max_concurrent_per_account=1)

    async def endless() -> None:
        async for attempt in stage.pool.attempts(session=None):
            async with attempt:
                await asyncio.Event().wait()

    clients = [asyncio.create_task(endless()) for _ in range(3)]
    await asyncio.sleep(0.05)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)

    assert all(client.cancelled() for client in clients)
    assert await asyncio.wait_for(stage.turn(), 5) == "a"


async def test_after_output_began_nothing_is_tried_again(stage: Stage) -> None:
    attempts = 0

    async def turn() -> None:
        nonlocal attempts
        async for attempt in stage.pool.attempts(session=None):
            async with attempt:
                attempts += 1
                attempt.commit()
                raise TurnFailed(Failure(code="KA-CUT", message="It broke off."))

    with pytest.raises(TurnFailed, match="broke off"):
        await turn()
    assert attempts == 1


async def test_a_defect_is_not_a_failure_of_an_account(stage: Stage) -> None:
    async def turn() -> None:
        async for attempt in stage.pool.attempts(session=None):
            async with attempt:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await turn()
    assert stage.account().state == "ready"
    assert await stage.turn() == "a"


async def test_each_attempt_knows_what_went_wrong_before(stage: Stage) -> None:
    seen: list[Sequence[str]] = []
    async for attempt in stage.pool.attempts(session=None):
        async with attempt:
            seen.append([failure.code for failure in attempt.earlier])
            if len(seen) == 1:
                raise TurnFailed(failure("KA-SIGNATURE"))

    assert seen == [[], ["KA-SIGNATURE"]]


async def test_a_store_that_cannot_be_read_is_said_so(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "kiro-accounts.json").write_text("{")

    with pytest.raises(StoreFailed, match="is not JSON"):
        await stage.turn()


async def test_a_state_that_cannot_be_kept_ends_the_request_all_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    stage.answers["a"] = ["KA-QUOTA"]

    assert (await stage.failing_turn()).code == "KA-QUOTA"


@settings(max_examples=60, deadline=None)
@given(
    answers=st.fixed_dictionaries(
        {name: st.lists(st.sampled_from([*CATALOGUE, None]), max_size=30) for name in "abcdefghijkl"}
    ),
    accounts=st.integers(1, 12),
)
def test_whatever_the_service_says_a_request_ends_within_its_bounds(
    tmp_path_factory: pytest.TempPathFactory, answers: dict[str, Any], accounts: int
) -> None:
    """At most `max_request_iterations` calls, `request_timeout_ms` of waiting; every slot is given back."""
    names = "abcdefghijkl"[:accounts]
    stage = Stage(
        tmp_path_factory.mktemp("pool"), names, max_request_iterations=10, max_concurrent_per_account=1
    )
    stage.answers = answers

    async def story() -> None:
        with contextlib.suppress(TurnFailed):
            await stage.turn()
        assert len(stage.calls) <= 10
        assert sum(stage.slept) <= 300
        for name in names:
            stage.store.change_account(name, health.READY)
        everybody = asyncio.Barrier(len(names))
        await asyncio.wait_for(asyncio.gather(*(meet(everybody) for _ in names)), 10)

    async def meet(everybody: asyncio.Barrier) -> None:
        async for attempt in stage.pool.attempts(session=None):
            async with attempt:
                await everybody.wait()

    asyncio.run(story())
