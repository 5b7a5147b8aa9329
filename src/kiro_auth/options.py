"""The options of `kiro.json`: names, defaults, ranges, words; and what an entry of `endpoints` may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from kiro_auth.addresses import REGION, acceptable_url, is_network
from kiro_auth.json_values import NotJson, decoded
from kiro_auth.kinds import KINDS

KEY_VARIABLE: Final = "KIRO_API_KEY"
"""The environment variable whose key is an account of whatever process has it; it is never written down."""
_PROFILE_ARN: Final = r"arn:aws[a-z-]*:[a-z]+:[a-z0-9-]+:[0-9]*:profile/.+"
_HOST: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_NETWORK: Final = r"[0-9a-fA-F.:]+(/[0-9]+)?"
_NETWORKS: Final = "a list of addresses or networks such as 10.0.0.0/8"
_ORIGIN: Final = r"[a-z][a-z0-9+.-]*://[^/\s?#*,]*"
FALLBACK_CODES: Final = ("KA-MODEL", "KA-CAPACITY", "KA-OVERFLOW", "KA-CONVERSATION", "KA-SERVICE")
"""Failures for which another model may have an answer; not those of an account, or of the time there is."""
BUDGETS: Final = ("day", "session", "project", "key")
STRATEGIES: Final = ("sticky", "round-robin", "lowest-usage")
ROLES: Final = ("runtime", "management", "oidc", "desktop_auth", "external_idp")


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


def _text(pattern: str, allowed: str) -> Kind:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "string", "pattern": f"^{pattern}$"}, check)


def _region() -> Kind:
    return _text(REGION.pattern, "an AWS region such as us-east-1")


def _words(*words: str) -> Kind:
    allowed = "a list of " + ", ".join(words)

    def check(value: Any) -> list[str]:
        if not isinstance(value, list) or any(entry not in words for entry in value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "array", "items": {"enum": list(words)}}, check)


def _texts(pattern: str, allowed: str, holds: Callable[[str], bool] = bool) -> Kind:
    """A list of texts; in a variable they are separated by spaces or commas."""

    def check(value: Any) -> list[str]:
        texts = isinstance(value, list) and all(isinstance(entry, str) for entry in value)
        if not texts or not all(re.fullmatch(pattern, entry) and holds(entry) for entry in value):
            raise ValueError(allowed)
        return list(value)

    items = {"type": "string", "pattern": f"^{pattern}$"}
    return Kind(allowed, {"type": "array", "items": items}, check, lambda text: re.findall(r"[^\s,]+", text))


def _json(text: str) -> Any:
    """What a variable's text holds as JSON; the text itself where it is none."""
    try:
        return decoded(text)
    except NotJson:
        return text


def _aliases() -> Kind:
    allowed = "an object of names and the models they mean"

    def check(value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or not all(_is_name(name) for pair in value.items() for name in pair):
            raise ValueError(allowed)
        return dict(value)

    schema = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}
    return Kind(allowed, schema, check, _json)


def _budgets() -> Kind:
    allowed = f"an object with credits, above 0, for some of {', '.join(BUDGETS)}"

    def check(value: Any) -> dict[str, float]:
        known = isinstance(value, dict) and not value.keys() - set(BUDGETS)
        if not known or not all(map(_is_amount, value.values())):
            raise ValueError(allowed)
        return dict(value)

    amount = {"type": "number", "exclusiveMinimum": 0}
    schema = {"type": "object", "properties": dict.fromkeys(BUDGETS, amount), "additionalProperties": False}
    return Kind(allowed, schema, check, _json)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _fallback() -> Kind:
    allowed = f"a list of objects with model, on (some of {', '.join(FALLBACK_CODES)}) and use"
    name = {"type": "string", "minLength": 1}
    codes = {"type": "array", "items": {"enum": list(FALLBACK_CODES)}, "minItems": 1}
    entry = {"type": "object", "properties": {"model": name, "on": codes, "use": name}}

    def check(value: Any) -> list[dict[str, Any]]:
        if not isinstance(value, list) or not all(map(_is_rule, value)):
            raise ValueError(allowed)
        return list(value)

    items = {**entry, "required": ["model", "on", "use"], "additionalProperties": False}
    return Kind(allowed, {"type": "array", "items": items}, check, _json)


def _is_rule(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"model", "on", "use"}:
        return False
    codes = entry["on"]
    are_codes = isinstance(codes, list) and bool(codes) and all(code in FALLBACK_CODES for code in codes)
    return are_codes and _is_name(entry["model"]) and _is_name(entry["use"])


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


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


def _store() -> Kind:
    """An address is refused that holds a password in its parameters, where no text would hide it."""
    allowed = "files, sqlite, or the address of a database: postgresql://user@host:port/name"
    pattern = r"files|sqlite|postgres(ql)?://[^\s?#]*(\?(?!\S*password)[^\s#]*)?"

    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "string", "pattern": "^(files$|sqlite$|postgres(ql)?://)"}, check)


OPTIONS: Final[tuple[Option, ...]] = (
    Option("account_selection_strategy", "lowest-usage", _choice(*STRATEGIES),
            "Which account takes a new conversation."),
    Option("default_region", "us-east-1", _region(), "The region of a sign-in that names none."),
    Option("rate_limit_retry_delay_ms", 5000, _whole(1000, 60000),
            "The first wait after a rate limit; it doubles each time, up to a quarter is added at random."),
    Option("rate_limit_max_retries", 3, _whole(0, 10), "How often a rate-limited request is tried again."),
    Option("max_request_iterations", 100, _whole(10, 1000),
            "How many calls to the service one request may cause, whatever happens."),
    Option("request_timeout_ms", 300_000, _whole(60_000, 600_000),
            "The longest wait for the first word, over all attempts; then the longest time in which the "
            "service adds nothing to the answer, or a client takes nothing."),
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
    Option("sso_profile_arn", None, _text(_PROFILE_ARN, "the ARN of a Kiro profile"),
           "The Kiro profile to use where your organisation gave you several.", "idc_profile_arn"),
    Option("store", "files", _store(),
           "Where accounts are kept: in files of this user; in one file, kiro-accounts.sqlite3, for many "
           "accounts or several gateways on this machine (sqlite); or sealed in a database that gateways on "
           "any machine share: postgresql://user@host:port/name. See `kiro-auth store --help`."),
    Option("secrets", "files", _choice("files", "keyring"),
           "Where tokens are kept: in the file of accounts, or in the system's keyring (which needs the "
           "extra `keyring`). `kiro-auth accounts migrate-secrets` moves those that are there."),
    Option("ledger", True, _switch(),
           "Keep figures of every turn, without its words, in ledger.sqlite3 of the state folder or in the "
           "database that `store` names: what `kiro-auth usage --by` counts."),
    Option("ledger_projects", True, _switch(),
           "Keep with them the name of the folder that a client works in, where it tells it."),
    Option("budgets", {}, _budgets(),
           "Credits that may be spent in a day, and in it by one project or key; and in one conversation. "
           "You are told at 80 %; at 100 % requests are refused (KA-BUDGET)."),
    Option("share_accounts", False, _switch(),
           "Two client keys (`kiro-auth keys`) may name the same account. Read before in README.md what the "
           "terms say of accounts that several people use."),
    Option("reserve", 0, _whole(0, 90),
           "Per cent of each account's plan that are kept back: with so little left it takes no requests."),
    Option("wait_for_reset", 0, _whole(0, 72),
           "Hours that a request may wait for the reset that Kiro named, when the plans of all accounts are "
           "used up, instead of failing; 0: none. A streamed answer is kept alive with pings meanwhile."),
    Option("thrift", False, _switch(),
           "Have titles and summaries written by the cheapest model that Kiro lists, where the client says "
           "that a request is for one. Usage, log and answer name the model."),
    Option("toast_credits", False, _switch(),
           "Show in OpenCode after each turn what it used, and its conversation so far."),
    Option("model_rates", False, _switch(),
           "Show in OpenCode behind a model's name how much it costs beside others (2.2×)."),
    Option("toast_level", "all", _choice("all", "warnings", "none"),
           "What OpenCode's windows show by themselves: figures and warnings, warnings alone, or nothing."),
    Option("max_concurrent_per_account", 4, _whole(1, 100),
            "How many requests one account serves at a time; more wait or go to another account."),
    Option("drain_seconds", 0, _whole(0, 600),
            "How long a gateway that gets SIGTERM still takes requests while /ready says 503, so that "
            "balancers before it can send theirs elsewhere; 0: it closes its doors at once."),
    Option("grace_seconds", 10, _whole(0, 3600),
            "How long answers under way may go on when the gateway ends; then they end with an error."),
    Option("tls_cert", None, _text(r"\S.*", "the path of a file"),
            "The file with the certificate, and those between it and its authority (PEM): what is served at "
            "--host speaks TLS. A new one in its place counts within seconds."),
    Option("tls_key", None, _text(r"\S.*", "the path of a file"),
            "The file with the certificate's private key (PEM, without a password)."),
    Option("trusted_proxies", [], _texts(_NETWORK, _NETWORKS, is_network),
            "Addresses or networks of the proxies before the gateway, which alone are believed in what "
            "X-Forwarded-For, Forwarded and X-Forwarded-Proto say of clients."),
    Option("allow_host", [], _texts(_HOST, "a list of names without a port, such as host.docker.internal"),
           "Further names for this machine that a Host header may have: those that containers know it by."),
    Option("allow_origin", [], _texts(_ORIGIN, "a list of origins such as app://obsidian.md"),
           "Origins that are let in, exactly as they are: desktop programs made of a browser's engine."),
    Option("model_aliases", {}, _aliases(),
           "Names of your own for models, such as {\"fast\": \"claude-haiku-4-5\"}; they count first."),
    Option("model_fallback", [], _fallback(),
           "Which model answers when one (`*`: any) fails so before its first word; the first rule that fits "
           "counts, and the model that answered is told."),
    Option("metrics_access", "key", _choice("key", "open"),
           "Who may read /metrics: whoever has the gateway's key, or any program of this machine."),
    Option("update_check", True, _switch(),
           "Tell at most once a day, in a terminal, of a newer release that `update_index` lists."),
    Option("update_index", None, _https_url(),
           "Where to ask for the newest release, as PyPI answers at /pypi/NAME/json. Without it none is "
           "asked: none of ours is known yet."),
)  # fmt: skip

ENDPOINT: Final[Mapping[str, Kind]] = {
    "url": _template(),
    "protocol": _choice("rest", "rpc"),
    "target_prefix": _text(r"[\w.]*", "the name of a service"),
    "path": _text("/.*", "a text that begins with /"),
    "origin": _text(r"\w*", "one word"),
    "kinds": _words(*KINDS),
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
