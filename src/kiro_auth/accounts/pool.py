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
import logging
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Final

import msgspec

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account, account_of
from kiro_auth.accounts.refresh import Refresh, Refresher, sign_in_command
from kiro_auth.accounts.strategies import STRATEGIES, Snapshot
from kiro_auth.config import Config
from kiro_auth.failures import Cause, Failure, KiroAuthError, StoreFailed, TurnFailed, moment
from kiro_auth.store.store import Store

log = logging.getLogger("kiro_auth.pool")

_RETRIES: Final = {
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
_SESSIONS: Final = 1000
"""How many conversations are remembered to stay with their account."""


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
        self._in_flight: dict[str, int] = {}
        self._throttles: dict[str, int] = {}
        self._sessions: OrderedDict[str, str] = OrderedDict()
        self._freed = asyncio.Event()

    def accounts(self) -> list[Account]:
        """Every stored account that can be read.  Raises StoreFailed."""
        found = []
        for record in self._store.accounts():
            try:
                found.append(account_of(record))
            except msgspec.ValidationError as error:
                log.warning("the account %s cannot be read: %s", str(record.get("id"))[:8], error)
        return found

    async def fresh(self, account: Account) -> Account:
        """The account with a token to use.  Raises TurnFailed."""
        return await self._refresher.fresh(account)

    async def fresh_accounts(self) -> list[Account]:
        """Every usable account with a token to use; those that cannot get one are left out."""
        found = []
        for account in self.accounts():
            if health.usable(account, self._clock()):
                try:
                    found.append(await self.fresh(account))
                except KiroAuthError as error:
                    log.info("%s is left out: %s", account.name, error.failure.code)
        return found

    async def attempts(self, *, session: str | None) -> AsyncIterator[Attempt]:
        """Attempts until one succeeds or its failure is final; see the module."""
        turn = _Turn(session, self._monotonic() + self._config.request_timeout_ms / 1000)
        while not turn.over:
            yield Attempt(self, turn)

    # ------------------------------------------------------------------------- one attempt's two ends

    async def lease(self, turn: _Turn) -> Account:
        """Choose an account with a free slot and make its token fresh.  Raises TurnFailed."""
        while True:
            account = await self._chosen(turn)
            self._leases += 1
            self._last_used[account.id] = self._leases
            self._in_flight[account.id] = self._in_flight.get(account.id, 0) + 1
            try:
                fresh = await self._refresher.fresh(account, refused=turn.refused.get(account.id))
            except TurnFailed as error:
                self.release(account)
                turn.tried.add(account.id)
                turn.failures.append(_labelled(error.failure, account))
                if not self._others(turn):
                    raise self._final(turn) from error
            except BaseException:
                self.release(account)
                raise
            else:
                self._remember(turn.session, fresh)
                return fresh

    def release(self, account: Account) -> None:
        """Give the slot back."""
        self._in_flight[account.id] -= 1
        self._freed.set()

    def succeeded(self, account: Account) -> None:
        """The account answered; what was thought of it before is over."""
        self._throttles.pop(account.id, None)
        if account.state != "ready":
            self._note(account, health.READY)

    async def failed(self, turn: _Turn, account: Account, failure: Failure) -> None:
        """Prepare the next attempt, waiting if need be.  Raises TurnFailed when there is none."""
        if failure.code == "KA-TOKEN":
            if account.id not in turn.refused and account.access_token:
                turn.failures.append(_labelled(failure, account))
                turn.refused[account.id] = account.access_token
                turn.insist = account.id
                return
            failure = _sign_in_over(account)
        failure = _labelled(failure, account)
        turn.failures.append(failure)
        tries = turn.count(failure.code)
        if failure.cause is Cause.ACCOUNT:
            self._judge(account, failure)
            turn.tried.add(account.id)
            if self._others(turn):
                return
        retries = (
            self._config.rate_limit_max_retries
            if failure.code == "KA-THROTTLE"
            else _RETRIES.get(failure.code, 0)
        )
        wait = self._wait(failure, tries)
        out_of_time = self._monotonic() + wait >= turn.deadline
        exhausted = len(turn.failures) >= self._config.max_request_iterations
        if tries > retries or out_of_time or exhausted:
            raise self._final(turn)
        await self._sleep(wait)
        turn.tried.discard(account.id)
        turn.insist = account.id

    # ------------------------------------------------------------------------------------- the choice

    async def _chosen(self, turn: _Turn) -> Account:
        while True:
            known = self.accounts()
            if not known:
                raise TurnFailed(
                    Failure(
                        code="KA-NO-ACCOUNT",
                        message="No Kiro account is signed in.",
                        next_step="Sign in: kiro-auth login",
                    )
                )
            candidates = self._candidates(turn, known)
            if not candidates:
                raise self._final(turn)
            free = [a for a in candidates if self._in_flight.get(a.id, 0) < self._slots]
            if free:
                return self._preferred(turn, free)
            self._freed.clear()
            try:
                async with asyncio.timeout(max(0.0, turn.deadline - self._monotonic())):
                    await self._freed.wait()
            except TimeoutError:
                raise TurnFailed(
                    Failure(
                        code="KA-TIMEOUT",
                        message="All accounts were busy with other requests.",
                        next_step="Repeat the request, or raise max_concurrent_per_account.",
                    )
                ) from None

    @property
    def _slots(self) -> int:
        return self._config.max_concurrent_per_account

    def _candidates(self, turn: _Turn, known: list[Account]) -> list[Account]:
        insisted = [account for account in known if account.id == turn.insist]
        if insisted:  # it cooled down for as long as it was asked to
            return insisted
        now = self._clock()
        return [a for a in known if a.id not in turn.tried and health.usable(a, now)]

    def _preferred(self, turn: _Turn, free: list[Account]) -> Account:
        turn.insist = None
        at_home = self._sessions.get(turn.session) if turn.session else None
        for account in free:
            if account.id == at_home:
                return account
        strategy = STRATEGIES[self._config.account_selection_strategy]
        return strategy(Snapshot(free, self._usage(), self._last_used))

    def _usage(self) -> dict[str, dict[str, object]]:
        try:
            return self._store.usage()
        except StoreFailed as error:
            log.warning("usage is not known: %s", error)
            return {}

    def _others(self, turn: _Turn) -> bool:
        return bool(self._candidates(turn, self.accounts()))

    def _remember(self, session: str | None, account: Account) -> None:
        if session is None:
            return
        self._sessions[session] = account.id
        self._sessions.move_to_end(session)
        if len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)

    # ------------------------------------------------------------------------------------ the verdict

    def _judge(self, account: Account, failure: Failure) -> None:
        streak = self._throttles.get(account.id, 0)
        if failure.code == "KA-THROTTLE":
            self._throttles[account.id] = streak + 1
        reset = self._usage().get(account.id, {}).get("resetAt")
        reset_seconds = reset / 1000 if isinstance(reset, int | float) else None
        fields = health.after(failure, self._clock(), streak=streak, reset=reset_seconds)
        if fields:
            self._note(account, fields)

    def _note(self, account: Account, fields: dict[str, object]) -> None:
        try:
            self._store.change_account(account.id, fields)
        except StoreFailed as error:
            log.warning("the state of %s is not kept: %s", account.name, error)

    def _wait(self, failure: Failure, tries: int) -> float:
        if failure.retry_after:
            return failure.retry_after
        first = self._config.rate_limit_retry_delay_ms / 1000
        if failure.code != "KA-THROTTLE":
            first = _FIRST_WAIT.get(failure.code, 0.0)
        return self._chance() * min(first * 2.0 ** (tries - 1), _LONGEST_WAIT)

    def _final(self, turn: _Turn) -> TurnFailed:
        """What to tell the client: the failure itself, or with several accounts how it stands with each."""
        known, now = self.accounts(), self._clock()
        last = turn.failures[-1] if turn.failures else None
        if last is not None and (last.cause is not Cause.ACCOUNT or len(known) == 1):
            own = next((a for a in known if a.name == last.account), None)
            until = own.state_until / 1000 if own and own.state_until else None
            return TurnFailed(msgspec.structs.replace(last, until=last.until or until))
        out = [account for account in known if not health.usable(account, now)]
        reasons = "; ".join(f"{a.name}: {_state_text(a)}" for a in out)
        ends = [a.state_until / 1000 for a in out if a.state_until]
        return TurnFailed(
            Failure(
                code="KA-ACCOUNTS-BUSY",
                message=f"No account can take the request now. {reasons}.",
                next_step="kiro-auth accounts",
                until=min(ends, default=None),
            )
        )


class _Turn:
    """What the attempts of one request share.  `insist` names an account to go back to, tried or not."""

    def __init__(self, session: str | None, deadline: float) -> None:
        self.session = session
        self.deadline = deadline
        self.failures: list[Failure] = []
        self.tried: set[str] = set()
        self.refused: dict[str, str] = {}
        self.insist: str | None = None
        self.over = False

    def count(self, code: str) -> int:
        """How many failures of this kind there were."""
        return sum(failure.code == code for failure in self.failures)


class Attempt:
    """One try of one request with one account; see the module."""

    def __init__(self, pool: Pool, turn: _Turn) -> None:
        self._pool = pool
        self._turn = turn

    @property
    def earlier(self) -> tuple[Failure, ...]:
        """The failures of the attempts before this one."""
        return tuple(self._turn.failures)

    def commit(self) -> None:
        """Output begins, or the answer is complete: this is the last attempt."""
        self._turn.over = True

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
            self._pool.succeeded(self._account)
            return False
        if self._turn.over or not isinstance(error, TurnFailed):
            return False
        await self._pool.failed(self._turn, self._account, error.failure)
        return True


def _labelled(failure: Failure, account: Account) -> Failure:
    return failure if failure.account else msgspec.structs.replace(failure, account=account.name)


def _sign_in_over(account: Account) -> Failure:
    return Failure(
        code="KA-SIGNIN",
        message="Kiro does not accept this sign-in, not even with a renewed token.",
        next_step=f"Sign in again: {sign_in_command(account)}",
    )


def _state_text(account: Account) -> str:
    until = f" (until {moment(account.state_until / 1000)})" if account.state_until else ""
    return f"{(account.state_reason or account.state).rstrip('.')}{until}"
