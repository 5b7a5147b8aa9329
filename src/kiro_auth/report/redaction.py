"""What a report may show of values that somebody else wrote: those of a known form, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, get_args

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.health import State
from kiro_auth.failures import CATALOGUE, SAID
from kiro_auth.kiro import models
from kiro_auth.options import OPTIONS, ROLES

HIDDEN: Final = "…"
_SECRETS: Final = re.compile(r"[^\s@<(\"']+@[\w.-]+|arn:[^\s,;\"')]+|(?<![\w/~.+=-])(?![~/])[\w+/=~.-]{40,}")
"""E-mails, names of resources, and whatever is as long as a token and no path."""
_ADDRESS: Final = re.compile(
    r"\b[a-z][a-z0-9+.-]*://([^\s/@]*@)?(?P<host>[^\s/:?#\"')\]]+)(?P<port>:\d+)?[^\s\"')]*"
)
_KNOWN_HOST: Final = re.compile(
    r"127\.0\.0\.1|localhost|(?:[\w-]+\.)*(?:amazonaws\.com|amazon\.com|kiro\.dev)"
)
_CODE: Final = re.compile(rf"\b({'|'.join(sorted(CATALOGUE, key=len, reverse=True))})\b")
_WORDS: Final = frozenset(
    (*get_args(State), "told", "signal", "idle", "retired", "debug", "info", "warning", "error")
)
_FORMS: Final[Mapping[str, re.Pattern[str]]] = {
    "code": _CODE,
    "constant": re.compile(r"[A-Z][A-Z_]{1,60}"),
    "id": re.compile(r"[0-9a-fA-F-]{8,40}|[\w-]{1,12}"),
    "moment": re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{5,15}(\+00:00|Z)"),
    "version": re.compile(r"\d{1,6}(\.\d{1,6}){1,3}([-+][\w.+-]{1,20})?"),
    "model": re.compile(r"(claude|gpt|auto|deepseek|minimax|glm|qwen|kimi|amazon|nova)[\w.:-]{0,50}"),
}


def formed(value: object, form: str) -> str:
    """The value if it has this form, else that there is something."""
    return value if isinstance(value, str) and _FORMS[form].fullmatch(value) else HIDDEN


def model(value: object) -> str:
    """The name of a model that is known, by whatever name a client has for it; not one of a person's own."""
    if not isinstance(value, str):
        return HIDDEN
    known = {model.id for model in models.BUILTIN}
    return value if models.resolve(value, ()).model.id in known else formed(value, "model")


def codes_in(text: str) -> list[str]:
    """The codes of failures that a text names."""
    return list(dict.fromkeys(_CODE.findall(text)))


class Redaction:
    """Takes out of the program's own sentences what tells of a person or a place."""

    def __init__(self, accounts: Sequence[Account], home: Path, private: Sequence[str] = ()) -> None:
        self._home = str(home)
        names: dict[str, str] = {}
        for number, account in enumerate(accounts, 1):
            names |= {text: f"#{number}" for text in _names(account) if text}
        names |= {text: HIDDEN for text in private if text}
        # The longest first, as a name may be part of another.
        words = sorted(names, key=len, reverse=True)
        self._names = names
        self._named = re.compile("|".join(rf"(?<!\w){re.escape(w)}(?!\w)" for w in words)) if words else None

    def account(self, name: object) -> str:
        """Which account of the list it is; one that is gone is only that."""
        return self._names.get(name, "an account of before") if isinstance(name, str) else HIDDEN

    def __call__(self, text: str) -> str:
        """The text with accounts by number, `~` for the home, and no address but of AWS and this machine.

        What Kiro said is left out.
        """
        text = " ".join(text.partition(SAID)[0].split())
        if self._named is not None:
            text = self._named.sub(lambda found: self._names[found.group()], text)
        if len(self._home) > 1:
            text = text.replace(self._home, "~")
        text = _ADDRESS.sub(self._address, text)
        return _SECRETS.sub(HIDDEN, text)

    def _address(self, found: re.Match[str]) -> str:
        host = found["host"]
        return f"//{host}{found['port'] or ''}" if _KNOWN_HOST.fullmatch(host) else f"//{HIDDEN}"


def _names(account: Account) -> tuple[str | None, ...]:
    return (
        *(account.name, account.label, account.id, account.id[:8], account.email, account.real_email),
        *(account.profile_name, account.profile_arn, account.sso_start_url),
    )


def settings(options: object) -> str:
    """Options as the log has them: a number, a switch, one of the words that it may be, or that it is set."""
    if not isinstance(options, dict):
        return "none"
    words = {option.name: option.kind.schema.get("enum", ()) for option in OPTIONS}
    words |= {f"endpoints.{role}": () for role in ROLES}
    shown = (f"{name} {_setting(value, words[name])}" for name, value in options.items() if name in words)
    return ", ".join(shown) or "none"


def _setting(value: object, words: Sequence[str]) -> str:
    if isinstance(value, bool | int):
        return str(value).lower()
    return value if isinstance(value, str) and value in ("set", *words) else HIDDEN


def word(value: object) -> str:
    """One plain word, of those that the program has for why a gateway ended and for states."""
    return value if isinstance(value, str) and value in _WORDS else HIDDEN
