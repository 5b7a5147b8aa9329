"""The values in force, and where they come from.

An option is read from the environment (`KIRO_<OPTION>`), else from the user's `kiro.json`, else it has its
default.  A value that cannot be used is refused by name and the next source counts; the rest of the file
still holds.  There is one gateway for all of a user's projects, so no project has options of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from kiro_auth.config_problems import near_names, no_option, problem, refused, unfit
from kiro_auth.failures import Failure
from kiro_auth.folders import config_folder, this_machine
from kiro_auth.json_values import NotJson, decoded, unmarked
from kiro_auth.option_kinds import Kind
from kiro_auth.options import ENDPOINT, OPTIONS, ROLES, USAGE_TOASTS, WITHOUT_EFFECT, Option
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import Unusable, read_file

FILE: Final = "kiro.json"
PROJECT_FILE: Final = f".opencode/{FILE}"
"""Where the original plugin reads a project's own options."""


class Config(Struct, kw_only=True):
    """The values in force.  Times are milliseconds.

    They may become others while a gateway runs (`adopt`): whoever needs one reads it when it is needed.
    """

    account_selection_strategy: str
    default_region: str
    rate_limit_retry_delay_ms: int
    rate_limit_max_retries: int
    max_request_iterations: int
    request_timeout_ms: int
    token_expiry_buffer_ms: int
    usage_sync_max_retries: int
    auth_server_port_start: int
    auth_server_port_range: int
    usage_tracking_enabled: bool
    enable_log_api_request: bool
    sso_start_url: str | None
    sso_region: str | None
    sso_profile_arn: str | None
    store: str
    secrets: str
    ledger: bool
    ledger_projects: bool
    budgets: Mapping[Any, float]
    share_accounts: bool
    reserve: int
    wait_for_reset: int
    thrift: bool
    toast_credits: bool
    model_rates: bool
    toast_level: str
    max_concurrent_per_account: int
    drain_seconds: int
    grace_seconds: int
    tls_cert: str | None
    tls_key: str | None
    trusted_proxies: Sequence[str]
    allow_host: Sequence[str]
    allow_origin: Sequence[str]
    model_aliases: Mapping[str, str]
    model_fallback: Sequence[Mapping[str, Any]]
    metrics_access: str
    dashboard_oidc: Mapping[str, Any] | None
    update_check: bool
    update_index: str | None
    endpoints: Mapping[str, tuple[str | Mapping[str, Any], ...]] = {}
    """Role to URL templates or objects, as the user wrote them; empty for a role: the built-in table."""
    unknown_endpoints: Mapping[str, Failure] = {}
    """Role to why its addresses are not known: nothing may be sent to the built-in ones in their place."""
    problems: tuple[Failure, ...] = ()
    """Values that were refused, each KA-CONFIG."""
    unknown_store: Failure | None = None
    """Why it is not known where accounts or their tokens are kept: the files are not used in their place."""
    origins: Mapping[str, str] = {}
    """Where each option's value comes from: a file, a variable; one that is not there has its default."""

    without_given: Mapping[str, Any] = {}
    """Of options that the command line sets for one gateway: the values that all other programs go by."""

    def adopt(self, other: Config, names: Iterable[str]) -> None:
        """Have the other's values of these options."""
        self.without_given = other.without_given
        origins = {**self.origins}
        for name in names:
            setattr(self, name, getattr(other, name))
            origins.pop(name, None)
            if name in other.origins:
                origins[name] = other.origins[name]
        self.origins = origins


def load(
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Config:
    """Read all sources.  Never raises for a bad value: it is in `problems`.

    `given` are values of the command line, by option: they count first.
    """
    environment = os.environ if environment is None else environment
    problems: list[Failure] = []
    path = (folder or config_folder(this_machine(environment))) / FILE
    file = _in_our_words(_read(path, problems))
    hidden = next(iter(problems), None)  # whatever the file says of endpoints
    for failure, of_endpoints in _unknown(path, file):
        problems.append(failure)
        hidden = failure if of_endpoints and hidden is None else hidden
    values = {option.name: _value(option, environment, path, file, problems, given) for option in OPTIONS}
    without_given = {
        option.name: _value(option, environment, path, file, [])[0]
        for option in OPTIONS
        if option.name in given
    }
    unknown_store = _unknown_store(environment, path, file, values)
    endpoints, unknown = {}, {}
    for role in ROLES:
        endpoints[role], wrong = _endpoints(role, environment, path, file)
        problems += wrong
        if not endpoints[role] and (why := next(iter(wrong), hidden)):
            unknown[role] = _nothing_sent(why)
    problems += _contradictions(values)
    return Config(
        **{name: value for name, (value, _) in values.items()},
        endpoints=endpoints,
        unknown_endpoints=unknown,
        problems=tuple(problems),
        unknown_store=unknown_store,
        origins={name: origin for name, (_, origin) in values.items() if origin},
        without_given=without_given,
    )


def _read(path: Path, problems: list[Failure]) -> Mapping[str, Any]:
    try:
        text = read_file(path)
    except FileNotFoundError:
        if path.is_symlink():
            there = os.path.realpath(path)
            problems.append(problem(f"{path} is a link to {there}, which is not there.", "Mend the link."))
        return {}
    except OSError as error:
        is_no_file = isinstance(error, Unusable)
        remedy = f"Move away what is at {path}." if is_no_file else "Make it readable for you."
        problems.append(problem(f"{path} cannot be read: {reason(error)}.", remedy))
        return {}
    try:
        content = decoded(text) if unmarked(text).strip() else {}
    except NotJson:
        content = _read_with_comments(path, text, problems)
    if not isinstance(content, dict):
        problems.append(problem(f"{path} must hold one JSON object.", f"Correct {path}."))
        return {}
    return content


def _read_with_comments(path: Path, text: bytes, problems: list[Failure]) -> Any:
    import json5  # only for files that need it

    try:
        return json5.loads(text.decode())
    except UnicodeDecodeError:
        reason = "is not UTF-8 text"
    except RecursionError:
        reason = "is nested too deeply"
    except ValueError as error:  # `<string>:3 Unexpected "}" at column 9`
        place = re.match(r"<string>:(\d+) .* at column (\d+)", str(error), re.DOTALL)
        reason = f"is not JSON: see line {place[1]}, column {place[2]}" if place else "is not JSON"
    problems.append(problem(f"{path} {reason}.", f"Correct {path}; its options are not used."))
    return {}


def _in_our_words(file: Mapping[str, Any]) -> Mapping[str, Any]:
    """The file with what the original says by another option; what is said by ours counts."""
    rest = {name: value for name, value in file.items() if name != USAGE_TOASTS}
    return rest if file.get(USAGE_TOASTS) is not False else {"toast_level": "warnings", **rest}


def _unknown(path: Path, file: Mapping[str, Any]) -> Iterator[tuple[Failure, bool]]:
    """Names that no option and no endpoint has, mostly misspelt ones; and whether they may mean endpoints."""
    options = {option.name for option in OPTIONS} | {"endpoints"}
    silent = {option.other_name for option in OPTIONS} | {"$schema", *WITHOUT_EFFECT}
    for name in sorted(file.keys() - options - silent):
        failure = no_option(f"{name} in {path}", name, options, "kiro-auth config show lists the options.")
        yield failure, near_names(name, options) == ["endpoints"]
    endpoints = file.get("endpoints", {})
    if not isinstance(endpoints, dict):
        yield refused(f"endpoints in {path}", endpoints, "an object of roles and their addresses"), True
        return
    for name in sorted(endpoints.keys() - set(ROLES)):
        yield no_option(f"endpoints.{name} in {path}", name, ROLES), True


def _value(
    option: Option,
    environment: Mapping[str, str],
    path: Path,
    file: Mapping[str, Any],
    problems: list[Failure],
    given: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Any, str | None]:
    """The value, and where it comes from."""
    candidates: list[tuple[str, str, Any]] = []
    if option.name in given:
        candidates.append((f"{option.name} of the command line", "the command line", given[option.name]))
    if environment.get(option.variable, "").strip():
        text = environment[option.variable].strip()
        if text == text.encode(errors="ignore").decode():
            candidates.append((option.variable, option.variable, option.kind.read(text)))
        else:  # bytes that are no text are told as halves of characters
            problems.append(refused(option.variable, text, option.kind.allowed))
    names = (name for name in (option.name, option.other_name) if name in file)
    candidates += [(f"{name} in {path}", str(path), file[name]) for name in names]
    for where, origin, raw in candidates:
        if raw is None and option.default is None:
            continue
        try:
            folder = str(path.absolute().parent) if origin == str(path) else None
            return option.kind.settled(option.kind.check(raw), folder), origin
        except ValueError as error:
            wrong = refused(where, raw, str(error))
            problems.append(unfit(where, str(error)) if option.kind.names_people else wrong)
    return option.default, None


def _unknown_store(
    environment: Mapping[str, str],
    path: Path,
    file: Mapping[str, Any],
    values: Mapping[str, tuple[Any, str | None]],
) -> Failure | None:
    """What is wrong with the values that say where accounts and their tokens are, if anything is."""
    problems: list[Failure] = []
    for option in OPTIONS:
        if option.name in ("store", "secrets") and values[option.name][1] is None:
            _value(option, environment, path, file, problems)
    return next(iter([*problems, *_two_stores(values)]), None)


def _two_stores(values: Mapping[str, tuple[Any, str | None]]) -> Iterator[Failure]:
    (store, _), (secrets, source) = values["store"], values["secrets"]
    if store != "files" and secrets != "files":
        message = f"secrets of {source} is {secrets}, but store names a database, which keeps tokens itself."
        yield problem(message, "Leave out secrets, or store.")


def _contradictions(values: Mapping[str, tuple[Any, str | None]]) -> Iterator[Failure]:
    """What two options together do not do, though each alone may be so."""
    yield from _two_stores(values)
    budgets, source = values["budgets"]
    if budgets and not values["ledger"][0]:
        message = f"The budgets of {source} count from each start of the gateway on, because ledger is false."
        yield problem(message, "Leave the ledger on, so that they count whole days.")
    if "project" in budgets and not values["ledger_projects"][0]:
        message = f"budgets.project of {source} counts nothing, because ledger_projects is false."
        yield problem(message, "Leave ledger_projects on, or budgets.project out.")


def _endpoints(
    role: str, environment: Mapping[str, str], path: Path, file: Mapping[str, Any]
) -> tuple[tuple[str | Mapping[str, Any], ...], list[Failure]]:
    """The addresses of a role, and what is wrong with those that are not used."""
    problems: list[Failure] = []
    variable = f"KIRO_ENDPOINT_{role.upper()}"
    candidates: list[tuple[str, str, Any]] = []
    if environment.get(variable, "").strip():
        candidates.append((variable, "", environment[variable].split()))
    table = file.get("endpoints")
    if isinstance(table, dict) and role in table:
        candidates.append((f"endpoints.{role}", f" in {path}", table[role]))
    for name, place, raw in candidates:
        entries = raw if isinstance(raw, list) else [raw]
        wrong = [failure for entry in entries for failure in _wrong_endpoint(name, place, entry)]
        if not entries:
            wrong = [refused(f"{name}{place}", raw, "at least one address")]
        if not wrong:
            return tuple(entries), problems
        problems += wrong
    return (), problems


def _nothing_sent(why: Failure) -> Failure:
    """The service has public addresses, and yours may be meant to keep your tokens from them."""
    message = f"{why.message} Nothing is sent to the public addresses in place of what may be named there."
    return problem(message, f"{why.next_step} Then: kiro-auth stop")


def _wrong_endpoint(name: str, place: str, entry: Any) -> Iterator[Failure]:
    """What cannot be used of one entry: a URL, or an object with one."""
    if not isinstance(entry, dict):
        yield from _wrong_value(f"{name}{place}", ENDPOINT["url"], entry)
        return
    if "url" not in entry:
        yield problem(f"{name}{place} has no url.", f"Correct {name}{place}.")
    for key, value in entry.items():
        if key in ENDPOINT:
            yield from _wrong_value(f"{name}.{key}{place}", ENDPOINT[key], value)
        else:
            yield no_option(f"{name}.{key}{place}", key, ENDPOINT)


def _wrong_value(where: str, kind: Kind, value: Any) -> Iterator[Failure]:
    try:
        kind.check(value)
    except ValueError as error:
        yield refused(where, value, str(error))


def unread_file(folder: Path) -> Failure | None:
    """What there is to say of a project's own options in `folder`, which this program does not read."""
    path = (folder / PROJECT_FILE).absolute()
    if not path.is_file():
        return None
    return problem(
        f"{path} is not read: there is one gateway for all projects.",
        f"Put its options into {config_folder() / FILE}.",
    )
