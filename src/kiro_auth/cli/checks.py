"""What `kiro-auth doctor` looks at: one function a matter, each telling what it found and what to do.

Nothing here changes anything; a finding may hold what would mend it.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from kiro_auth import __version__
from kiro_auth.failures import Cause, KiroAuthError

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.cli.service import Service
    from kiro_auth.config import Config

Level = Literal["ok", "warning", "fault"]

CLOCK_SECONDS: Final = 300.0
"""A machine whose clock differs by more should be told."""
_SOON_DAYS: Final = 7
_NEARLY: Final = 0.95
_DISABLED: Final = re.compile(r'"disabled_providers"\s*:\s*\[([^\]]*)\]')
_ENABLED: Final = re.compile(r'"enabled_providers"\s*:\s*\[([^\]]*)\]')
_START: Final = re.compile(r"const start = \(\) => (\[.*?\])")


class Finding(Struct, frozen=True):
    """One thing that was looked at.  `fix` mends it, where that is safe, and changes nothing else."""

    check: str
    level: Level
    message: str
    remedy: str | None = None
    fix: Callable[[], object] | None = None


def version() -> Iterator[Finding]:
    """What runs here."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("version", "ok", f"kiro-auth {__version__} on Python {python}, {sys.platform}")


def configuration(config: Config) -> Iterator[Finding]:
    """Options that cannot be used."""
    for problem in config.problems:
        yield Finding("configuration", "warning", problem.message, problem.next_step)
    if not config.problems:
        own = len(config.origins)
        yield Finding(
            "configuration", "ok", f"{own} options are set" if own else "all options have their defaults"
        )


def files(folder: Path) -> Iterator[Finding]:
    """Whether others on this machine could read the secrets."""
    from kiro_auth.store.files import ACCOUNTS

    path = folder / ACCOUNTS
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


def plugin(folder: Path) -> Iterator[Finding]:
    """Whether OpenCode will load the plugin, and only this one."""
    from kiro_auth.cli.gateway import START
    from kiro_auth.opencode.install import configuration_files, install_shim, shim_path
    from kiro_auth.opencode.plugin_list import other_kiro_plugins

    path = shim_path(folder)
    others = other_kiro_plugins(configuration_files(folder))
    mend: Callable[[], object] = lambda: install_shim(folder, START)  # noqa: E731
    if not path.exists():
        for entry in others:
            remedy = "kiro-auth install opencode takes its place, unless it is this program's own package."
            yield Finding("plugin", "ok", f"{entry.file} loads {entry.name}. {remedy}")
        if not others and (folder.exists() or shutil.which("opencode")):
            yield Finding(
                "plugin", "warning", "OpenCode has no Kiro plugin.", "kiro-auth install opencode", mend
            )
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    if gone := _interpreter_that_is_gone(text):
        yield Finding(
            "plugin", "fault", f"the plugin starts {gone}, which is gone.", "kiro-auth install opencode", mend
        )
    elif f"OpenCode plugin {__version__} " not in text:
        yield Finding(
            "plugin", "warning", "the plugin is of another version.", "kiro-auth install opencode", mend
        )
    else:
        yield Finding("plugin", "ok", f"{path} is in order")
    for entry in others:
        remedy = "kiro-auth install opencode takes it out, and keeps a copy."
        yield Finding("plugin", "warning", f"{entry.file} loads {entry.name} as well.", remedy)
    yield from _hidden(folder)


def _interpreter_that_is_gone(text: str) -> str | None:
    import msgspec

    found = _START.search(text)
    try:
        program = str(msgspec.json.decode(found[1])[0]) if found else ""
    except (msgspec.DecodeError, IndexError, KeyError):
        return None
    return program if program and not shutil.which(program) else None


def _hidden(folder: Path) -> Iterator[Finding]:
    """Settings of OpenCode that keep the provider out."""
    from kiro_auth.opencode.install import configuration_files

    for file in configuration_files(folder):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        disabled, enabled = _DISABLED.search(text), _ENABLED.search(text)
        if (disabled and '"kiro"' in disabled[1]) or (enabled and '"kiro"' not in enabled[1]):
            which = "disabled" if disabled and '"kiro"' in disabled[1] else "enabled"
            what = f"{which}_providers in {file} hides the provider kiro."
            yield Finding("plugin", "fault", what, f"Correct {file}.")


def gateway(folder: Path) -> Iterator[Finding]:
    """Whether what is announced is there."""
    from kiro_auth.cli.status import alive, has_other_options
    from kiro_auth.gateway.discovery import STATE_FILE, find

    address = find(folder)
    path = folder / STATE_FILE
    if address is None:
        yield Finding("gateway", "ok", "not running; OpenCode starts it when needed")
    elif not alive(address.url, address.key):
        yield Finding(
            "gateway", "warning", f"{path} names a gateway that does not answer.", f"Remove {path}.",
            lambda: path.unlink(missing_ok=True),
        )  # fmt: skip
    elif address.version != __version__:
        remedy = "kiro-auth stop; the next request starts the new one."
        yield Finding("gateway", "warning", f"version {address.version} still runs.", remedy)
    elif has_other_options(address):
        found = "it was started with other options than kiro.json and the KIRO_ variables have now."
        yield Finding("gateway", "warning", found, "kiro-auth stop; the next request starts it anew.")
    else:
        yield Finding("gateway", "ok", f"running at {address.url}")


async def accounts(service: Service) -> AsyncIterator[Finding]:
    """The accounts one by one: their state, their tokens, what the service says of them."""
    try:
        known = service.pool.accounts()
    except KiroAuthError as error:
        yield Finding("accounts", "fault", error.failure.message, error.failure.next_step)
        return
    damaged = len(service.store.accounts()) - len(known)
    if damaged:
        yield Finding("accounts", "warning", f"{damaged} records cannot be read.", "Remove or correct them.")
    if not known:
        remedy = "kiro-auth login, or kiro-auth accounts import for the sign-in of kiro-cli or Kiro's IDE."
        yield Finding("accounts", "fault", "nobody is signed in.", remedy)
    for account in known:
        async for finding in _account(service, account):
            yield finding
    offset = service.clock.offset
    if abs(offset) > CLOCK_SECONDS:
        yield Finding(
            "clock", "warning", f"this machine's clock is off by {-offset / 60:+.0f} minutes.",
            "Let it be set by the network.",
        )  # fmt: skip
    elif known:
        yield Finding("clock", "ok", "agrees with the services'")


async def _account(service: Service, account: Account) -> AsyncIterator[Finding]:
    from kiro_auth.accounts import health

    check, now = f"account {account.name}", service.clock.now()
    state = health.effective(account, now)
    if state != "ready":
        stated = health.failure_of(account, now)
        level: Level = "fault" if state in ("suspended", "sign-in") else "warning"
        yield Finding(check, level, f"{state}: {stated.message}", stated.next_step)
        if state in ("suspended", "sign-in", "disabled"):
            return  # the service is not asked about those
    for finding in _lasting(account, check):
        yield finding
    if account.kind in ("idc", "external-idp") and not account.profile_arn:
        remedy = "Ask your administrator to assign a Kiro profile, then sign in again."
        yield Finding(check, "fault", "it has no Kiro profile.", remedy)
        return
    try:
        await service.read_usage(account)
    except KiroAuthError as error:
        level = "warning" if error.failure.cause is Cause.SERVICE else "fault"
        yield Finding(check, level, error.failure.message, error.failure.next_step)
    else:
        yield _plan(service, account, check)


def _lasting(account: Account, check: str) -> Iterator[Finding]:
    ends = (account.client_secret_expires_at or 0) / 1000
    days = (ends - time.time()) / 86400
    if ends and days < _SOON_DAYS:
        when = "has ended" if days <= 0 else f"ends in {days:.0f} days"
        yield Finding(check, "warning", f"its registration {when}.", "Sign in again: kiro-auth login")


def _plan(service: Service, account: Account, check: str) -> Finding:
    from kiro_auth.accounts.strategies import share

    row = service.store.usage().get(account.id, {})
    used, plan = share(row), row.get("plan") or "its plan"
    where = f"served in {account.service_region}, signed in at {account.region}"
    if used >= _NEARLY:
        return Finding(check, "warning", f"{used:.0%} of {plan} is used.", "kiro-auth usage says until when.")
    return Finding(check, "ok", f"works, {used:.0%} of {plan} used; {where}")
