"""The accounts one by one: their state, their tokens, what the service says of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from msgspec.structs import replace

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.standing import NO_ACCOUNT
from kiro_auth.accounts.usage_row import percent, share, used_up
from kiro_auth.accounts.view import named, state_words
from kiro_auth.doctor.clock import clock
from kiro_auth.doctor.files import unwritable
from kiro_auth.doctor.finding import Finding, Level, failed
from kiro_auth.failures import Cause, Failure, KiroAuthError
from kiro_auth.folders import config_folder, state_folder
from kiro_auth.gateway.parts import Parts, of_each
from kiro_auth.login.api_key import of_key
from kiro_auth.times import distance

_SOON_DAYS: Final = 7
_NEARLY: Final = 0.95


Words = Callable[[Failure], str]
"""How failures with their times are put: for a person here, or for programs."""


async def accounts(service: Parts, wrong_key: Failure | None, words: Words) -> list[Finding]:
    """The accounts one by one: their state, their tokens, what the service says of them.

    `wrong_key` is what there is to say of a key in the environment that is none.
    """
    findings: list[Finding] = []
    if wrong_key:
        findings.append(failed("accounts", "fault", wrong_key))
    try:
        readable = service.pool.accounts()
        damaged = service.pool.unreadable()
    except KiroAuthError as error:
        return [*findings, failed("accounts", "fault", error.failure)]
    findings += [failed("accounts", "warning", each.failure) for each in damaged]
    if not readable and not wrong_key:
        findings.append(Finding("accounts", "fault", "no account is signed in.", NO_ACCOUNT.next_step))
    told = await of_each(readable, lambda one: _collected(_account(service, one, words)))
    if not any(_can_serve(service, one, more) for one, more in zip(readable, told, strict=True)):
        findings += _none_can_serve(service, words, is_said=len(readable) == 1 and _has_fault(told[0]))
    for more in told:
        findings += more
    return [*findings, clock(service.clock.offset if service.clock.is_set else None)]


async def _collected(findings: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in findings]


def _has_fault(findings: list[Finding]) -> bool:
    return any(finding.level == "fault" for finding in findings)


def _can_serve(service: Parts, account: Account, findings: list[Finding]) -> bool:
    """Whether a request could be sent with this account now, by what was found."""
    row = service.store.snapshot().usage_rows().get(account.id, {})
    return health.usable(account, service.clock.now()) and not used_up(row) and not _has_fault(findings)


def _none_can_serve(service: Parts, words: Words, *, is_said: bool) -> Iterator[Finding]:
    """That no account can serve, unless that `is_said` by the one account's own fault."""
    accounts, now, rows = service.pool.accounts(), service.clock.now(), service.store.snapshot().usage_rows()
    if not accounts or is_said:
        return
    if all(account.state == "disabled" for account in accounts):
        remedy = "Let one take requests again: kiro-auth accounts enable NAME"
        yield Finding("accounts", "fault", "all accounts are disabled.", remedy)
        return
    reasons = (used_up(rows.get(account.id, {})) or health.failure_of(account, now) for account in accounts)
    ends = [end for reason in reasons if (end := reason.until or reason.next_try)]
    failure = Failure(
        code="KA-ACCOUNTS-BUSY",
        message="no account can take a request now.",
        until=min(ends, default=None),
        noted_at=now,
    )
    remedy = "Wait, or add another account of yours: kiro-auth login"
    yield Finding("accounts", "fault", words(failure), remedy)


async def _account(service: Parts, account: Account, words: Words) -> AsyncIterator[Finding]:
    check, now = f"account {account.name}", service.clock.now()
    if not health.usable(account, now):
        yield _waiting(account, check, now, words)
        return  # it gets no requests, so the service is not asked
    for finding in _lasting(account, check):
        yield finding
    try:
        await service.read_usage(account)
    except KiroAuthError as error:
        failure = named(of_key(error.failure, account), account)
        level: Level = "warning" if failure.cause is Cause.SERVICE else "fault"
        if failure.code != "KA-STORE" or not _told_of_the_files():
            yield failed(check, level, failure)
    else:
        yield _plan(service, account, check)


def _waiting(account: Account, check: str, now: float, words: Words) -> Finding:
    """Why an account takes no requests, and until when."""
    stated = named(of_key(health.failure_of(account, now), account), account)
    level: Level = "fault" if account.state in ("suspended", "sign-in") else "warning"
    if account.state == "disabled":
        return Finding(check, level, stated.message, stated.next_step)
    what = words(replace(stated, next_step=None))
    return Finding(check, level, f"{state_words(account, now)}: {what}", stated.next_step, code=stated.code)


def _told_of_the_files() -> bool:
    """Whether what could not be written is a matter of a folder, which `files` tells once."""
    return bool(unwritable(config_folder()) or unwritable(state_folder()))


def _lasting(account: Account, check: str) -> Iterator[Finding]:
    ends = (account.client_secret_expires_at or 0) / 1000
    seconds = ends - time.time()
    if ends and seconds < _SOON_DAYS * 86400:
        what = "has ended" if seconds <= 0 else f"ends {distance(seconds)}"
        remedy = f"Sign in again: {health.sign_in_command(account)}"
        yield Finding(check, "warning", f"this program's registration with AWS {what}.", remedy)


def _plan(service: Parts, account: Account, check: str) -> Finding:
    row = service.store.snapshot().usage_rows().get(account.id, {})
    used, plan = share(row), row.get("plan") or "its plan"
    where = f"served in {account.service_region}"
    if account.region != account.service_region:
        where += f", signed in at {account.region}"
    if used >= _NEARLY:
        remedy = "See until when: kiro-auth usage"
        return Finding(check, "warning", f"{percent(used)} of {plan} is used.", remedy)
    return Finding(check, "ok", f"works, {percent(used)} of {plan} used; {where}")
