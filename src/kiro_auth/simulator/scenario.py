"""What one can set from outside: people, settings, scripted replies, faults.  All of it JSON.

The same shapes serve a scenario file and the control calls.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from kiro_auth.simulator.refusals import Refusal
from kiro_auth.simulator.script import Step, steps_from_json

BUILDER_ID_START_URL: Final = "https://view.awsapps.com/start"
BUILDER_ID_REGION: Final = "us-east-1"
ORGANISATION_START_URL: Final = "https://d-1234567890.awsapps.com/start"
ORGANISATION_REGION: Final = "eu-north-1"


class ScenarioInvalid(ValueError):
    """JSON from outside that cannot be used; the text names the place and the reason."""


class Profile(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A Kiro profile.  Field 4 of its ARN is the region that serves it."""

    arn: str
    profile_name: str = "KiroProfile"
    status: str = "ACTIVE"

    @property
    def region(self) -> str:
        """Where the profile is served; empty when the ARN has no such field."""
        return (self.arn.split(":") + [""] * 4)[3]


class User(Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A person with a plan, known by e-mail.

    `start_url` and `region` say who keeps the sign-in: AWS Builder ID, or the organisation's identity
    centre; without a start URL it is a social sign-in (Google, GitHub), or, with a `tenant`, one of a
    company's own identity provider.  `api_keys` are keys (`ksk_…`) made by that person.  `used` and `limit`
    are credits of the running month.
    """

    email: str
    user_id: str = ""
    start_url: str | None = BUILDER_ID_START_URL
    tenant: str | None = None
    region: str = BUILDER_ID_REGION
    api_keys: list[str] = msgspec.field(default_factory=list)
    profiles: list[Profile] = msgspec.field(default_factory=list)
    plan: str = "KIRO PRO"
    used: float = 0.0
    limit: float = 1000.0
    suspended: bool = False

    def __post_init__(self) -> None:
        self.user_id = self.user_id or f"user-{self.email.partition('@')[0]}"

    @property
    def kind(self) -> str:
        """`builder-id`, `idc`, `social` or `external-idp`."""
        if self.start_url is None:
            return "external-idp" if self.tenant else "social"
        return "builder-id" if self.start_url == BUILDER_ID_START_URL else "idc"


class Settings(Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How the services behave.  Times are seconds.

    `session_seconds` is how long a sign-in can be refreshed; `rotation_grace` how long a spent refresh token
    is still taken; `token_pause` how long a new token is on its way; `page_size` the most rows of one list
    answer; `strict` checks every chat request against the service's rules; `no_extra_fields` names the kinds
    of sign-ins whose requests may not have `additionalModelRequestFields`, as is reported of companies'
    (2026); `legacy_rpc_status` answers errors of the rpc dialect with 400 or 500 only, as the older hosts do;
    without `web_tools` an organisation allows no search of the web; with `caching` what a history begins with
    is metered at a tenth if it came within the last five minutes: always (`prefix`), or only up to a cache
    point (`points`); `models` are the ids of those that there are (None: all that are simulated), and
    `default_model` is the one that the list names, if it is among them; `calls_kept` is how many calls are
    remembered.
    """

    auto_approve: bool = False
    token_seconds: int = 3600
    session_seconds: float = 90 * 86400
    rotation_grace: float = 0.0
    token_pause: float = 0.0
    client_seconds: int = 90 * 86400
    device_seconds: int = 600
    device_interval: float = 1
    page_size: int = 100
    strict: bool = True
    no_extra_fields: list[str] = msgspec.field(default_factory=list)
    legacy_rpc_status: bool = False
    web_tools: bool = True
    caching: Literal["none", "prefix", "points"] = "none"
    models: list[str] | None = None
    default_model: str | None = "auto"
    calls_kept: int = 1_000_000


class Fault(Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The next `times` calls of an operation go wrong.

    They are answered with `status`, `headers` and `body` (a string as HTML, all else as JSON) and change
    nothing; or, when `lost`, they do their work and the connection breaks before the answer.
    """

    operation: str
    times: int = 1
    status: int = 500
    body: Any = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    lost: bool = False


class When(Struct, frozen=True, forbid_unknown_fields=True):
    """Which chat calls a scripted reply is for: with or without tools, with this text in the message."""

    tools: bool | None = None
    contains: str | None = None

    def matches(self, message: Mapping[str, Any]) -> bool:
        """Whether the call with this current user message is one of them."""
        context = message.get("userInputMessageContext")
        tools = context.get("tools") if isinstance(context, dict) else None
        return (self.tools is None or self.tools == bool(tools)) and (
            self.contains is None or self.contains in str(message.get("content"))
        )


class Reply(Struct, frozen=True):
    """A scripted reply: steps to stream, or a refusal."""

    when: When
    steps: tuple[Step, ...] = ()
    refusal: Refusal | None = None


class RpcError(Struct, frozen=True, forbid_unknown_fields=True):
    """The error of a JSON-RPC answer."""

    code: int = -32603
    message: str = "Internal error"


class SearchReply(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a search whose query has these words is answered with: rows of results, or a failure."""

    contains: str = ""
    results: tuple[dict[str, Any], ...] = ()
    is_error: bool = False
    error: RpcError | None = None


class Scenario(Struct, frozen=True, kw_only=True):
    """A world to begin with."""

    users: tuple[User, ...]
    settings: Settings
    script: tuple[Reply, ...] = ()
    faults: tuple[Fault, ...] = ()


class _Refuse(Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    message: str = ""
    reason: str | None = None
    status: int | None = None


class _Reply(Struct, frozen=True, forbid_unknown_fields=True):
    steps: list[Any] | None = None
    refuse: _Refuse | None = None
    when: When = When()


class _Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    users: list[User] | None = None
    settings: Settings = msgspec.field(default_factory=Settings)
    script: list[_Reply] = msgspec.field(default_factory=list)
    faults: list[Fault] = msgspec.field(default_factory=list)


def default_users() -> list[User]:
    """Two people with Builder ID, two of an organisation, one with a Google sign-in, one with a company's."""
    organisation = Profile("arn:aws:codewhisperer:eu-central-1:123456789012:profile/ORGANISATION")
    shared = Profile("arn:aws:codewhisperer:us-east-1:210987654321:profile/SOCIALSHARED", "Social")
    at_organisation: dict[str, Any] = {
        "start_url": ORGANISATION_START_URL,
        "region": ORGANISATION_REGION,
        "profiles": [organisation],
    }
    return [
        User(email="ada@example.com", api_keys=["ksk_simulated_ada_0001"]),
        User(email="grace@example.com", plan="KIRO FREE", limit=50),
        User(email="linus@example.org", plan="KIRO PRO+", limit=2000, **at_organisation),
        User(email="margaret@example.org", **at_organisation),
        User(email="joan@example.net", start_url=None, profiles=[shared]),
        User(email="hedy@example.com", start_url=None, tenant="contoso", profiles=[organisation]),
    ]


def replies_from_json(value: Any) -> tuple[Reply, ...]:
    """Scripted replies of a JSON list.  Raises ScenarioInvalid."""
    return _replies(converted(value, list[_Reply]))


def load(path: Path) -> Scenario:
    """The scenario in a file.  Raises ScenarioInvalid, OSError."""
    try:
        given = msgspec.json.decode(path.read_bytes().removeprefix(BOM_UTF8), type=_Scenario)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ScenarioInvalid(str(error)) from error
    users = default_users() if given.users is None else given.users
    return Scenario(
        users=tuple(users),
        settings=given.settings,
        script=_replies(given.script),
        faults=tuple(given.faults),
    )


def default_scenario() -> Scenario:
    """The world when nothing is said."""
    return Scenario(users=tuple(default_users()), settings=Settings())


def converted(value: Any, wanted: Any) -> Any:
    """A decoded JSON value as the wanted type.  Raises ScenarioInvalid naming the place."""
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise ScenarioInvalid(str(error)) from error


def _replies(given: Sequence[_Reply]) -> tuple[Reply, ...]:
    return tuple(_reply(number, reply) for number, reply in enumerate(given, 1))


def _reply(number: int, given: _Reply) -> Reply:
    if (given.steps is None) == (given.refuse is None):
        raise ScenarioInvalid(f"reply {number} needs either `steps` or `refuse`")
    if given.refuse is not None:
        said = given.refuse
        return Reply(given.when, refusal=Refusal(said.type, said.message, said.reason, said.status))
    try:
        return Reply(given.when, steps=tuple(steps_from_json(given.steps or [])))
    except ValueError as error:
        raise ScenarioInvalid(f"reply {number}: {error}") from error
