"""Everything that can go wrong, as values: a stable code, a sentence, a next step.

One `Failure` becomes the API error, the log line and the command line's message.
Exceptions only carry one; catch `KiroAuthError` to catch all of ours.

    KiroAuthError
    ├── TurnFailed      a request could not be answered
    ├── SignInFailed    a sign-in could not be completed
    ├── StoreFailed     a file or database could not be read or written
    └── ConfigFailed    an option or argument cannot be used
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct


class Cause(enum.Enum):
    """Whose fault it is.  Only ACCOUNT changes what is thought of an account."""

    REQUEST = "request"  # the client's request
    ACCOUNT = "account"  # the account used: its sign-in, plan, quota or standing
    SERVICE = "service"  # AWS
    NETWORK = "network"  # between us and AWS
    SETUP = "setup"  # this installation: configuration, files, keys
    PROGRAM = "program"  # a defect of ours


class Entry(Struct, frozen=True):
    """A row of the catalogue.  `passing` says that the same request may succeed later, unchanged."""

    cause: Cause
    title: str
    passing: bool
    remedy: str


CATALOGUE: Final[dict[str, Entry]] = {
    # --- the request
    "KA-REQUEST": Entry(
        Cause.REQUEST, "The request asks for something that cannot be done.", False,
        "Change the named field of the request.",
    ),
    "KA-BODY": Entry(
        Cause.REQUEST, "Kiro refused the request as malformed.", False,
        "Report it with the request id: every conversation should be made acceptable before it is sent.",
    ),
    "KA-SIGNATURE": Entry(
        Cause.REQUEST, "Kiro refused the signed reasoning in the history.", False,
        "The history is sent once more without reasoning; start a new conversation if that fails too.",
    ),
    "KA-OVERFLOW": Entry(
        Cause.REQUEST, "The conversation is longer than the model's context window.", False,
        "Compact the conversation (/compact) or start a new one.",
    ),
    "KA-CONVERSATION": Entry(
        Cause.REQUEST, "Kiro's limit for one conversation is reached.", False,
        "Start a new conversation, or compact this one.",
    ),
    "KA-MODEL": Entry(
        Cause.REQUEST, "The model is unknown, or not part of the account's plan or region.", False,
        "Choose a model that `kiro-auth models` lists.",
    ),
    "KA-SIZE": Entry(
        Cause.REQUEST, "The request is larger than the gateway takes.", False,
        "Leave out large attachments, or compact the conversation (/compact).",
    ),
    "KA-ENCODING": Entry(
        Cause.REQUEST, "The request's body is packed in a way that the gateway does not know.", False,
        "Send it as it is, or packed as gzip, deflate, br or zstd.",
    ),
    "KA-HEADERS": Entry(
        Cause.REQUEST, "The request's headers are larger than the gateway takes.", False,
        "Leave out what other programs add to the request.",
    ),
    "KA-ORIGIN": Entry(
        Cause.REQUEST, "The request came from a web page, or names another machine.", False,
        "Use the address http://127.0.0.1 from a program of your own, or name what is to come in: allow_host "
        "and allow_origin in kiro.json.",
    ),
    "KA-KEY": Entry(
        Cause.REQUEST, "The gateway's key is missing or wrong.", False,
        "Send the key the gateway was started with, as `Authorization: Bearer` or `x-api-key`.",
    ),
    # --- the account
    "KA-TOKEN": Entry(
        Cause.ACCOUNT, "Kiro no longer accepts the access token.", True,
        "It is refreshed once automatically; sign in again if this stays.",
    ),
    "KA-SIGNIN": Entry(
        Cause.ACCOUNT, "The sign-in of the account has ended.", False,
        "Sign in again: kiro-auth login",
    ),
    "KA-SUSPENDED": Entry(
        Cause.ACCOUNT, "AWS has locked the account.", False,
        "Ask AWS for a review at https://app.kiro.dev; this program will not try the account again until "
        "you run: kiro-auth accounts verify",
    ),
    "KA-QUOTA": Entry(
        Cause.ACCOUNT, "The account's plan limit is used up.", False,
        "Wait for the reset, add another account of yours (kiro-auth login), or change the plan.",
    ),
    "KA-OVERAGE": Entry(
        Cause.ACCOUNT, "The account's limit for use beyond the plan is reached.", False,
        "Raise that limit at https://app.kiro.dev, or wait for the reset.",
    ),
    "KA-THROTTLE": Entry(
        Cause.ACCOUNT, "Kiro asks the account to slow down.", True,
        "Wait until the named time.",
    ),
    "KA-ENTITLEMENT": Entry(
        Cause.ACCOUNT, "The account's plan or organisation does not allow this.", False,
        "Check plan, profile and region: kiro-auth accounts show",
    ),
    "KA-PROFILE": Entry(
        Cause.ACCOUNT, "The account has no usable Kiro profile.", False,
        "Ask your administrator to assign a Kiro profile, then: kiro-auth accounts verify",
    ),
    "KA-KMS": Entry(
        Cause.ACCOUNT, "The organisation's encryption key refuses the request.", False,
        "Ask your administrator to check the key policy.",
    ),
    "KA-NO-ACCOUNT": Entry(
        Cause.ACCOUNT, "No account is signed in.", False,
        "Sign in: kiro-auth login",
    ),
    "KA-ACCOUNTS-BUSY": Entry(
        Cause.ACCOUNT, "No account can take the request now.", False,
        "See each account's state: kiro-auth accounts",
    ),
    # --- the service and the way to it
    "KA-CAPACITY": Entry(
        Cause.SERVICE, "The model has no free capacity.", True,
        "Use another model for a while, or repeat the request.",
    ),
    "KA-SERVICE": Entry(
        Cause.SERVICE, "Kiro had a fault of its own.", True,
        "Repeat the request after a while.",
    ),
    "KA-NETWORK": Entry(
        Cause.NETWORK, "Kiro cannot be reached.", True,
        "Check the connection, the proxy and the region.",
    ),
    "KA-CUT": Entry(
        Cause.NETWORK, "The reply broke off before its end.", True,
        "Repeat the request.",
    ),
    "KA-TIMEOUT": Entry(
        Cause.NETWORK, "Kiro did not answer in time.", True,
        "Repeat the request, or raise request_timeout_ms.",
    ),
    # --- this installation
    "KA-CONFIG": Entry(
        Cause.SETUP, "An option or argument cannot be used.", False,
        "Correct the named option.",
    ),
    "KA-STORE": Entry(
        Cause.SETUP, "A file of the program cannot be read or written.", False,
        "Make the named file usable.",
    ),
    "KA-STRANGER": Entry(
        Cause.SETUP, "Another program listens where the gateway was.", False,
        "End programs that were told this address by hand, and tell them the new one: kiro-auth env",
    ),
    "KA-LOGIN": Entry(
        Cause.ACCOUNT, "The sign-in was not completed.", False,
        "Run kiro-auth login once more.",
    ),
    "KA-INTERNAL": Entry(
        Cause.PROGRAM, "The program made a mistake.", False,
        "Please report it with the steps that led here.",
    ),
}  # fmt: skip
"""Every code."""


class Failure(Struct, frozen=True, kw_only=True):
    """One thing that went wrong.

    `message` is one plain sentence about this case, `next_step` a command or address.  `until` is when the
    cause ends (epoch seconds), `retry_after` the wait the service asked for (seconds).  `account` is a
    label that holds no e-mail; `reason` is the service's own word; `request_id` is what AWS support asks for.
    """

    code: str
    message: str
    next_step: str | None = None
    until: float | None = None
    retry_after: float | None = None
    account: str | None = None
    reason: str | None = None
    request_id: str | None = None

    @property
    def entry(self) -> Entry:
        """The catalogue's row for this code."""
        return CATALOGUE[self.code]

    @property
    def cause(self) -> Cause:
        """Whose fault it is."""
        return self.entry.cause

    def sentence(self) -> str:
        """What a person reads: message, until when, next step; a message of several lines gets one more."""
        parts = [self.message.rstrip()]
        if self.until is not None:
            parts.append(f"Until {moment(self.until)}.")
        if self.next_step:
            parts.append(self.next_step)
        message, *rest = parts
        return message + ("\n" if rest and "\n" in message else " " if rest else "") + " ".join(rest)


def moment(epoch: float) -> str:
    """A time as people read it, to the minute, in UTC."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC")


class KiroAuthError(Exception):
    """The root of this program's exceptions; holds the `Failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence())
        self.failure = failure


class TurnFailed(KiroAuthError):
    """A request could not be answered."""


class SignInFailed(KiroAuthError):
    """A sign-in could not be completed."""


class StoreFailed(KiroAuthError):
    """A file or database could not be read or written."""


class ConfigFailed(KiroAuthError):
    """An option or argument cannot be used."""


# Clients search message and body of an error for words.  Beside each stands what says the same without it;
# no replacement may end or begin another of the phrases.

# OpenCode 1.x repeats the request for minutes when it finds one of these, digits inside longer numbers
# included (seen with 1.18.34); OpenCode 2.x for some of them.
_RETRY_PHRASES: Final[dict[str, str]] = {
    r"rate.?limit(?:ed|ing|s)?": "limit of pace",
    r"too many requests": "more requests than allowed",
    r"overloaded": "over capacity",
    r"service unavailable": "the service does not answer",
    r"internal error": "fault inside",
    r"server error": "fault of its own",
    r"provider returned error": "the provider refused",
    r"terminated": "ended",
    r"fetch failed": "the call failed",
    r"network error": "trouble on the line",
    r"connection (?:error|refused|lost)": "the connection failed",
    r"socket hang up": "the line was closed",
    r"econnreset": "the line was closed",
    r"etimedout": "no answer came",
    r"(?:request|response|connection|network|stream|read) timed out": "no answer came",
    r"retry your request": "send the request once more",
    r"resource.?exhausted": "nothing is left",
    r"try again (?:later|in)": "wait and repeat",
    r"(?:currently|temporarily) at capacity": "fully used",
}
_RETRY_NUMBERS: Final = r"\d*(?:429|50[0234]|524)\d*"
# OpenCode 2.x takes any error with one of these for an answer that was filtered, whatever its status
# (packages/ai/src/provider-error.ts, 4933a71b).
_FILTER_PHRASES: Final[dict[str, str]] = {
    r"content[-_\s]?policy": "rules of use",
    r"content[-_\s]?filter": "filter of replies",
    r"safety": "protection",
}
# And a 429 with one of these for a plan that is used up, which it does not wait for (the same file).  In a
# failure that is final they are true, and do no harm.
_QUOTA_PHRASES: Final[dict[str, str]] = {
    r"insufficient[-_\s]?quota": "too small an allowance",
    r"quota[-_\s]?exceeded": "allowance used up",
}


class _Wording:
    """Puts phrases in other words, and spaces out `numbers`, those that hold certain digits."""

    def __init__(self, phrases: Mapping[str, str], numbers: str | None = None) -> None:
        patterns = [f"({phrase})" for phrase in phrases]
        if numbers is not None:
            patterns.append(f"(?P<number>{numbers})")
        self._found = re.compile("|".join(patterns), re.IGNORECASE | re.ASCII)
        self._plainer = ("", *phrases.values())  # by the number of the group that matched

    def __call__(self, text: str) -> str:
        while (softer := self._found.sub(self._softer, text)) != text:
            text = softer  # what was put in may make a phrase with its neighbours: `raterate limit`
        return text

    def _softer(self, match: re.Match[str]) -> str:
        found = match.group()
        if match.lastgroup:
            return "·".join(found)
        words = self._plainer[match.lastindex or 0]
        return words[0].upper() + words[1:] if found[0].isupper() else words


_final: Final = _Wording({**_RETRY_PHRASES, **_FILTER_PHRASES}, _RETRY_NUMBERS)
_passing: Final = _Wording({**_FILTER_PHRASES, **_QUOTA_PHRASES})


def final_wording(text: str) -> str:
    """`text` without any word or digits that a client would take for a passing error, or for another one.

    For failures that must stop at once.  Phrases are put in other words; a number that holds such digits
    is spaced out (`1500` is `1·5·0·0`).
    """
    return _final(text)


def passing_wording(text: str) -> str:
    """`text` without any word for which a client would not wait, or take it for another error.

    For failures that the client is asked to repeat after a while.
    """
    return _passing(text)
