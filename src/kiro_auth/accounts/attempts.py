"""The attempts of one request: with which account, how often, and what is remembered of each.

    for attempt in attempts(pool, session=…):
        async with attempt as account:
            …                       # TurnFailed raised here decides whether there is another attempt
            attempt.limit_to(None)  # the service speaks: from here on it takes as long as it takes
            attempt.commit()        # output begins: from here on there is no other attempt

Attempts are bounded: by `max_request_iterations`, by the retries of `retry`, and by one deadline for all
waiting.  An account's own failure moves on to another account before anything is waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from types import TracebackType
from typing import Final

import msgspec

from kiro_auth.accounts import health, retry, standing
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.choice import Wish, candidates
from kiro_auth.accounts.pool import Pool
from kiro_auth.accounts.waits import Waits
from kiro_auth.failures import Cause, Failure, KiroAuthError, TurnFailed

log = logging.getLogger("kiro_auth.attempts")

_RENEWAL_TOO_LATE: Final = Failure(
    code="KA-TIMEOUT",
    message="The sign-in service did not renew the account's token in time.",
    next_step="Repeat the request after a while.",
)


_ANY: Final = Wish()
_DEFECT: Final = Failure(
    code="KA-INTERNAL",
    message="The gateway made a mistake with this account.",
    next_step="See the log: it says more.",
)
_DEFECTS: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a value raises that nobody expected; other exceptions tell of the client, or of the end."""


def attempts(
    pool: Pool,
    session: str | None,
    wish: Wish = _ANY,
    deadline: float | None = None,
    made: int = 0,
) -> Iterator[Attempt]:
    """Attempts until one succeeds or its failure is final; see the module.

    They keep to the `wish`.  A request that is tried anew, with another model, keeps its `deadline` (the
    pool's monotonic time), and the attempts that it `made` before count.
    """
    return _Request(pool, session, wish, deadline, made)


class Attempt:
    """One try of one request with one account; see the module.

    Its block is held to the request's one deadline, over all its attempts, until that is lifted.  No
    generators: an answer is within it for as long as it takes.
    """

    __slots__ = ("_account", "_failure", "_leased", "_limit", "_request")

    def __init__(self, request: _Request) -> None:
        self._request = request
        self._failure: Failure | None = None
        self._leased = False

    @property
    def earlier(self) -> tuple[Failure, ...]:
        """The failures of the attempts before this one; once it failed, with its own."""
        return tuple(self._request.failures)

    def limit_to(self, when: float | None) -> None:
        """Move the limit to another time of the loop; None lifts it, as the first output is there."""
        self._limit.reschedule(when)

    def commit(self) -> None:
        """Output begins, or the answer is complete: this is the last attempt."""
        self._request.over = True

    def broke(self, failure: Failure) -> None:
        """The answer ended with a failure after output: too late to try again, but worth remembering."""
        self._failure = failure

    async def again(self, failure: Failure) -> Account:
        """A later call of an answer that has begun failed before it gave anything: who makes it again.

        That may be another account, and comes after the wait that is due.  Raises TurnFailed when that was
        the last try.
        """
        try:
            await self._request.failed(self._account, failure)
            self._release()
            return await self._lease()
        except KiroAuthError:
            self._request.over = True  # the failure is counted: it ends the request as it is
            raise

    async def __aenter__(self) -> Account:
        account = await self._lease()
        self._limit = asyncio.timeout(self._request.time_left())
        await self._limit.__aenter__()
        return account

    async def _lease(self) -> Account:
        self._account = await self._request.lease()
        self._leased = True
        return self._account

    def _release(self) -> None:
        if self._leased:
            self._leased = False
            self._request.pool.release(self._account)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._release()
        try:
            await self._limit.__aexit__(kind, error, traceback)
        except TimeoutError as late:
            error = late
        if isinstance(error, TimeoutError):
            failed = TurnFailed(self._request.waits.too_late())
            if self._request.over:
                raise failed from error
            error = failed
        if error is None:
            self._request.over = True
            await self._request.ended(self._account, self._failure)
            return False
        if self._request.over:
            return False
        if isinstance(error, KiroAuthError):
            await self._request.failed(self._account, error.failure)
            return True
        if isinstance(error, _DEFECTS):
            return await self._request.broke(self._account, error)
        return False


class _Request:
    """The attempts of one request, and what they share."""

    __slots__ = (
        *("_deadline", "_made", "_policy", "_refused", "_session", "_wish", "failures", "over", "pool"),
        "waits",
    )

    def __init__(
        self, pool: Pool, session: str | None, wish: Wish, deadline: float | None, made: int
    ) -> None:
        self.pool = pool
        self.failures: list[Failure] = []
        self.over = False
        self._session = session
        self._deadline = pool.deadline() if deadline is None else deadline
        self._policy = pool.policy  # a reload counts from the next request on
        self._made = made
        self.waits = Waits(pool.policy.seconds)
        self._wish = wish
        self._refused: dict[str, str | None] = {}  # tokens, by account id

    def __iter__(self) -> _Request:
        return self

    def __next__(self) -> Attempt:
        if self.over:
            raise StopIteration
        return Attempt(self)

    def time_left(self) -> float:
        """Seconds until the deadline."""
        return self.pool.time_left(self._deadline)

    async def lease(self) -> Account:
        """An account with a free slot and a fresh token.  Raises TurnFailed, StoreFailed."""
        while True:
            account = await self.pool.lease(self._wish, self._session, self._deadline, self.waits)
            if account is None:
                raise self._final()
            if self._wish.insist is not None:
                self._wish = msgspec.structs.replace(self._wish, insist=None)
            refused = self._refused.get(account.id)
            if self.pool.is_fresh(account, refused=refused):
                return account
            try:
                async with asyncio.timeout(self.time_left()):  # the renewal itself goes on
                    return await self.pool.fresh(account, refused=refused)
            except TimeoutError:
                self.pool.release(account)
                raise TurnFailed(_RENEWAL_TOO_LATE) from None
            except KiroAuthError as error:
                self.pool.release(account)
                self._tried(account)  # its sign-in service is in trouble; another's may not be
                await self.failed(account, error.failure)
            except _DEFECTS as error:
                self.pool.release(account)
                if not await self.broke(account, error):
                    raise
            except BaseException:
                self.pool.release(account)
                raise

    async def broke(self, account: Account, error: Exception) -> bool:
        """Whether another account is tried after a defect of this program; after the second it is not.

        What is odd in one account's record, or in what is said to it, must not fail the others' requests.
        """
        self._tried(account)
        has_others = bool(candidates(self._wish.within(self.pool.roster()), self._wish))
        if not has_others or any(failure.code == _DEFECT.code for failure in self.failures):
            return False
        log.error("the request fails with %s by a defect of this program", account.name, exc_info=error)
        await self.failed(account, _DEFECT)
        return True

    async def failed(self, account: Account, failure: Failure) -> None:
        """Prepare the next attempt, waiting if need be.  Raises TurnFailed when there is none."""
        renewed = failure.code == "KA-TOKEN" and account.id not in self._refused
        if renewed:
            self._refused[account.id] = account.access_token
        elif failure.code == "KA-TOKEN":
            failure = _sign_in_over(account)
        failure = failure if failure.account else msgspec.structs.replace(failure, account=account.name)
        self.failures.append(failure)
        if not renewed and standing.is_of_one_account(failure):
            if failure.cause is Cause.SETUP:
                log.warning("%s is passed over: %s", account.name, failure.sentence())
            await self.pool.verdicts.failed(account, failure)
            self._tried(account)
        roster = self._wish.within(self.pool.roster())
        again = retry.after(
            self.failures,
            account,
            msgspec.structs.replace(self._policy, attempts=self._policy.attempts - self._made),
            roster,
            others=account.id in self._wish.tried and bool(candidates(roster, self._wish)),
            renewed=renewed,
            time_left=self.time_left(),
            chance=self.pool.chance(),
        )
        if again is None:
            raise self._final()
        if again.wait is not None:
            self.waits.add(f"the next try, after {failure.code}", again.wait)
            await self.pool.sleep(again.wait)
        self._wish = msgspec.structs.replace(self._wish, insist=again.account)

    def ended(self, account: Account, failure: Failure | None) -> Awaitable[None]:
        """The account answered, to the end or until this failure."""
        return self.pool.verdicts.ended(account, failure, chosen=self._wish.only is None)

    def _tried(self, account: Account) -> None:
        self._wish = msgspec.structs.replace(self._wish, tried=self._wish.tried | {account.id})

    def _final(self) -> TurnFailed:
        roster = self._wish.within(self.pool.roster())
        return TurnFailed(
            standing.final(self.failures, roster.accounts, roster.now, standing.kept_back(roster))
        )


def _sign_in_over(account: Account) -> Failure:
    return Failure(
        code="KA-SIGNIN",
        message="Kiro does not accept this sign-in, not even with a renewed token.",
        next_step=f"Sign in again: {health.sign_in_command(account)}",
    )
