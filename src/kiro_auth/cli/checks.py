"""What `kiro-auth doctor` looks at: one function a matter, each telling what it found and what to do.

Nothing here changes anything; a finding may hold what would mend it.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from kiro_auth import __version__
from kiro_auth.failures import Cause, Failure, KiroAuthError
from kiro_auth.kinds import KINDS
from kiro_auth.launch import start_command

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
_COMMENT: Final = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LAST_COMMA: Final = re.compile(r'("(?:\\.|[^"\\\n])*")|,(?=\s*[}\]])')
_PUT_IN: Final = re.compile(r"\{(?:env|file):[^}]*\}")
"""What OpenCode replaces before it reads the text as JSON."""
_START: Final = re.compile(r"const start = \(\) => (\[.*?\])")


class Finding(Struct, frozen=True):
    """One thing that was looked at.  `fix` mends it, where that is safe, and changes nothing else."""

    check: str
    level: Level
    message: str
    remedy: str | None = None
    fix: Callable[[], object] | None = None


def of_this_machine(config: Config) -> Iterator[Finding]:
    """All that can be looked at without asking the service.  A look that fails is a finding itself."""
    from kiro_auth.folders import config_folder, opencode_folder, state_folder

    yield from version()
    looks = {
        "configuration": configuration(config),
        "files": files(config_folder(), state_folder()),
        "plugin": plugin(opencode_folder()),
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


def plugin(folder: Path) -> Iterator[Finding]:
    """Whether OpenCode will load the plugin, and only this one."""
    from kiro_auth.opencode.install import configuration_files, has_shim, other_kiro_files
    from kiro_auth.opencode.plugin_list import other_kiro_plugins

    texts = {
        file: file.read_text(encoding="utf-8-sig", errors="replace")
        for file in configuration_files(folder)
        if file.is_file()
    }
    listed = other_kiro_plugins(list(texts))
    loaded = other_kiro_files(folder)
    if has_shim(folder):
        yield _shim(folder)
        for entry in listed:
            remedy = "kiro-auth install opencode takes it out, and keeps a copy."
            yield Finding("plugin", "warning", f"{entry.file} loads {entry.name} as well.", remedy)
        yield from _hidden(texts)
    else:
        for entry in listed:
            remedy = "kiro-auth install opencode takes its place, unless it is this program's own package."
            yield Finding("plugin", "ok", f"{entry.file} loads {entry.name}. {remedy}")
        yield from _no_shim(folder, used=bool(texts), replaced=bool(listed or loaded))
    for file in loaded:
        what = f"OpenCode loads {file}, which is called like another Kiro plugin."
        yield Finding("plugin", "warning", what, "If it is one, move it away.")
    yield from _broken(texts)


def _shim(folder: Path) -> Finding:
    """The plugin as it is written down."""
    from kiro_auth.opencode.install import install_shim, shim_path

    path, remedy = shim_path(folder), "kiro-auth install opencode"
    text = path.read_text(encoding="utf-8", errors="replace")
    mend: Callable[[], object] = lambda: install_shim(folder, start_command())  # noqa: E731
    if gone := _interpreter_that_is_gone(text):
        return Finding("plugin", "fault", f"the plugin starts {gone}, which is gone.", remedy, mend)
    if f"OpenCode plugin {__version__} " not in text:
        return Finding("plugin", "warning", "the plugin is of another version.", remedy, mend)
    return Finding("plugin", "ok", f"{path} is in order")


def _no_shim(folder: Path, *, used: bool, replaced: bool) -> Iterator[Finding]:
    """What is missing where OpenCode is `used`, unless another Kiro plugin has its place."""
    from kiro_auth.opencode.install import install_shim, shim_path

    remedy = "kiro-auth install opencode"
    if shim_path(folder).exists():
        what = f"{shim_path(folder)} was not written by this program, and is where its plugin belongs."
        yield Finding("plugin", "warning", what, f"Move it away, then: {remedy}")
    elif not replaced and (used or shutil.which("opencode")):
        yield Finding(
            "plugin",
            "warning",
            "OpenCode has no Kiro plugin.",
            remedy,
            lambda: install_shim(folder, start_command()),
        )


def _interpreter_that_is_gone(text: str) -> str | None:
    import msgspec

    found = _START.search(text)
    try:
        program = str(msgspec.json.decode(found[1])[0]) if found else ""
    except (msgspec.DecodeError, IndexError, KeyError):
        return None
    return program if program and not shutil.which(program) else None


def _hidden(texts: Mapping[Path, str]) -> Iterator[Finding]:
    """Settings of OpenCode that keep the provider out."""
    for file, commented in texts.items():
        text = _without_comments(commented)
        disabled, enabled = _DISABLED.search(text), _ENABLED.search(text)
        if (disabled and '"kiro"' in disabled[1]) or (enabled and '"kiro"' not in enabled[1]):
            which = "disabled" if disabled and '"kiro"' in disabled[1] else "enabled"
            what = f"{which}_providers in {file} hides the provider kiro."
            yield Finding("plugin", "fault", what, f"Correct {file}.")


def _broken(texts: Mapping[Path, str]) -> Iterator[Finding]:
    """Configuration that OpenCode cannot read."""
    for file, text in texts.items():
        try:
            json.loads(_without_comments(text) or "{}", strict=False)
        except json.JSONDecodeError as error:
            what = f"{file} is not JSON: see line {error.lineno}, column {error.colno}."
            yield Finding("plugin", "warning", what, f"Correct {file}.")


def _without_comments(text: str) -> str:
    """Plain JSON of what OpenCode takes, every character of it at its place."""
    text = _COMMENT.sub(lambda found: found[1] or re.sub(r"[^\n]", " ", found[0]), text)
    text = _LAST_COMMA.sub(lambda found: found[1] or " ", text)
    return _PUT_IN.sub(lambda found: "0".ljust(len(found[0])), text)


def gateway(folder: Path) -> Iterator[Finding]:
    """Whether what is announced is there."""
    from kiro_auth.cli.status import alive, has_other_options
    from kiro_auth.gateway.discovery import STATE_FILE, find

    address = find(folder)
    path = folder / STATE_FILE
    if address is None:
        if not unwritable(folder):  # else it cannot be started, which is told of the files
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
        damaged = len(service.store.accounts()) - len(known)
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

    row = service.store.usage().get(account.id, {})
    used, plan = share(row), row.get("plan") or "its plan"
    where = f"served in {account.service_region}, signed in at {account.region}"
    if used >= _NEARLY:
        return Finding(check, "warning", f"{used:.0%} of {plan} is used.", "kiro-auth usage says until when.")
    return Finding(check, "ok", f"works, {used:.0%} of {plan} used; {where}")
