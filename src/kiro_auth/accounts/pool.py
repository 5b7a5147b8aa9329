"""The accounts of one store as one pool: who takes a request, and what happens after a failure.

    async for attempt in pool.attempts(session=…):
        async with attempt as account:
            …                       # TurnFailed raised here decides whether there is another attempt
            attempt.commit()        # output begins: from here on there is none

Attempts are bounded: by `max_request_iterations`, by the retries below, and by one deadline for all waiting.
An account's own failure moves on to another account before anything is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Final

import msgspec

from kiro_auth.accounts import health, standing
from kiro_auth.accounts.account import Account, account_of
from kiro_auth.accounts.refresh import Refresh, Refresher
from kiro_auth.accounts.sessions import Sessions
from kiro_auth.accounts.strategies import STRATEGIES, Snapshot
from kiro_auth.config import Config
from kiro_auth.failures import Cause, Failure, KiroAuthError, StoreFailed, TurnFailed
from kiro_auth.store.store import Store

log = logging.getLogger("kiro_auth.pool")

RETRIES: Final = {
    "KA-CAPACITY": 3,
    "KA-SERVICE": 2,
    "KA-NETWORK": 2,
    "KA-CUT": 2,
    "KA-SIGNATURE": 1,
}
"""How often the same account tries again; throttles have an option, a refused token is renewed once, and
everything else is final."""
_FIRST_WAIT: Final = {"KA-CAPACITY": 5.0, "KA-SERVICE": 1.0, "KA-NETWORK": 1.0, "KA-CUT": 1.0}
"""Seconds; doubled each time, then a random part of it is waited."""
_LONGEST_WAIT: Final = 60.0
_OF_TOKENS: Final = ("KA-TOKEN", "KA-SIGNIN")
_TOGETHER: Final = 1.0
"""Seconds within which requests that waited for the same account go on."""
_ALL_IN_USE: Final = Failure(
    code="KA-TIMEOUT",
    message="All accounts were busy with other requests.",
    next_step="Repeat the request, or raise max_concurrent_per_account.",
)
_TOO_LATE: Final = Failure(
    code="KA-TIMEOUT",
    message="Kiro did not begin to answer in time.",
    next_step="Repeat the request, or raise request_timeout_ms.",
)
_RENEWAL_TOO_LATE: Final = Failure(
    code="KA-TIMEOUT",
    message="The sign-in service did not renew the account's token in time.",
    next_step="Repeat the request after a while.",
)


class Pool:
    """See the module.  `refresh` asks the sign-in service; clocks and chance are arguments, for tests."""

    def __init__(
        self,
        store: Store,
        config: Config,
        *,
        refresh: Refresh,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._config = config
        self._refresher = Refresher(store, config, refresh, clock)
        self._sleep = sleep
        self._clock = clock
        self._monotonic = monotonic
        self._chance = chance
        self._leases = 0
        self._last_used: dict[str, int] = {}
        self._active: str | None = None
        self._in_flight: dict[str, int] = {}
        self._throttles: dict[str, int] = {}
        self._sessions = Sessions()
        self._freed = asyncio.Event()
        self._writing: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()  # every request meets a damaged record again

    def accounts(self) -> list[Account]:
        """Every stored account that can be read.  Raises StoreFailed."""
        found = []
        for record in self._store.accounts():
            try:
                found.append(account_of(record))
            except StoreFailed as error:
                if error.failure.message not in self._told:
                    self._told.add(error.failure.message)
                    log.warning("%s", error.failure.sentence())
        return found

    async def fresh(self, account: Account, *, refused: str | None = None) -> Account:
        """The account with a token to use, another one than the `refused`: see `Refresher.fresh`."""
        return await self._refresher.fresh(account, refused=refused)

    async def close(self) -> None:
        """Let the renewals and changes under way end, so that no new token is lost."""
        await asyncio.gather(self._refresher.close(), *self._writing)

    async def fresh_accounts(self) -> list[Account]:
        """Every usable account with a token to use; those that cannot get one are left out."""
        return [found for found in await asyncio.gather(*map(self._fresh_or_none, self.usable())) if found]

    async def _fresh_or_none(self, account: Account) -> Account | None:
        try:
            return await self.fresh(account)
        except KiroAuthError as error:
            log.info("%s is left out: %s", account.name, error.failure.code)
            return None

    def usable(self) -> list[Account]:
        """Every account that may take a request now.  Raises StoreFailed."""
        return [account for account in self.accounts() if health.usable(account, self._clock())]

    async def attempts(
        self, *, session: str | None, suits: Callable[[Account], bool] = lambda _: True
    ) -> AsyncIterator[Attempt]:
        """Attempts until one succeeds or its failure is final; see the module.

        Accounts that do not suit, as those whose plan lacks the model, come last.
        """
        turn = _Turn(session, suits, self._monotonic() + self._config.request_timeout_ms / 1000)
        while not turn.over:
            yield Attempt(self, turn)

    def time_left(self, turn: _Turn) -> float:
        """Seconds until the deadline of a request."""
        return max(0.0, turn.deadline - self._monotonic())

    # ------------------------------------------------------------------------- one attempt's two ends

    async def lease(self, turn: _Turn) -> Account:
        """Choose an account with a free slot and make its token fresh.  Raises TurnFailed."""
        while True:
            account = await self._chosen(turn)
            self._leases += 1
            self._last_used[account.id] = self._leases
            self._in_flight[account.id] = self._in_flight.get(account.id, 0) + 1
            try:
                async with asyncio.timeout(self.time_left(turn)):  # the renewal itself goes on
                    fresh = await self._refresher.fresh(account, refused=turn.refused.get(account.id))
            except TimeoutError:
                self.release(account)
                raise TurnFailed(_RENEWAL_TOO_LATE) from None
            except KiroAuthError as error:
                self.release(account)
                turn.tried.add(account.id)  # its sign-in service is in trouble; another's may not be
                await self.failed(turn, account, error.failure)
            except BaseException:
                self.release(account)
                raise
            else:
                return fresh

    def release(self, account: Account) -> None:
        """Give the slot back."""
        self._in_flight[account.id] -= 1
        self._freed.set()

    async def ended(self, account: Account, failure: Failure | None) -> None:
        """The account answered, to the end or until this failure; what was thought of it before is over."""
        if failure is not None:
            # A token that ends within an answer is no verdict: the next request has it renewed.
            if failure.cause is Cause.ACCOUNT and failure.code != "KA-TOKEN":
                await self._judge(account, failure)
            return
        self._throttles.pop(account.id, None)
        await self._note_active(account)
        if fields := health.ready_after("answered", account.state, self._clock()):
            await self._note(account, fields, was=account.state)

    async def failed(self, turn: _Turn, account: Account, failure: Failure) -> None:
        """Prepare the next attempt, waiting if need be.  Raises TurnFailed when there is none."""
        renewable = failure.code == "KA-TOKEN" and account.id not in turn.refused
        if failure.code == "KA-TOKEN" and not renewable:
            failure = _sign_in_over(account)
        failure = _labelled(failure, account)
        turn.failures.append(failure)
        if renewable:
            turn.refused[account.id] = account.access_token
            turn.insist = account.id
        elif standing.is_of_one_account(failure):
            if failure.cause is Cause.SETUP:
                log.warning("%s is passed over: %s", account.name, failure.sentence())
            await self._judge(account, failure)
            turn.tried.add(account.id)
        if len(turn.failures) >= self._config.max_request_iterations or self.time_left(turn) <= 0:
            raise self._final(turn)
        if renewable or (account.id in turn.tried and self._candidates(turn, self.accounts())):
            return
        waits = []
        tries = turn.count(failure.code, account.name)
        if tries <= self._retries(failure.code):
            waits.append((self._wait(failure, tries), account.id))
        if standing.is_of_one_account(failure):
            waits += [(wait, id_) for wait, id_ in self._throttled(turn) if id_ != account.id]
        wait, soonest = min(waits, default=(math.inf, ""))
        if wait >= self.time_left(turn):
            raise self._final(turn)
        await self._sleep(wait)
        turn.insist = soonest

    # ------------------------------------------------------------------------------------- the choice

    async def _chosen(self, turn: _Turn) -> Account:
        while True:
            known = self.accounts()
            if not known:
                raise TurnFailed(standing.NO_ACCOUNT)
            candidates = self._candidates(turn, known)
            if not candidates:
                await self._throttle_over(turn)
                continue
            free = [a for a in candidates if self._in_flight.get(a.id, 0) < self._slots]
            if free:
                return self._preferred(turn, candidates, free)
            self._freed.clear()
            try:
                async with asyncio.timeout(self.time_left(turn)):
                    await self._freed.wait()
            except TimeoutError:
                raise TurnFailed(_ALL_IN_USE) from None

    @property
    def _slots(self) -> int:
        return self._config.max_concurrent_per_account

    def _candidates(self, turn: _Turn, known: list[Account]) -> list[Account]:
        now = self._clock()
        insisted = [account for account in known if account.id == turn.insist]
        # It cooled down for as long as it was asked to; any other state came from elsewhere meanwhile.
        if insisted and health.effective(insisted[0], now) in ("ready", "cooling"):
            return insisted
        usable = [a for a in known if a.id not in turn.tried and health.usable(a, now)]
        return [a for a in usable if turn.suits(a)] or usable

    def _preferred(self, turn: _Turn, candidates: list[Account], free: list[Account]) -> Account:
        turn.insist = None
        home = self._sessions.home(turn.session)
        for account in free:
            if account.id == home:
                return account
        strategy = STRATEGIES[self._config.account_selection_strategy]
        chosen = strategy(Snapshot(free, self._usage(), self._used_before()))
        if all(account.id != home for account in candidates):  # a home that is only busy stays the home
            self._sessions.settle(turn.session, chosen.id)
        return chosen

    def _used_before(self) -> dict[str, int]:
        """Who was leased last, by count; before the first lease, who served last as far as that is kept."""
        if self._last_used or not (kept := self._store.active()):
            return self._last_used
        return {kept: 1}

    async def _note_active(self, account: Account) -> None:
        """Keep who serves, for the time after this process."""
        if self._config.account_selection_strategy != "sticky" or account.id == self._active:
            return
        self._active = account.id
        await self._write(partial(self._store.note_active, account.id), f"that {account.name} is in use")

    def _usage(self) -> dict[str, dict[str, object]]:
        try:
            return self._store.usage()
        except StoreFailed as error:
            log.warning("usage is not known: %s", error)
            return {}

    # ------------------------------------------------------------------------------------ the verdict

    async def _judge(self, account: Account, failure: Failure) -> None:
        streak = self._throttles.get(account.id, 0)
        if failure.code == "KA-THROTTLE":
            self._throttles[account.id] = streak + 1
        reset = self._usage().get(account.id, {}).get("resetAt")
        reset_seconds = reset / 1000 if isinstance(reset, int | float) else None
        states = {record.get("id"): record.get("state") for record in self._store.accounts()}
        for current in self.accounts():
            if current.id != account.id:
                continue
            # Who signed in meanwhile is not judged by what the tokens of before were answered.
            if failure.code not in _OF_TOKENS or current.generation == account.generation:
                fields = health.after(current, failure, self._clock(), streak=streak, reset=reset_seconds)
                if fields is not None:
                    await self._note(current, fields, was=states[account.id])

    async def _note(self, account: Account, fields: Mapping[str, object], *, was: str | None) -> None:
        """Store what is thought of an account, unless it has another state meanwhile."""
        change = partial(self._store.change_account, account.id, fields, if_unchanged={"state": was})
        await self._write(change, f"the state of {account.name}")

    async def _write(self, change: Callable[[], object], what: str) -> None:
        """Change the store in a thread, as another process may hold the file for a while.

        A client that leaves meanwhile cancels who waits, never the change.
        """

        async def write() -> None:
            try:
                await asyncio.to_thread(change)
            except StoreFailed as error:
                log.warning("%s is not kept: %s", what, error)

        task = asyncio.create_task(write())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        await asyncio.shield(task)

    def _throttled(self, turn: _Turn) -> list[tuple[float, str]]:
        """After how many seconds which account may be asked again, of those that were asked to slow down."""
        now, retries = self._clock(), self._config.rate_limit_max_retries
        if not retries:
            return []
        return [
            (max(0.0, (account.state_until or 0) / 1000 - now), account.id)
            for account in self.accounts()
            if (account.state, account.state_code) == ("cooling", "KA-THROTTLE")
            and turn.count("KA-THROTTLE", account.name) <= retries
        ]

    async def _throttle_over(self, turn: _Turn) -> None:
        """Wait until an account that this turn has not asked may be asked.  Raises TurnFailed."""
        waits = [wait for wait, id_ in self._throttled(turn) if id_ not in turn.tried]
        wait = min(waits, default=math.inf)
        if wait >= self.time_left(turn):
            raise self._final(turn)
        # The random part keeps those that wait together from coming back together.
        await self._sleep(wait + self._chance() * _TOGETHER)

    def _retries(self, code: str) -> int:
        return self._config.rate_limit_max_retries if code == "KA-THROTTLE" else RETRIES.get(code, 0)

    def _wait(self, failure: Failure, tries: int) -> float:
        if failure.retry_after:
            return failure.retry_after
        first = self._config.rate_limit_retry_delay_ms / 1000
        if failure.code != "KA-THROTTLE":
            first = _FIRST_WAIT.get(failure.code, 0.0)
        return self._chance() * min(first * 2.0 ** (tries - 1), _LONGEST_WAIT)

    def _final(self, turn: _Turn) -> TurnFailed:
        return TurnFailed(standing.final(turn.failures, self.accounts(), self._clock()))


class _Turn:
    """What the attempts of one request share.  `insist` names an account to go back to, tried or not."""

    def __init__(self, session: str | None, suits: Callable[[Account], bool], deadline: float) -> None:
        self.session = session
        self.suits = suits
        self.deadline = deadline
        self.failures: list[Failure] = []
        self.tried: set[str] = set()
        self.refused: dict[str, str | None] = {}
        self.insist: str | None = None
        self.over = False

    def count(self, code: str, account: str) -> int:
        """How many failures of this kind the account had."""
        return sum((failure.code, failure.account) == (code, account) for failure in self.failures)


class Attempt:
    """One try of one request with one account; see the module."""

    def __init__(self, pool: Pool, turn: _Turn) -> None:
        self._pool = pool
        self._turn = turn
        self._failure: Failure | None = None

    @property
    def earlier(self) -> tuple[Failure, ...]:
        """The failures of the attempts before this one."""
        return tuple(self._turn.failures)

    @contextlib.asynccontextmanager
    async def time_limit(self) -> AsyncIterator[asyncio.Timeout]:
        """Holds what happens before the first output to the request's one deadline, over all its attempts.

        Raises TurnFailed (KA-TIMEOUT).  Whoever gets the first output lifts the limit.
        """
        try:
            async with asyncio.timeout(self._pool.time_left(self._turn)) as limit:
                yield limit
        except TimeoutError as error:
            raise TurnFailed(_TOO_LATE) from error

    def commit(self) -> None:
        """Output begins, or the answer is complete: this is the last attempt."""
        self._turn.over = True

    def broke(self, failure: Failure) -> None:
        """The answer ended with a failure after output: too late to try again, but worth remembering."""
        self._failure = failure

    async def __aenter__(self) -> Account:
        self._account = await self._pool.lease(self._turn)
        return self._account

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._pool.release(self._account)
        if error is None:
            self._turn.over = True
            await self._pool.ended(self._account, self._failure)
            return False
        if self._turn.over or not isinstance(error, KiroAuthError):
            return False
        await self._pool.failed(self._turn, self._account, error.failure)
        return True


def _labelled(failure: Failure, account: Account) -> Failure:
    return failure if failure.account else msgspec.structs.replace(failure, account=account.name)


def _sign_in_over(account: Account) -> Failure:
    return Failure(
        code="KA-SIGNIN",
        message="Kiro does not accept this sign-in, not even with a renewed token.",
        next_step=f"Sign in again: {health.sign_in_command(account)}",
    )
