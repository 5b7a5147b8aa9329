"""The rules of the Kiro service around a turn: who may call, for which profile, on which plan; the lists.

A call takes the world, its region, the caller and the members of its request; it gives the body of the
answer or raises Refusal.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from kiro_auth.simulator import agent, catalog, web_search
from kiro_auth.simulator.refusals import Refusal, denied
from kiro_auth.simulator.scenario import BUILDER_ID_REGION, User
from kiro_auth.simulator.validator import FIELDS_REFUSED, check_chat, count_tokens
from kiro_auth.simulator.wire import Output, frames
from kiro_auth.simulator.world import World, to_json

Protocol: TypeAlias = Literal["rest", "rpc"]
Members: TypeAlias = Mapping[str, Any]

CHAT: Final = "GenerateAssistantResponse"
REST_PATHS: Final = {
    # path: method, operation
    "/generateAssistantResponse": ("POST", CHAT),
    "/ListAvailableModels": ("GET", "ListAvailableModels"),
    "/List-Available-Models": ("GET", "ListAvailableModels"),
    "/List-Available-Profiles": ("POST", "ListAvailableProfiles"),
    "/getUsageLimits": ("GET", "GetUsageLimits"),
    "/mcp": ("POST", web_search.OPERATION),
}
_CONTROL: Final = ("ListAvailableModels", "ListAvailableProfiles", "GetUsageLimits")
RPC_TARGETS: Final = {
    "AmazonCodeWhispererStreamingService": (CHAT,),
    "KiroRuntimeService": (CHAT, web_search.OPERATION),
    "AmazonCodeWhispererService": _CONTROL,
    "KiroControlPlaneBearerService": _CONTROL,
}
"""The operations that each service name of the rpc dialect has."""

API_KEY: Final = "API_KEY"
_TOKEN_TYPES: Final = {"external-idp": "EXTERNAL_IDP"}
"""What the header `TokenType` must say of the tokens of such a sign-in."""
_ORGANISATIONS: Final = ("idc", "external-idp")
_INVALID_BEARER: Final = "The bearer token included in the request is invalid."
_NOT_AUTHORIZED: Final = "User is not authorized to make this call."


class Turn(Struct, frozen=True):
    """A chat request that was accepted, and what it will be answered with."""

    conversation_id: str
    model: str
    output: Iterator[Output]


def check_target(target: str) -> None:
    """Refuse an `X-Amz-Target` that names no operation."""
    prefix, _, operation = target.partition(".")
    if operation not in RPC_TARGETS.get(prefix, ()):
        raise unknown_operation(400)


def unknown_operation(status: int) -> Refusal:
    """There is no such operation: 404 for a path, 400 for a target."""
    return Refusal("UnknownOperationException", "The requested operation is not recognized.", status=status)


# ------------------------------------------------------------------------------------------- callers


def authenticate(world: World, region: str, authorization: str, token_type: str | None) -> User:
    """Whose bearer token this is.

    Raises Refusal: not good (any more), issued in another partition than the region's, of another type than
    the header `TokenType` says, or its user suspended.
    """
    scheme, _, token = authorization.partition(" ")
    user = world.bearer(token.strip()) if scheme.lower() == "bearer" else None
    if user is None or _is_govcloud(user.region) != _is_govcloud(region):
        raise denied(_INVALID_BEARER)
    wanted = API_KEY if token.strip().startswith("ksk_") else _TOKEN_TYPES.get(user.kind)
    if wanted is not None and token_type != wanted:
        raise denied("Invalid token" if wanted != API_KEY else _INVALID_BEARER)
    if user.suspended:
        raise denied(
            f"Your User ID ({user.user_id}) temporarily is suspended. We've locked it as a security "
            "precaution. To restore access, use the form at https://support.aws.amazon.com/#/contacts/kiro",
            "TEMPORARILY_SUSPENDED",
        )
    return user


def _is_govcloud(region: str) -> bool:
    return region.startswith("us-gov-")


def check_operation(operation: str, region: str, token_type: str | None) -> None:
    """Refuse what the region does not have, and what cannot be asked with a key."""
    if operation == web_search.OPERATION and region not in web_search.REGIONS:
        raise unknown_operation(404)
    if operation == "ListAvailableProfiles" and token_type == API_KEY:
        raise denied("Unsupported token type")


def _check_place(region: str, user: User, arn: Any, *, missing: str) -> None:
    """Refuse a profile that is not the user's or not of this region, or none where one is needed."""
    if user.kind == "builder-id":
        if arn or region != BUILDER_ID_REGION:
            raise denied(_NOT_AUTHORIZED)
        return
    if not arn:
        raise _invalid(missing)
    profile = next((profile for profile in user.profiles if profile.arn == arn), None)
    if profile is None:
        raise denied(_NOT_AUTHORIZED)
    if profile.region != region:
        raise _invalid("Improperly formed request.", "REQUEST_BODY_INVALID")


def _check_served(region: str, user: User) -> None:
    """Refuse an organisation's token where none of its profiles is served: nobody knows it there."""
    regions = {profile.region for profile in user.profiles}
    if user.kind in _ORGANISATIONS and regions and region not in regions:
        raise Refusal("AccessDeniedException", "Invalid token", status=400)


# ---------------------------------------------------------------------------------------------- chat


def chat(world: World, region: str, user: User, body: dict[str, Any], protocol: Protocol) -> Turn:
    """GenerateAssistantResponse: everything that is decided before the first byte.  Raises Refusal."""
    arn = body.get("profileArn")
    _check_place(region, user, arn, missing="profileArn is required for this request.")
    world.settle()
    if user.used >= user.limit:
        raise Refusal("ServiceQuotaExceededException", "You have reached the limit.", "MONTHLY_REQUEST_COUNT")
    if body.get("additionalModelRequestFields") and user.kind in world.settings.no_extra_fields:
        raise _invalid(FIELDS_REFUSED)
    models = catalog.listed(world.settings.models)
    if world.settings.strict:
        check_chat(body, protocol=protocol, models=models)
    message = _member(_member(_member(body, "conversationState"), "currentMessage"), "userInputMessage")
    reply = world.next_reply(message)
    if reply is not None and reply.refusal is not None:
        raise reply.refusal
    cached = world.cache.read(world.settings.caching, _member(body, "conversationState").get("history"))
    conversation_id = str(_member(body, "conversationState").get("conversationId") or uuid.uuid4())
    # Only a lenient world lets the name of an unknown model pass.
    model = models.get(str(message.get("modelId")), catalog.MODELS["auto"])
    return Turn(
        conversation_id,
        str(message.get("modelId")),
        frames(
            list(reply.steps) if reply is not None else agent.respond(body),
            conversation_id=conversation_id,
            protocol=protocol,
            input_tokens=count_tokens(body),
            cached_tokens=cached,
            window=model["tokenLimits"]["maxInputTokens"],
            max_tokens=_member(body, "additionalModelRequestFields").get("max_tokens"),
        ),
    )


def _member(value: Members, name: str) -> Members:
    """An object inside an object; empty when there is none, which only a lenient world lets pass."""
    member = value.get(name)
    return member if isinstance(member, dict) else {}


# ------------------------------------------------------------------------------------ lists and usage


def list_available_models(world: World, region: str, user: User, members: Members) -> dict[str, Any]:
    """ListAvailableModels."""
    if not members.get("origin"):
        raise _invalid("origin is required.")
    _check_served(region, user)
    arn = members.get("profileArn")
    _check_place(region, user, arn, missing="profileArn is required for this request.")
    listed = catalog.list_available_models(world.settings.models, world.settings.default_model)
    return {**listed, **_page(world, "models", listed["models"], members)}


def list_available_profiles(world: World, region: str, user: User, members: Members) -> dict[str, Any]:
    """ListAvailableProfiles: those of this region."""
    if user.kind == "builder-id":
        raise denied("AWS Builder ID is not supported for this operation.")
    own = [] if user.kind == "social" else user.profiles  # social sign-ins share one that is not listed
    rows = [
        {**to_json(profile), "profileType": "KIRO", "identityDetails": None}
        for profile in own
        if profile.region == region
    ]
    return _page(world, "profiles", rows, members)


def get_usage_limits(world: World, region: str, user: User, members: Members) -> dict[str, Any]:
    """GetUsageLimits."""
    _check_served(region, user)
    _check_place(region, user, members.get("profileArn"), missing="Invalid profileArn.")
    world.settle()
    reset = world.next_reset()
    email_wanted = members.get("isEmailRequired") in (True, "true")
    return {
        "nextDateReset": reset,
        "daysUntilReset": int((reset - world.now()) // 86400),
        "overageConfiguration": {"overageStatus": "DISABLED"},
        "subscriptionInfo": {
            "type": "Q_DEVELOPER_STANDALONE_" + user.plan.removeprefix("KIRO ").replace("+", "_PLUS"),
            "subscriptionTitle": user.plan,
            "upgradeCapability": "UPGRADE_CAPABLE",
            "overageCapability": "OVERAGE_CAPABLE",
            "subscriptionManagementTarget": "MANAGE",
        },
        "usageBreakdownList": [_breakdown(user, reset)],
        "userInfo": {"userId": user.user_id, "email": user.email if email_wanted else None},
    }


def _breakdown(user: User, reset: float) -> dict[str, Any]:
    return {
        "resourceType": "CREDIT",
        "displayName": "Credit",
        "displayNamePlural": "Credits",
        "unit": "INVOCATIONS",
        "currency": "USD",
        "currentUsage": int(user.used),
        "currentUsageWithPrecision": user.used,
        "usageLimit": int(user.limit),
        "usageLimitWithPrecision": user.limit,
        "currentOverages": 0,
        "currentOveragesWithPrecision": 0.0,
        "overageRate": 0.04,
        "overageCharges": 0.0,
        "bonuses": [],
        "overageCredits": [],
        "nextDateReset": reset,
    }


def _page(world: World, name: str, rows: Sequence[Mapping[str, Any]], members: Members) -> dict[str, Any]:
    """One page of rows; the next page's token is where it begins, in base64."""
    try:
        start = int(base64.b64decode(str(members.get("nextToken") or "MA=="), validate=True))
        wanted = int(members.get("maxResults") or world.settings.page_size)
    except (binascii.Error, ValueError, TypeError) as error:
        raise _invalid("Invalid nextToken or maxResults.") from error
    end = max(0, start) + max(1, min(wanted, world.settings.page_size))
    page: dict[str, Any] = {name: rows[max(0, start) : end]}
    if end < len(rows):
        page["nextToken"] = base64.b64encode(str(end).encode()).decode()
    return page


CONTROL_OPERATIONS: Final[dict[str, Callable[[World, str, User, Members], dict[str, Any]]]] = {
    "ListAvailableModels": list_available_models,
    "ListAvailableProfiles": list_available_profiles,
    "GetUsageLimits": get_usage_limits,
}


def _invalid(message: str, reason: str | None = None) -> Refusal:
    return Refusal("ValidationException", message, reason)
