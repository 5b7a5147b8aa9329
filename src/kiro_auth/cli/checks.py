"""What `kiro-auth doctor` looks at: one function a matter, each telling what it found and what to do.

Nothing here changes anything; a finding may hold what would mend it.  OpenCode's side is in opencode_checks.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from kiro_auth import __version__
from kiro_auth.cli import opencode_checks
from kiro_auth.cli.finding import Finding, Level
from kiro_auth.failures import Cause, Failure, KiroAuthError
from kiro_auth.kinds import KINDS

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.cli.service import Service
    from kiro_auth.config import Config

CLOCK_SECONDS: Final = 300.0
"""A machine whose clock differs by more should be told."""
_SOON_DAYS: Final = 7
_NEARLY: Final = 0.95


def of_this_machine(config: Config) -> Iterator[Finding]:
    """All that can be looked at without asking the service.  A look that fails is a finding itself."""
    from kiro_auth.folders import config_folder, state_folder
    from kiro_auth.opencode.release import find_release

    yield from version()
    release = find_release()
    looks = {
        "configuration": configuration(config),
        "files": files(config_folder(), state_folder()),
        "plugin": opencode_checks.plugin(release),
        "opencode": opencode_checks.opencode(release),
        "catalogue": opencode_checks.catalogue(release),
        "gateway": gateway(state_folder()),
    }
    for check, look in looks.items():
        try:
            yield from look
        except OSError as error:
            what = f"{error.filename} cannot be read: {error.strerror}."
            yield Finding(check, "fault", what, "Check its owner and mode.")
        except KiroAuthError as error:
            yield Finding(check, "fault", error.failure.message, error.failure.next_step)


def version() -> Iterator[Finding]:
    """What runs here."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("version", "ok", f"kiro-auth {__version__} on Python {python}, {sys.platform}")


def configuration(config: Config) -> Iterator[Finding]:
    """Options that cannot be used or are not read, and which differ from their defaults."""
    from kiro_auth.config import unread_file
    from kiro_auth.options import OPTIONS

    unread = unread_file(Path())
    for problem in (*config.problems, *([unread] if unread else ())):
        yield Finding("configuration", "warning", problem.message, problem.next_step)
    own = [option.name for option in OPTIONS if getattr(config, option.name) != option.default]
    redirected = [f"endpoints.{role}" for role, urls in config.endpoints.items() if urls]
    if own or redirected:
        told = f"not as by default: {', '.join(own + redirected)} (kiro-auth config show)"
        yield Finding("configuration", "ok", told)
    elif not config.problems:
        yield Finding("configuration", "ok", "all options have their defaults")


def files(configuration: Path, state: Path) -> Iterator[Finding]:
    """Whether what must be kept can be written, and whether others on this machine could read the secrets."""
    from kiro_auth.store.files import ACCOUNTS

    for folder in (configuration, state):
        if reason := unwritable(folder):
            what = f"nothing can be written in {folder}: {reason}."
            yield Finding("files", "fault", what, "Check its owner, its mode, and that the disk has space.")
    path = configuration / ACCOUNTS
    if sys.platform == "win32" or not path.exists():
        return
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding(
            "files", "fault", f"others can read {path} (mode {mode:04o}).", f"chmod 600 {path}",
            lambda: path.chmod(0o600),
        )  # fmt: skip
    else:
        yield Finding("files", "ok", f"{path} is yours alone")


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written in a folder, or in the one that it would be made in; None if it can."""
    try:
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def gateway(folder: Path) -> Iterator[Finding]:
    """Whether what is announced is there."""
    from kiro_auth.cli.status import has_other_options
    from kiro_auth.gateway.calls import reach, trouble
    from kiro_auth.gateway.discovery import STATE_FILE

    found = reach(folder)
    path = folder / STATE_FILE
    mend = None if found.held else lambda: path.unlink(missing_ok=True)
    if wrong := trouble(found):
        yield Finding("gateway", "warning", wrong.message, wrong.next_step, mend)
    elif found.address is None:
        if not unwritable(folder):  # else it cannot be started, which is told of the files
            yield Finding("gateway", "ok", "not running; OpenCode starts it when needed")
    elif found.ours is None:
        what = f"{path} names a gateway that does not answer."
        yield Finding("gateway", "warning", what, f"Remove {path}.", mend)
    elif found.ours.version != __version__:
        remedy = "kiro-auth stop; the next request starts the new one."
        yield Finding("gateway", "warning", f"version {found.ours.version} still runs.", remedy)
    elif has_other_options(found.ours):
        what = "it was started with other options than kiro.json and the KIRO_ variables have now."
        yield Finding("gateway", "warning", what, "kiro-auth stop; the next request starts it anew.")
    else:
        yield Finding("gateway", "ok", f"running at {found.ours.url}")


async def accounts(service: Service, wrong_key: Failure | None) -> list[Finding]:
    """The accounts one by one: their state, their tokens, what the service says of them.

    `wrong_key` is what there is to say of a key in the environment that is none.
    """
    from kiro_auth.accounts.health import usable

    found: list[Finding] = []
    if wrong_key:
        found.append(Finding("accounts", "fault", wrong_key.message, wrong_key.next_step))
    try:
        known = service.pool.accounts()
        damaged = len(service.store.snapshot().accounts) - len(known)
    except KiroAuthError as error:
        return [*found, Finding("accounts", "fault", error.failure.message, error.failure.next_step)]
    if damaged:
        what = f"{damaged} records cannot be read."
        found.append(Finding("accounts", "warning", what, "Remove or correct them."))
    if not known and not wrong_key:
        remedy = "kiro-auth login, or kiro-auth accounts import for the sign-in of kiro-cli or Kiro's IDE."
        found.append(Finding("accounts", "fault", "nobody is signed in.", remedy))
    if known and all(account.state == "disabled" for account in known):
        remedy = "kiro-auth accounts enable NAME lets one take requests again."
        found.append(Finding("accounts", "fault", "all accounts are disabled.", remedy))
    for told in await asyncio.gather(*(_collected(_account(service, account)) for account in known)):
        found += told
    asked = any(usable(account, service.clock.now()) for account in known)
    return [*found, *_clock(service.clock.offset if asked else None)]


async def _collected(findings: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in findings]


def _clock(offset: float | None) -> Iterator[Finding]:
    """Whether this machine's clock agrees with the services', if one was asked."""
    if offset is None:
        return
    if abs(offset) > CLOCK_SECONDS:
        yield Finding(
            "clock", "warning", f"this machine's clock is off by {-offset / 60:+.0f} minutes.",
            "Let it be set by the network.",
        )  # fmt: skip
    else:
        yield Finding("clock", "ok", "agrees with the services'")


async def _account(service: Service, account: Account) -> AsyncIterator[Finding]:
    from kiro_auth.accounts import health

    check, now = f"account {account.name}", service.clock.now()
    state = health.effective(account, now)
    if state != "ready":
        yield _waiting(account, check, state, now)
        return  # it gets no requests, so the service is not asked
    for finding in _lasting(account, check):
        yield finding
    if KINDS[account.kind].needs_profile and not account.profile_arn:
        remedy = "Ask your administrator to assign a Kiro profile, then sign in again."
        yield Finding(check, "fault", "it has no Kiro profile.", remedy)
        return
    try:
        await service.read_usage(account)
    except KiroAuthError as error:
        failure = _of_key(account, error.failure)
        level: Level = "warning" if failure.cause is Cause.SERVICE else "fault"
        if failure.code != "KA-STORE" or not _told_of_the_files():
            yield Finding(check, level, failure.message, failure.next_step)
    else:
        yield _plan(service, account, check)


def _waiting(account: Account, check: str, state: str, now: float) -> Finding:
    """Why an account takes no requests, and until when."""
    from kiro_auth.accounts import health

    stated = _of_key(account, health.failure_of(account, now))
    level: Level = "fault" if state in ("suspended", "sign-in") else "warning"
    what = replace(stated, next_step=None).sentence()
    return Finding(check, level, what if state == "disabled" else f"{state}: {what}", stated.next_step)


def _of_key(account: Account, failure: Failure) -> Failure:
    """The failure in the words for keys where the account is one and the key itself is refused."""
    from kiro_auth.login.api_key import rejected

    refused = KINDS[account.kind].renewed_by is None and failure.until is None
    return rejected(failure, account.id) if refused else failure


def _told_of_the_files() -> bool:
    """Whether what could not be written is a matter of a folder, which `files` tells once."""
    from kiro_auth.folders import config_folder, state_folder

    return bool(unwritable(config_folder()) or unwritable(state_folder()))


def _lasting(account: Account, check: str) -> Iterator[Finding]:
    ends = (account.client_secret_expires_at or 0) / 1000
    days = (ends - time.time()) / 86400
    if ends and days < _SOON_DAYS:
        when = "has ended" if days <= 0 else f"ends in {days:.0f} days"
        yield Finding(check, "warning", f"its registration {when}.", "Sign in again: kiro-auth login")


def _plan(service: Service, account: Account, check: str) -> Finding:
    from kiro_auth.accounts.strategies import share

    row = service.store.snapshot().usage_rows().get(account.id, {})
    used, plan = share(row), row.get("plan") or "its plan"
    where = f"served in {account.service_region}, signed in at {account.region}"
    if used >= _NEARLY:
        return Finding(check, "warning", f"{used:.0%} of {plan} is used.", "kiro-auth usage says until when.")
    return Finding(check, "ok", f"works, {used:.0%} of {plan} used; {where}")
