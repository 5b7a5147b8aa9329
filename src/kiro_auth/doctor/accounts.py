"""The accounts one by one: their state, their tokens, what the service says of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

from msgspec.structs import replace

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.strategies import share
from kiro_auth.doctor.clock import clock
from kiro_auth.doctor.files import unwritable
from kiro_auth.doctor.finding import Finding, Level, failed
from kiro_auth.failures import Cause, Failure, KiroAuthError
from kiro_auth.folders import config_folder, state_folder
from kiro_auth.gateway.parts import Parts
from kiro_auth.kinds import KINDS
from kiro_auth.login.api_key import rejected

_SOON_DAYS: Final = 7
_NEARLY: Final = 0.95


async def accounts(service: Parts, wrong_key: Failure | None) -> list[Finding]:
    """The accounts one by one: their state, their tokens, what the service says of them.

    `wrong_key` is what there is to say of a key in the environment that is none.
    """
    findings: list[Finding] = []
    if wrong_key:
        findings.append(failed("accounts", "fault", wrong_key))
    try:
        readable = service.pool.accounts()
        damaged = len(service.store.snapshot().accounts) - len(readable)
    except KiroAuthError as error:
        return [*findings, failed("accounts", "fault", error.failure)]
    if damaged:
        what = f"{damaged} records cannot be read."
        findings.append(Finding("accounts", "warning", what, "Remove or correct them."))
    if not readable and not wrong_key:
        remedy = "kiro-auth login, or kiro-auth accounts import for the sign-in of kiro-cli or Kiro's IDE."
        findings.append(Finding("accounts", "fault", "nobody is signed in.", remedy))
    if readable and all(account.state == "disabled" for account in readable):
        remedy = "kiro-auth accounts enable NAME lets one take requests again."
        findings.append(Finding("accounts", "fault", "all accounts are disabled.", remedy))
    for more in await asyncio.gather(*(_collected(_account(service, account)) for account in readable)):
        findings += more
    asked = any(health.usable(account, service.clock.now()) for account in readable)
    return [*findings, *clock(service.clock.offset if asked else None)]


async def _collected(findings: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in findings]


async def _account(service: Parts, account: Account) -> AsyncIterator[Finding]:
    check, now = f"account {account.name}", service.clock.now()
    state = health.effective(account, now)
    if state != "ready":
        yield _waiting(account, check, state, now)
        return  # it gets no requests, so the service is not asked
    for finding in _lasting(account, check):
        yield finding
    try:
        await service.read_usage(account)
    except KiroAuthError as error:
        failure = _of_key(account, error.failure)
        level: Level = "warning" if failure.cause is Cause.SERVICE else "fault"
        if failure.code != "KA-STORE" or not _told_of_the_files():
            yield failed(check, level, failure)
    else:
        yield _plan(service, account, check)


def _waiting(account: Account, check: str, state: str, now: float) -> Finding:
    """Why an account takes no requests, and until when."""
    stated = _of_key(account, health.failure_of(account, now))
    level: Level = "fault" if state in ("suspended", "sign-in") else "warning"
    if state == "disabled":
        return Finding(check, level, stated.message, stated.next_step)
    what = replace(stated, next_step=None).sentence()
    return Finding(check, level, f"{state}: {what}", stated.next_step, code=stated.code)


def _of_key(account: Account, failure: Failure) -> Failure:
    """The failure in the words for keys where the account is one and the key itself is refused."""
    ends = failure.until or failure.next_try
    refused = KINDS[account.kind].renewed_by is None and ends is None
    return rejected(failure, account.id) if refused else failure


def _told_of_the_files() -> bool:
    """Whether what could not be written is a matter of a folder, which `files` tells once."""
    return bool(unwritable(config_folder()) or unwritable(state_folder()))


def _lasting(account: Account, check: str) -> Iterator[Finding]:
    ends = (account.client_secret_expires_at or 0) / 1000
    days = (ends - time.time()) / 86400
    if ends and days < _SOON_DAYS:
        when = "has ended" if days <= 0 else f"ends in {days:.0f} days"
        yield Finding(check, "warning", f"its registration {when}.", "Sign in again: kiro-auth login")


def _plan(service: Parts, account: Account, check: str) -> Finding:
    row = service.store.snapshot().usage_rows().get(account.id, {})
    used, plan = share(row), row.get("plan") or "its plan"
    where = f"served in {account.service_region}, signed in at {account.region}"
    if used >= _NEARLY:
        return Finding(check, "warning", f"{used:.0%} of {plan} is used.", "kiro-auth usage says until when.")
    return Finding(check, "ok", f"works, {used:.0%} of {plan} used; {where}")
