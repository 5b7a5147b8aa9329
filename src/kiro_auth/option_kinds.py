"""What values an option of `kiro.json` may have: numbers, words, addresses, lists and objects of them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.addresses import REGION, acceptable_url
from kiro_auth.folders import in_folder
from kiro_auth.json_values import NotJson, decoded

FALLBACK_CODES: Final = ("KA-MODEL", "KA-CAPACITY", "KA-OVERFLOW", "KA-CONVERSATION", "KA-SERVICE")
"""Failures for which another model may have an answer; not those of an account, or of the time there is."""
BACK: Final = "/dashboard/signed-in"
"""The path that the company's sign-in leads back to."""
BUDGETS: Final = ("day", "session", "project", "key")


def _as_it_is(value: Any, _: str | None) -> Any:
    return value


class Kind(Struct, frozen=True):
    """What values an option takes: in words, as JSON Schema, and as a check.

    `check` turns a decoded JSON value into the value used, or raises ValueError saying what is allowed.
    `read` makes a JSON value of a variable's text, or leaves it as it is.
    """

    allowed: str
    schema: Mapping[str, Any]
    check: Callable[[Any], Any]
    read: Callable[[str], Any] = str
    settled: Callable[[Any, str | None], Any] = _as_it_is
    """The value with its paths whole; relative ones count from the folder of the file that it stands in.

    Without a file they count from the folder that the process is in, or raise ValueError, saying what is
    allowed.
    """
    names_people: bool = False
    """Whether its values stand in no text that is shown or logged."""


def whole(low: int, high: int) -> Kind:
    """A whole number."""
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


def choice(*words: str) -> Kind:
    """One of a few words."""
    allowed = "one of " + ", ".join(words)

    def check(value: Any) -> str:
        if value not in words:
            raise ValueError(allowed)
        return str(value)

    return Kind(allowed, {"enum": list(words)}, check)


def switch() -> Kind:
    """True or false."""
    words = {"1": True, "true": True, "0": False, "false": False}

    def read(text: str) -> Any:
        return words.get(text.lower(), text)

    def check(value: Any) -> bool:
        if value is not True and value is not False:
            raise ValueError("true or false")
        return value

    return Kind("true or false", {"type": "boolean"}, check, read)


def text(pattern: str, allowed: str) -> Kind:
    """A text that fits a pattern."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "string", "pattern": f"^{pattern}$"}, check)


def file() -> Kind:
    """The path of a file."""
    return replace(text(r"\S.*", "the path of a file"), settled=in_folder)


def region() -> Kind:
    """A region of AWS."""
    return text(REGION, "an AWS region such as us-east-1")


def words(*words: str) -> Kind:
    """A list of some of a few words."""
    allowed = "a list of " + ", ".join(words)

    def check(value: Any) -> list[str]:
        if not isinstance(value, list) or any(entry not in words for entry in value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "array", "items": {"enum": list(words)}}, check)


def texts(pattern: str, allowed: str, holds: Callable[[str], bool] = bool) -> Kind:
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


def aliases() -> Kind:
    """Names and the models they mean."""
    allowed = "an object of names and the models they mean"

    def check(value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or not all(_is_name(name) for pair in value.items() for name in pair):
            raise ValueError(allowed)
        return dict(value)

    schema = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}
    return Kind(allowed, schema, check, _json)


def budgets() -> Kind:
    """Credits by what they are for."""
    allowed = f"an object with credits, above 0, for some of {', '.join(BUDGETS)}"

    def check(value: Any) -> dict[str, float]:
        if (
            not isinstance(value, dict)
            or value.keys() - set(BUDGETS)
            or not all(map(_is_amount, value.values()))
        ):
            raise ValueError(allowed)
        return dict(value)

    amount = {"type": "number", "exclusiveMinimum": 0}
    schema = {"type": "object", "properties": dict.fromkeys(BUDGETS, amount), "additionalProperties": False}
    return Kind(allowed, schema, check, _json)


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def fallback() -> Kind:
    """Rules of which model answers instead."""
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


def template() -> Kind:
    """A URL in which a region may be put."""
    allowed = "an https URL (http only for this machine), in which {region} alone is replaced"

    def check(value: Any) -> str:
        url = value.replace("{region}", "us-east-1") if isinstance(value, str) else ""
        if not acceptable_url(url) or "{" in url or "}" in url:
            raise ValueError(allowed)
        return str(value)

    return Kind(allowed, {"type": "string", "pattern": r"^https?://([^{}]|\{region\})+$"}, check)


def https_url() -> Kind:
    """A URL that secrets may travel to."""
    allowed = "an https URL (http only for this machine)"

    def check(value: Any) -> str:
        if not isinstance(value, str) or not acceptable_url(value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "string", "pattern": "^https?://"}, check)


def store() -> Kind:
    """An address is refused that holds a password in its parameters, where no text would hide it."""
    allowed = "files, sqlite, or the address of a database: postgresql://user@host:port/name"
    pattern = r"files|sqlite|postgres(ql)?://[^\s?#]*(\?(?!\S*password)[^\s#]*)?"

    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(allowed)
        return value

    return Kind(allowed, {"type": "string", "pattern": "^(files$|sqlite$|postgres(ql)?://)"}, check)


def company_sign_in() -> Kind:
    """The OpenID provider of a company, and who of its people sees what."""
    allowed = (
        "an object with issuer (an https URL) and client_id, and as needed client_secret_file, operators (a "
        "list of people), holders (an object of people and the names of their keys), claim, and redirect (an "
        f"https URL that ends with {BACK})"
    )
    name = {"type": "string", "minLength": 1}
    url = {"type": "string", "pattern": "^https?://"}
    properties = {
        "issuer": url,
        "client_id": name,
        "client_secret_file": name,
        "operators": {"type": "array", "items": name},
        "holders": {"type": "object", "additionalProperties": name},
        "claim": name,
        "redirect": {"type": "string", "pattern": f"^https?://[^/?#]+{BACK}$"},
    }

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not _is_company(value) or value.keys() - properties.keys():
            raise ValueError(allowed)
        return dict(value)

    schema = {
        "type": "object",
        "properties": properties,
        "required": ["issuer", "client_id"],
        "additionalProperties": False,
    }

    def settled(value: Any, folder: str | None) -> Any:
        path = value.get("client_secret_file")
        if path is None or os.path.isabs(path):
            return value
        if folder is None:  # a gateway that is started from here runs in another folder
            raise ValueError("client_secret_file with its whole path")
        return value | {"client_secret_file": in_folder(path, folder)}

    return Kind(allowed, schema, check, _json, settled, names_people=True)


def _is_company(value: Mapping[str, Any]) -> bool:
    operators, holders = value.get("operators", []), value.get("holders", {})
    issuer, redirect = value.get("issuer", ""), value.get("redirect", f"https://host{BACK}")
    if not isinstance(operators, list) or not isinstance(holders, dict):
        return False
    texts = [value.get("client_id"), value.get("client_secret_file", "file"), value.get("claim", "email")]
    if not all(map(_is_name, [*texts, *operators, *holders, *holders.values(), issuer, redirect])):
        return False
    is_back = re.fullmatch(rf"https?://[^/?#]+{BACK}", redirect) is not None
    is_issuer = acceptable_url(issuer) and re.search(r"[?#\s]", issuer) is None
    return is_issuer and is_back and acceptable_url(redirect)
