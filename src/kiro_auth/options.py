"""The options of `kiro.json`: names, defaults, ranges, words; and what an entry of `endpoints` may hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from kiro_auth.addresses import REGION, acceptable_url
from kiro_auth.kinds import KINDS

_PROFILE_ARN: Final = r"arn:aws[a-z-]*:[a-z]+:[a-z0-9-]+:[0-9]*:profile/.+"
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
    Option("sso_profile_arn", None, _text(_PROFILE_ARN, "the ARN of a Kiro profile"),
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
