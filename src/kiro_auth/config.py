"""Every option: its name, default and range; where values come from; where files are.

An option is read from the environment (`KIRO_<OPTION>`), else from the user's `kiro.json`, else it has its
default.  A value that cannot be used is refused by name and the next source counts; the rest of the file
still holds.  There is one gateway for all of a user's projects, so no project has options of its own.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from kiro_auth.failures import ConfigFailed, Failure

_SHOWN: Final = 60
"""Characters of a value that cannot be used; more would hide what is said about it."""
REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+")
_PROFILE_ARN: Final = re.compile(r"arn:aws[a-z-]*:[a-z]+:[a-z0-9-]+:[0-9]*:profile/.+")
STRATEGIES: Final = ("sticky", "round-robin", "lowest-usage")
FILE: Final = "kiro.json"
PROJECT_FILE: Final = f".opencode/{FILE}"
"""Where the original plugin reads a project's own options."""
ROLES: Final = ("runtime", "management", "oidc", "desktop_auth", "external_idp")
CREDENTIAL_KINDS: Final = ("builder-id", "idc", "social", "external-idp", "api-key")


class Kind(Struct, frozen=True):
    """What values an option takes: in words, as JSON Schema, and as a check.

    `check` turns a decoded JSON value into the value used, or raises ValueError saying what is allowed.
    `read` makes a JSON value of a variable's text, or leaves it as it is.
    """

    allowed: str
    schema: Mapping[str, Any]
    check: Callable[[Any], Any]
    read: Callable[[str], Any] = str


class Option(Struct, frozen=True):
    """One option."""

    name: str
    default: Any
    kind: Kind
    help: str
    other_name: str = ""
    """What later versions of the original call it in their file, where that differs."""

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "KIRO_" + self.name.upper()


def _whole(low: int, high: int) -> Kind:
    allowed = f"a whole number from {low} to {high}"

    def read(text: str) -> Any:
        return int(text) if re.fullmatch(r"-?\d{1,12}", text) else text

    def check(value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "integer", "minimum": low, "maximum": high}, check, read)


def _choice(*words: str) -> Kind:
    allowed = "one of " + ", ".join(words)

    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(allowed)
        return str(value)

    return Kind(allowed, {"enum": list(words)}, check)


def _switch() -> Kind:
    words = {"1": True, "true": True, "0": False, "false": False}

    def read(text: str) -> Any:
        return words.get(text.lower(), text)

    def check(value: Any) -> bool:
        if value is not True and value is not False:
            raise ValueError("true or false")
        return value

    return Kind("true or false", {"type": "boolean"}, check, read)


def _region() -> Kind:
    allowed = "an AWS region such as us-east-1"

    def check(value: Any) -> str:
        if not isinstance(value, str) or not REGION.fullmatch(value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "string", "pattern": f"^{REGION.pattern}$"}, check)


def _profile_arn() -> Kind:
    allowed = "the ARN of a Kiro profile"

    def check(value: Any) -> str:
        if not isinstance(value, str) or not _PROFILE_ARN.fullmatch(value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "string", "pattern": f"^{_PROFILE_ARN.pattern}$"}, check)


def _text(pattern: str, allowed: str) -> Kind:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "string", "pattern": f"^{pattern}$"}, check)


def _words(*words: str) -> Kind:
    allowed = "a list of " + ", ".join(words)

    def check(value: Any) -> list[str]:
        if not isinstance(value, list) or any(entry not in words for entry in value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "array", "items": {"enum": list(words)}}, check)


def _template() -> Kind:
    allowed = "an https URL (http only for this machine), in which {region} alone is replaced"

    def check(value: Any) -> str:
        url = value.replace("{region}", "us-east-1") if isinstance(value, str) else ""
        if not acceptable_url(url) or "{" in url or "}" in url:
            raise ValueError(allowed)
        return str(value)

    return Kind(allowed, {"type": "string", "pattern": r"^https?://([^{}]|\{region\})+$"}, check)


def _https_url() -> Kind:
    allowed = "an https URL (http only for this machine)"

    def check(value: Any) -> str:
        if not isinstance(value, str) or not acceptable_url(value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "string", "pattern": "^https?://"}, check)


def acceptable_url(url: str) -> bool:
    """Whether secrets may travel to this URL: https, or plain http to a loopback address."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return False
    if parts.username is not None or not host:
        return False
    loopback = host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))
    return parts.scheme == "https" or (parts.scheme == "http" and loopback)


OPTIONS: Final[tuple[Option, ...]] = (
    Option("account_selection_strategy", "lowest-usage", _choice(*STRATEGIES),
            "Which account takes a new conversation."),
    Option("default_region", "us-east-1", _region(), "The region of a sign-in that names none."),
    Option("rate_limit_retry_delay_ms", 5000, _whole(1000, 60000),
            "The longest first wait after a rate limit; it doubles each time, and a random part is waited."),
    Option("rate_limit_max_retries", 3, _whole(0, 10), "How often a rate-limited request is tried again."),
    Option("max_request_iterations", 100, _whole(10, 1000),
            "How many calls to the service one request may cause, whatever happens."),
    Option("request_timeout_ms", 300_000, _whole(60_000, 600_000),
            "The longest wait for the first word, over all attempts; then the longest silence of the "
            "service, and of a client that takes nothing."),
    Option("token_expiry_buffer_ms", 120_000, _whole(30_000, 300_000),
            "How long before its end an access token is renewed."),
    Option("usage_sync_max_retries", 3, _whole(0, 5), "How often reading the usage is tried again."),
    Option("auth_server_port_start", 19847, _whole(1024, 65535),
           "The first port that is tried for the page that shows a sign-in."),
    Option("auth_server_port_range", 10, _whole(1, 100), "How many ports are tried for that page."),
    Option("usage_tracking_enabled", True, _switch(), "Read the accounts' usage from the service."),
    Option("enable_log_api_request", False, _switch(),
            "Note every request in requests.jsonl of the state folder, without its words and secrets."),
    Option("sso_start_url", None, _https_url(), "Your organisation's start URL for IAM Identity Center.",
           "idc_start_url"),
    Option("sso_region", None, _region(), "The region of your organisation's IAM Identity Center.",
           "idc_region"),
    Option("sso_profile_arn", None, _profile_arn(),
           "The Kiro profile to use where your organisation gave you several.", "idc_profile_arn"),
    Option("toast_level", "all", _choice("all", "warnings", "none"),
           "What OpenCode's windows show by themselves: figures and warnings, warnings alone, or nothing."),
    Option("max_concurrent_per_account", 4, _whole(1, 100),
            "How many requests one account serves at a time; more wait or go to another account."),
)  # fmt: skip

ENDPOINT: Final[Mapping[str, Kind]] = {
    "url": _template(),
    "protocol": _choice("rest", "rpc"),
    "target_prefix": _text(r"[\w.]*", "the name of a service"),
    "path": _text("/.*", "a text that begins with /"),
    "origin": _text(r"\w*", "one word"),
    "kinds": _words(*CREDENTIAL_KINDS),
}
"""What an entry of `endpoints` may say, where it is not only the URL."""

WITHOUT_EFFECT: Final = (
    "auto_sync_kiro_cli",
    "builder_id_start_url",
    "image_carry_forward",
)
"""Options of the original that mean nothing here; its files are taken as they are, so nothing is said."""


USAGE_TOASTS: Final = "usage_toast_enabled"
"""The original's switch for figures; false is our `toast_level` warnings."""


class Config(Struct, frozen=True, kw_only=True):
    """The values in force.  Times are milliseconds."""

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
    toast_level: str
    max_concurrent_per_account: int
    endpoints: Mapping[str, tuple[str | Mapping[str, Any], ...]] = {}
    """Role to URL templates or objects, as the user wrote them; empty for a role: the built-in table."""
    problems: tuple[Failure, ...] = ()
    """Values that were refused, each KA-CONFIG."""
    origins: Mapping[str, str] = {}
    """Where each option's value comes from: a file, a variable; one that is not there has its default."""


def load(*, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Config:
    """Read all sources.  Never raises for a bad value: it is in `problems`."""
    environment = os.environ if environment is None else environment
    problems: list[Failure] = []
    path = (folder or config_folder(environment)) / FILE
    file = _in_our_words(_read(path, problems))
    problems += _unknown(path, file)
    found = {option.name: _value(option, environment, path, file, problems) for option in OPTIONS}
    return Config(
        **{name: value for name, (value, _) in found.items()},
        endpoints={role: _endpoints(role, environment, path, file, problems) for role in ROLES},
        problems=tuple(problems),
        origins={name: origin for name, (_, origin) in found.items() if origin},
    )


def _read(path: Path, problems: list[Failure]) -> Mapping[str, Any]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        problems.append(_problem(f"{path} cannot be read: {error.strerror}.", "Make it readable for you."))
        return {}
    try:
        found = msgspec.json.decode(text) if text.strip() else {}
    except (ValueError, RecursionError):  # bad UTF-8 is a ValueError that is not msgspec's
        found = _read_with_comments(path, text, problems)
    if not isinstance(found, dict):
        problems.append(_problem(f"{path} must hold one JSON object.", f"Correct {path}."))
        return {}
    return found


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
    problems.append(_problem(f"{path} {reason}.", f"Correct {path}; its options are not used."))
    return {}


def _in_our_words(file: Mapping[str, Any]) -> Mapping[str, Any]:
    """The file with what the original says by another option; what is said by ours counts."""
    rest = {name: value for name, value in file.items() if name != USAGE_TOASTS}
    return rest if file.get(USAGE_TOASTS) is not False else {"toast_level": "warnings", **rest}


def _unknown(path: Path, file: Mapping[str, Any]) -> Iterator[Failure]:
    """Names that no option and no endpoint has, mostly misspelt ones."""
    options = {option.name for option in OPTIONS} | {"endpoints"}
    silent = {option.other_name for option in OPTIONS} | {"$schema", *WITHOUT_EFFECT}
    for name in sorted(file.keys() - options - silent):
        yield _no_option(f"{name} in {path}", name, options, "kiro-auth config show lists the options.")
    endpoints = file.get("endpoints", {})
    if not isinstance(endpoints, dict):
        yield _refused(f"endpoints in {path}", endpoints, "an object of roles and their addresses")
        return
    for name in sorted(endpoints.keys() - set(ROLES)):
        yield _no_option(f"endpoints.{name} in {path}", name, ROLES)


def _value(
    option: Option,
    environment: Mapping[str, str],
    path: Path,
    file: Mapping[str, Any],
    problems: list[Failure],
) -> tuple[Any, str | None]:
    """The value, and where it comes from."""
    candidates: list[tuple[str, str, Any]] = []
    if environment.get(option.variable, "").strip():
        text = environment[option.variable].strip()
        candidates.append((option.variable, option.variable, option.kind.read(text)))
    names = (name for name in (option.name, option.other_name) if name in file)
    candidates += [(f"{name} in {path}", str(path), file[name]) for name in names]
    for where, origin, raw in candidates:
        if raw is None and option.default is None:
            continue
        try:
            return option.kind.check(raw), origin
        except ValueError as error:
            problems.append(_refused(where, raw, str(error)))
    return option.default, None


def _endpoints(
    role: str,
    environment: Mapping[str, str],
    path: Path,
    file: Mapping[str, Any],
    problems: list[Failure],
) -> tuple[str | Mapping[str, Any], ...]:
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
            wrong = [_refused(f"{name}{place}", raw, "at least one address")]
        if not wrong:
            return tuple(entries)
        problems += wrong
    return ()


def _wrong_endpoint(name: str, place: str, entry: Any) -> Iterator[Failure]:
    """What cannot be used of one entry: a URL, or an object with one."""
    if not isinstance(entry, dict):
        yield from _wrong_value(f"{name}{place}", ENDPOINT["url"], entry)
        return
    if "url" not in entry:
        yield _problem(f"{name}{place} has no url.", f"Correct {name}{place}.")
    for key, value in entry.items():
        if key in ENDPOINT:
            yield from _wrong_value(f"{name}.{key}{place}", ENDPOINT[key], value)
        else:
            yield _no_option(f"{name}.{key}{place}", key, ENDPOINT)


def _wrong_value(where: str, kind: Kind, value: Any) -> Iterator[Failure]:
    try:
        kind.check(value)
    except ValueError as error:
        yield _refused(where, value, str(error))


def _refused(where: str, value: Any, allowed: str) -> Failure:
    shown = msgspec.json.encode(value).decode()
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return _problem(f"{where} is {shown}, but must be {allowed}.", f"Correct {where}.")


def unread_file(folder: Path) -> Failure | None:
    """What there is to say of a project's own options in `folder`, which this program does not read."""
    path = (folder / PROJECT_FILE).absolute()
    if not path.is_file():
        return None
    return _problem(
        f"{path} is not read: there is one gateway for all projects.",
        f"Put its options into {config_folder() / FILE}.",
    )


def _no_option(where: str, name: str, names: Iterable[str], listed: str = "") -> Failure:
    import difflib  # for misspelt ones alone

    near = difflib.get_close_matches(name, names, n=1)
    remedy = f"Did you mean {near[0]}?" if near else listed or f"There are {', '.join(names)}."
    return _problem(f"{where} is no option.", remedy)


def _problem(message: str, next_step: str) -> Failure:
    return Failure(code="KA-CONFIG", message=message, next_step=next_step)


def region(value: str) -> str:
    """`value` if it has the form of an AWS region.  Raises ConfigFailed, so that no text becomes a host."""
    if not REGION.fullmatch(value):
        raise ConfigFailed(_problem(f"{value!r} is not an AWS region.", "Name one such as us-east-1."))
    return value


# ------------------------------------------------------------------------------------------ folders
# The shim in opencode/shim.js follows the same three rules; keep them alike.


def config_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the original plugin keeps its files: OpenCode's own configuration folder."""
    if sys.platform == "win32":
        base = environment.get("APPDATA") or str(Path.home() / "AppData" / "Roaming")
    else:
        base = environment.get("XDG_CONFIG_HOME") or str(_home(environment) / ".config")
    return Path(base) / "opencode"


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the gateway says where it listens, and keeps locks and logs."""
    if sys.platform == "win32":
        base = environment.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = environment.get("XDG_STATE_HOME") or str(_home(environment) / ".local" / "state")
    return Path(base) / "kiro-auth"


def _home(environment: Mapping[str, str]) -> Path:
    home = environment.get("HOME")
    return Path(home) if home else Path.home()
