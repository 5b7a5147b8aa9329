"""How often a request is tried again, and after which wait: the whole policy, from values alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.roster import Roster
from kiro_auth.accounts.standing import is_of_one_account
from kiro_auth.config import Config
from kiro_auth.failures import Failure

RETRIES: Final = {
    "KA-CAPACITY": 3,
    "KA-SERVICE": 2,
    "KA-NETWORK": 2,
    "KA-CUT": 2,
}
"""How often the same account tries again; throttles have an option, a refused token is renewed once, a
request that can be mended is sent once more, and everything else is final.

The official JavaScript client 1.0.45 and the official CLI (its source of April 2026) make three attempts in
all.  A model without capacity gets one more, a choice of ours.
"""
_FIRST_WAIT: Final = {"KA-CAPACITY": 5.0, "KA-SERVICE": 1.0, "KA-NETWORK": 1.0, "KA-CUT": 1.0}
"""Seconds; doubled each time.  Choices of ours: the official CLI waits up to 10 seconds (its source of April
2026)."""
_LONGEST_WAIT: Final = 60.0
"""Seconds, and a choice of ours; the service's own `retryAfterMilliseconds` (300000 seen in 2026) counts as
it is."""
_SPREAD: Final = 0.25
"""Up to this part of a wait is added at random: those that wait together must not come back together."""
ANSWER_SHARE: Final = 0.25
"""The part of a request's time that is left for an answer: a wait that leaves less is not begun.  A choice of
ours."""


class Policy(Struct, frozen=True):
    """What the options say of one request: how many attempts there are in all, how many seconds for all of
    them, how many retries after a throttle, and the first wait before one, in seconds.
    """

    attempts: int
    seconds: float
    throttle_retries: int
    throttle_wait: float

    @classmethod
    def of(cls, config: Config) -> Policy:
        """The policy of the options in force."""
        return cls(
            attempts=config.max_request_iterations,
            seconds=config.request_timeout_ms / 1000,
            throttle_retries=config.rate_limit_max_retries,
            throttle_wait=config.rate_limit_retry_delay_ms / 1000,
        )

    def retries(self, code: str) -> int:
        """How often the same account tries again after this failure."""
        return self.throttle_retries if code == "KA-THROTTLE" else RETRIES.get(code, 0)

    def wait(self, failure: Failure, tries: int, chance: float) -> float:
        """The seconds before the same account tries again, after so many failures of the kind.

        As long as the service says; otherwise the first wait, doubled each time up to a minute, and more of
        it by `chance`, from 0 to 1.
        """
        if failure.retry_after:
            return failure.retry_after
        first = self.throttle_wait if failure.code == "KA-THROTTLE" else _FIRST_WAIT.get(failure.code, 0.0)
        return min(first * 2.0 ** (tries - 1), _LONGEST_WAIT) * (1 + chance * _SPREAD)


class Again(Struct, frozen=True):
    """The request is tried again: after so many seconds (None: at once), with the account if one is named."""

    wait: float | None = None
    account: str | None = None


def after(
    failures: Sequence[Failure],
    account: Account,
    policy: Policy,
    roster: Roster,
    *,
    others: bool,
    renewed: bool,
    time_left: float,
    chance: float,
) -> Again | None:
    """What follows the last of a request's failures, which is the account's; None: it is final.

    `roster` has the accounts as they stand after it.  `others`: another account could take the request now.
    `renewed`: the account's token was refused, and it gets another one.
    """
    failure = failures[-1]
    if len(failures) >= policy.attempts or time_left <= 0:
        return None
    if renewed:
        return Again(account=account.id)
    tries = _count(failures, failure.code, account)
    if failure.replay is not None and tries == 1:
        return _soonest([(failure.replay, account.id)], time_left)
    if others:
        return Again()
    waits = []
    if tries <= policy.retries(failure.code):
        waits.append((policy.wait(failure, tries, chance), account.id))
    if is_of_one_account(failure) and policy.throttle_retries:
        waits += [
            (wait, other.id)
            for wait, other in roster.throttled()
            if other.id != account.id and _count(failures, "KA-THROTTLE", other) <= policy.throttle_retries
        ]
    return _soonest(waits, time_left)


def _soonest(waits: Sequence[tuple[float, str]], time_left: float) -> Again | None:
    if not waits:
        return None
    wait, account = min(waits)
    return Again(wait, account) if leaves_time(wait, time_left) else None


def leaves_time(wait: float, time_left: float) -> bool:
    """Whether an answer may still come after this wait."""
    return wait < time_left and wait <= (1 - ANSWER_SHARE) * time_left


def _count(failures: Sequence[Failure], code: str, account: Account) -> int:
    """How many failures of this kind the account had."""
    return sum((failure.code, failure.account) == (code, account.name) for failure in failures)
