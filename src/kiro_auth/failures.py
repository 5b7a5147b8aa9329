"""Everything that can go wrong, as values: a stable code, a sentence, a next step.

One `Failure` becomes the API error, the log line and the command line's message.
Exceptions only carry one; catch `KiroAuthError` to catch all of ours.

    KiroAuthError
    ├── TurnFailed      a request could not be answered
    ├── SignInFailed    a sign-in could not be completed
    │   └── WrongValue  because of a value that a person can type anew
    ├── StoreFailed     a file or database could not be read or written
    └── ConfigFailed    an option or argument cannot be used
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import tzinfo
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import force_setattr

from kiro_auth.texts import shown
from kiro_auth.times import utc, when


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


REVIEW_ADDRESS: Final = "https://app.kiro.dev"
"""Where people ask for a review of a lock, unless the service names another address."""

SAID: Final = " It said: "
"""Stands in a message before what the service said, which may repeat something of the request."""

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
        "The history was sent once more without reasoning; start a new conversation.",
    ),
    "KA-CONTINUE": Entry(
        Cause.REQUEST, "Kiro says that the model cannot continue this conversation.", False,
        "Choose another model, or start a new conversation.",
    ),
    "KA-TOOLS": Entry(
        Cause.REQUEST, "Kiro refused the format of the tools or of their calls.", False,
        "Offer fewer tools (disconnect MCP servers that are not needed), or start a new conversation.",
    ),
    "KA-IMAGE": Entry(
        Cause.REQUEST, "Kiro refused an image.", False,
        "The conversation was sent once more without images; leave the image out.",
    ),
    "KA-DOCUMENT": Entry(
        Cause.REQUEST, "Kiro refused a document.", False,
        "The conversation was sent once more without documents; leave the document out.",
    ),
    "KA-FIELDS": Entry(
        Cause.REQUEST, "Kiro takes no settings for thinking or length with this model.", False,
        "The request was refused without them too; choose another model.",
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
        Cause.REQUEST, "The request's body is compressed in a way that the gateway does not know.", False,
        "Send it as it is, or compressed with gzip, deflate, br or zstd.",
    ),
    "KA-HEADERS": Entry(
        Cause.REQUEST, "The request's headers are larger than the gateway takes.", False,
        "Remove the headers that proxies or plugins add to the request.",
    ),
    "KA-BUDGET": Entry(
        Cause.REQUEST, "A budget of yours is used up, or all that is left of a plan is kept back.", False,
        "Wait for tomorrow, or raise the budget in kiro.json, then kiro-auth reload.",
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
    "KA-KEY-EXPIRED": Entry(
        Cause.REQUEST, "The client key has expired.", False,
        "Make a new one: kiro-auth keys create NAME",
    ),
    "KA-KEY-REVOKED": Entry(
        Cause.REQUEST, "The client key was revoked.", False,
        "Make a new one: kiro-auth keys create NAME",
    ),
    "KA-KEY-ADMIN": Entry(
        Cause.REQUEST, "A client key does not administer the gateway.", False,
        "Use the gateway's own key: kiro-auth key show",
    ),
    "KA-KEY-MODEL": Entry(
        Cause.REQUEST, "The client key is not for this model.", False,
        "Choose a model that GET /v1/models lists with this key.",
    ),
    "KA-KEY-ACCOUNT": Entry(
        Cause.REQUEST, "The client key is not for this account.", False,
        "Leave the account out, or name one that GET /kiro/me lists with this key.",
    ),
    "KA-KEY-BUDGET": Entry(
        Cause.REQUEST, "The budget of the client key is used up.", False,
        "Wait for the next day or month, or make a key with more: kiro-auth keys create NAME --budget",
    ),
    "KA-KEY-CONCURRENCY": Entry(
        Cause.REQUEST, "The client key has as many answers under way as it may.", True,
        "Repeat the request when one has ended, or make a key with more: "
        "kiro-auth keys create NAME --concurrency",
    ),
    "KA-ACCOUNT": Entry(
        Cause.REQUEST, "The account that was asked for is not there, not the only one, or disabled.", False,
        "Ask for one that `kiro-auth accounts` lists.",
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
        f"Ask AWS for a review at {REVIEW_ADDRESS}; this program will not try the account again until "
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
        "Just wait: the account is used again by itself.",
    ),
    "KA-ACTIVITY": Entry(
        Cause.ACCOUNT, "Kiro sees unusual activity and limits the account.", False,
        "Leave the account alone for a while: this can take a day, and AWS may review it.",
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
    "KA-DATABASE": Entry(
        Cause.SETUP, "The database of the accounts cannot be reached or used.", True,
        "Start it, or correct KIRO_STORE; `kiro-auth store check` tests it.",
    ),
    "KA-KEYRING": Entry(
        Cause.SETUP, "The system's keyring, which holds the tokens, does not open.", True,
        "Unlock it; `kiro-auth doctor` says whether it opens.",
    ),
    "KA-STRANGER": Entry(
        Cause.SETUP, "Another program listens where the gateway was.", False,
        "End programs that were told this address by hand, and tell them the new one: kiro-auth env",
    ),
    "KA-GATEWAY": Entry(
        Cause.SETUP, "The gateway does not answer in time, has ended, or was asked for nothing.", True,
        "Wait a moment and ask again; `kiro-auth status` says how the gateway is.",
    ),
    "KA-PORT": Entry(
        Cause.SETUP, "The gateway listens at another port than before.", False,
        "Tell the new one to programs that were told the old one: kiro-auth env",
    ),
    "KA-OIDC": Entry(
        Cause.SETUP, "The company's sign-in for the dashboard came to nothing, or cannot be believed.", True,
        "Begin again: open the dashboard and press Sign in.",
    ),
    "KA-OIDC-PERSON": Entry(
        Cause.SETUP, "The company knows this person, but the dashboard is not open to them.", False,
        "List the person in dashboard_oidc of kiro.json, then: kiro-auth reload",
    ),
    "KA-OIDC-PROVIDER": Entry(
        Cause.SETUP, "The company's sign-in for the dashboard does not answer as it should.", True,
        "See that its server works and `issuer` of dashboard_oidc in kiro.json is right, then press Sign in.",
    ),
    "KA-LOGIN": Entry(
        Cause.ACCOUNT, "The sign-in was not completed.", False,
        "Run kiro-auth login once more.",
    ),
    "KA-INTERNAL": Entry(
        Cause.PROGRAM, "The program made a mistake.", False,
        "Please report it with the steps that led here and the file that `kiro-auth report` writes.",
    ),
}  # fmt: skip
"""Every code."""


Period: TypeAlias = Literal["hour", "day", "week", "month"]


class Failure(Struct, frozen=True, kw_only=True):
    """One thing that went wrong; its texts are fit to be shown, whoever wrote them.

    `message` is one plain sentence about this case, `next_step` a command or address.  `until` is when the
    cause ends (epoch seconds), as the service says; where nobody says it, `next_try` is when this program
    tries the account again; how far off both are is counted from `noted_at`.  `period` is what a limit that
    is used up counts by.  `retry_after` is the wait the service asked for, `replay` the wait before the
    request, mended, is worth sending once more (both seconds).  `account` is its name, which holds no whole
    e-mail; `reason` is the service's own word; `request_id` is what AWS support asks for.
    """

    code: str
    message: str
    next_step: str | None = None
    until: float | None = None
    next_try: float | None = None
    noted_at: float | None = None
    period: Period | None = None
    retry_after: float | None = None
    replay: float | None = None
    account: str | None = None
    reason: str | None = None
    request_id: str | None = None

    def __post_init__(self) -> None:
        """Take out of the texts what steers terminals, and secrets that they quote."""
        for name in ("message", "next_step", "account", "reason", "request_id"):
            text = getattr(self, name)
            if text is not None and (fit := shown(text)) != text:
                force_setattr(self, name, fit)

    @property
    def entry(self) -> Entry:
        """The catalogue's row for this code."""
        return CATALOGUE[self.code]

    @property
    def cause(self) -> Cause:
        """Whose fault it is."""
        return self.entry.cause

    @property
    def heading(self) -> str:
        """The message with its code, which stands before what the service said, and before any command."""
        message = self.message.rstrip()
        ours = message.partition("\n")[0].partition(SAID)[0]
        words = ours.rstrip(".:")
        return f"{words} ({self.code}){message[len(words) :]}"

    def sentence(self) -> str:
        """What a reader of an answer or a log gets, who may be in another zone: the time is in UTC.

        Message and code, until when, next step; a message of several lines gets one line more.
        """
        return self._sentence(lambda epoch: utc(epoch, self.noted_at))

    def spoken(self, now: float, zone: tzinfo | None = None) -> str:
        """The same for a person at this machine, or in the given zone; `now` is epoch seconds."""
        return self._sentence(lambda epoch: when(epoch, now, zone))

    def _sentence(self, time: Callable[[float], str]) -> str:
        parts = [self.heading]
        if self.until is not None:
            parts.append(f"Available again {time(self.until)}.")
        elif self.next_try is not None:
            parts.append(
                f"Kiro does not say when this ends; the account is tried again {time(self.next_try)}."
            )
        if self.next_step:
            parts.append(self.next_step)
        message, *rest = parts
        return message + ("\n" if rest and "\n" in message else " " if rest else "") + " ".join(rest)


DEFECT: Final = Failure(
    code="KA-INTERNAL",
    message="The gateway made a mistake; its log says more.",
    next_step="Please report it.",
)
"""What a client is told of a defect of this program."""
STOPPED: Final = Failure(code="KA-CUT", message="The gateway was stopped.", next_step="Repeat the request.")
"""What a client is told whose answer was under way."""


class KiroAuthError(Exception):
    """The root of this program's exceptions; holds the `Failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence())
        self.failure = failure


class TurnFailed(KiroAuthError):
    """A request could not be answered."""


class SignInFailed(KiroAuthError):
    """A sign-in could not be completed."""


class WrongValue(SignInFailed):
    """A sign-in fails because of one value that a person gave; another one may do."""


class StoreFailed(KiroAuthError):
    """A file or database could not be read or written."""


class ConfigFailed(KiroAuthError):
    """An option or argument cannot be used."""
