"""The simulated Kiro service, its control calls and the page for people, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from kiro_auth.kiro.reply.eventstream import EventStreamDecoder, Frame, FrameCorrupt
from kiro_auth.simulator.app import create_app
from kiro_auth.simulator.scenario import ORGANISATION_START_URL
from kiro_auth.simulator.world import World

pytestmark = pytest.mark.outside

ADA, LINUS, JOAN = "ada@example.com", "linus@example.org", "joan@example.net"
OWN_ARN = "arn:aws:codewhisperer:eu-central-1:123456789012:profile/ORGANISATION"
FOREIGN_ARN = "arn:aws:codewhisperer:eu-central-1:999999999999:profile/SOMEBODYELSE"
CHAT = "KiroRuntimeService.GenerateAssistantResponse"
CONTROL = "KiroControlPlaneBearerService."
TOOL = {
    "toolSpecification": {
        "name": "write",
        "description": "Write a file.",
        "inputSchema": {"json": {"type": "object", "properties": {"path": {"type": "string"}}}},
    }
}


def asked(content: str = "Hello there", **more: Any) -> dict[str, Any]:
    """A chat body; `tools` goes where tools go, all else to the top."""
    tools = more.pop("tools", None)
    message: dict[str, Any] = {"content": content, "modelId": "claude-sonnet-4.5", "origin": "AI_EDITOR"}
    if tools:
        message["userInputMessageContext"] = {"tools": tools}
    state = {
        "conversationId": "11111111-1111-4111-8111-111111111111",
        "chatTriggerType": "MANUAL",
        "currentMessage": {"userInputMessage": message},
        "history": [],
    }
    return {"conversationState": state, **more}


class Answer:
    """A whole answer; `cut` says that the connection broke before its end."""

    def __init__(self, status: int, headers: Any, raw: bytes, cut: bool) -> None:
        self.status, self.headers, self.raw, self.cut = status, headers, raw, cut

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def frames(self) -> list[Frame]:
        return EventStreamDecoder().feed(self.raw)

    @property
    def names(self) -> list[Any]:
        return [frame.headers.get(":event-type") for frame in self.frames]

    @property
    def text(self) -> str:
        return "".join(
            json.loads(frame.payload)["content"]
            for frame in self.frames
            if frame.headers.get(":event-type") == "assistantResponseEvent"
        )


class Kiro:
    """The services, and tokens of their users."""

    def __init__(self, world: World, url: str, http: aiohttp.ClientSession) -> None:
        self.world, self.url, self.http = world, url, http

    def token(self, email: str) -> str:
        user = self.world.users[email]
        return self.world.issue(user.region, email, "a program").access

    async def send(
        self, path: str, body: Any = None, *, token: str = "", method: str = "POST", **headers: str
    ) -> Answer:
        given = {"Authorization": f"Bearer {token}", **headers}
        data = body if isinstance(body, bytes) else None
        sent = {"data": data} if data is not None or body is None else {"json": body}
        raw, cut = b"", False
        async with self.http.request(method, self.url + path, headers=given, **sent) as answer:
            try:
                async for chunk in answer.content.iter_any():
                    raw += chunk
            except aiohttp.ClientError:
                cut = True
            return Answer(answer.status, answer.headers, raw, cut)

    async def rest(self, body: Any, user: str = ADA, region: str = "us-east-1") -> Answer:
        return await self.send(f"/{region}/generateAssistantResponse", body, token=self.token(user))

    async def rpc(self, body: Any, user: str = ADA, region: str = "us-east-1", target: str = CHAT) -> Answer:
        return await self.send(f"/{region}/", body, token=self.token(user), **{"X-Amz-Target": target})

    async def control(self, name: str, body: Any = None) -> Any:
        method = "GET" if body is None else "POST"
        answer = await self.send(f"/_control/{name}", body, method=method)
        assert answer.status == 200, answer.raw
        return answer.json


@pytest.fixture
async def kiro() -> AsyncIterator[Kiro]:
    world = World()
    async with TestServer(create_app(world)) as server, aiohttp.ClientSession() as http:
        yield Kiro(world, str(server.make_url("")).rstrip("/"), http)


def refused(answer: Answer) -> tuple[int, str, str | None]:
    """Status, type and reason; header and body must agree."""
    body = answer.json
    kind = body["__type"].rpartition("#")[2]
    assert answer.headers["x-amzn-errortype"] == kind
    assert answer.headers["x-amzn-requestid"]
    assert body["message"]
    return answer.status, kind, body["reason"]


# ---------------------------------------------------------------------------------------------- chat


async def test_a_rest_reply_names_the_conversation_in_its_headers(kiro: Kiro) -> None:
    answer = await kiro.rest(asked())

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert (
        answer.headers["x-amzn-codewhisperer-conversation-id"]
        == asked()["conversationState"]["conversationId"]
    )
    assert answer.headers["x-amzn-requestid"]
    assert "initial-response" not in answer.names
    assert answer.names[-3:] == ["metadataEvent", "contextUsageEvent", "meteringEvent"]
    assert answer.text


async def test_an_rpc_reply_names_the_conversation_in_its_first_frame(kiro: Kiro) -> None:
    answer = await kiro.rpc(asked())

    assert answer.names[0] == "initial-response"
    assert json.loads(answer.frames[0].payload) == {
        "conversationId": asked()["conversationState"]["conversationId"]
    }


async def test_a_turn_costs_what_its_metering_event_says(kiro: Kiro) -> None:
    answer = await kiro.rest(asked())

    assert kiro.world.users[ADA].used == json.loads(answer.frames[-1].payload)["usage"] > 0


async def test_what_is_charged_is_in_the_books_by_its_conversation(kiro: Kiro) -> None:
    answer = await kiro.rest(asked())
    [line] = (await kiro.control("books"))["books"]

    assert (line["user"], line["credits"]) == (ADA, json.loads(answer.frames[-1].payload)["usage"])
    assert line["conversation"] == asked()["conversationState"]["conversationId"]


async def test_the_most_chats_at_a_time_are_counted_for_each_person(kiro: Kiro) -> None:
    await kiro.control("script", [{"steps": [{"text": "Hi"}, {"pause": 0.3}]}] * 3)
    await asyncio.gather(*(kiro.rest(asked()) for _ in range(3)))
    await kiro.rest(asked())

    assert (await kiro.control("loads"))["loads"] == {ADA: {"now": 0, "most": 3}}


async def test_a_reply_that_is_cut_before_its_metering_costs_nothing(kiro: Kiro) -> None:
    await kiro.control("script", [{"steps": [{"text": "Hi"}, {"cut": "clean"}]}])
    await kiro.rest(asked())

    assert kiro.world.users[ADA].used == 0


async def test_a_spent_plan_refuses_until_the_next_month(kiro: Kiro) -> None:
    await kiro.control("user", {"email": ADA, "used": 1000})
    spent = (402, "ServiceQuotaExceededException", "MONTHLY_REQUEST_COUNT")

    assert refused(await kiro.rest(asked())) == refused(await kiro.rpc(asked())) == spent
    await kiro.control("advance", {"seconds": kiro.world.next_reset() - kiro.world.now() + 1})
    assert (await kiro.rest(asked())).status == 200


async def test_the_older_rpc_hosts_answer_with_400_or_500_only(kiro: Kiro) -> None:
    await kiro.control("user", {"email": ADA, "used": 1000})
    await kiro.control("settings", {"legacyRpcStatus": True})

    assert refused(await kiro.rpc(asked()))[0] == 400
    assert refused(await kiro.rest(asked()))[0] == 402


async def test_a_request_that_breaks_a_rule_is_refused_unless_lenient(kiro: Kiro) -> None:
    body = asked()
    body["conversationState"]["currentMessage"]["userInputMessage"]["modelId"] = "no-such-model"

    assert refused(await kiro.rest(body)) == (400, "ValidationException", "INVALID_MODEL_ID")
    await kiro.control("settings", {"strict": False})
    assert (await kiro.rest(body)).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000], ids=["empty", "cut", "list", "deep"])
async def test_a_body_that_is_no_object_is_named_as_that(kiro: Kiro, body: bytes) -> None:
    assert refused(await kiro.rest(body)) == (400, "ValidationException", "REQUEST_BODY_INVALID_JSON")


@pytest.mark.parametrize(
    "body", [{}, {"conversationState": 1}, {"conversationState": {"currentMessage": []}}], ids=str
)
async def test_even_lenience_answers_odd_bodies(kiro: Kiro, body: Any) -> None:
    await kiro.control("settings", {"strict": False})
    await kiro.control("script", [{"steps": [{"text": "All the same"}]}])

    assert (await kiro.rest(body)).text == "All the same"


# ------------------------------------------------------------------------------------------- callers


async def test_a_bearer_counts_until_its_time_is_over(kiro: Kiro) -> None:
    token = kiro.token(ADA)
    for seconds, status in ((0, 200), (3600, 403)):
        await kiro.control("advance", {"seconds": seconds})
        answer = await kiro.send("/us-east-1/generateAssistantResponse", asked(), token=token)

        assert answer.status == status
    assert refused(answer)[1:] == ("AccessDeniedException", None)
    assert answer.json["message"] == "The bearer token included in the request is invalid."


async def test_a_suspended_user_is_told_so_by_every_operation(kiro: Kiro) -> None:
    await kiro.control("user", {"email": ADA, "suspended": True})

    for answer in (await kiro.rest(asked()), await kiro.rpc({}, target=CONTROL + "GetUsageLimits")):
        assert refused(answer) == (403, "AccessDeniedException", "TEMPORARILY_SUSPENDED")


@pytest.mark.parametrize(
    ("user", "region", "arn", "refusal"),
    [
        pytest.param(LINUS, "eu-central-1", OWN_ARN, None, id="own"),
        pytest.param(LINUS, "eu-central-1", None, (400, None), id="none"),
        pytest.param(LINUS, "eu-central-1", FOREIGN_ARN, (403, None), id="foreign"),
        pytest.param(LINUS, "us-east-1", OWN_ARN, (400, "REQUEST_BODY_INVALID"), id="other region"),
        pytest.param(ADA, "us-east-1", None, None, id="builder id"),
        pytest.param(ADA, "us-east-1", OWN_ARN, (403, None), id="builder id with one"),
        pytest.param(ADA, "eu-central-1", None, (403, None), id="builder id elsewhere"),
        pytest.param(
            JOAN, "us-east-1", "arn:aws:codewhisperer:us-east-1:210987654321:profile/SOCIALSHARED", None,
            id="social"),
    ],
)  # fmt: skip
async def test_the_profile_must_be_the_user_s_own_and_of_the_region(
    kiro: Kiro, user: str, region: str, arn: str | None, refusal: tuple[int, str | None] | None
) -> None:
    answer = await kiro.rest(asked(**({"profileArn": arn} if arn else {})), user, region)

    if refusal is None:
        assert answer.status == 200
    else:
        status, _, reason = refused(answer)
        assert (status, reason) == refusal


# ----------------------------------------------------------------------------------------- the lists


async def test_models_are_listed_in_both_dialects_and_by_pages(kiro: Kiro) -> None:
    token = kiro.token(ADA)
    whole = (await kiro.rpc({"origin": "KIRO_CLI"}, target=CONTROL + "ListAvailableModels")).json
    by_path = [
        (await kiro.send(f"/us-east-1/{path}?origin=AI_EDITOR", token=token, method="GET")).json
        for path in ("ListAvailableModels", "List-Available-Models")
    ]
    paged, more = [], {}
    while True:
        page = (
            await kiro.rpc(
                {"origin": "KIRO_CLI", "maxResults": 2, **more}, target=CONTROL + "ListAvailableModels"
            )
        ).json
        assert len(page["models"]) <= 2
        paged += page["models"]
        if "nextToken" not in page:
            break
        more = {"nextToken": page["nextToken"]}

    assert by_path == [whole, whole]
    assert paged == whole["models"]
    assert whole["defaultModel"]["modelId"] in {model["modelId"] for model in paged}


@pytest.mark.parametrize(
    "wrong", [{"nextToken": "!"}, {"nextToken": "eA=="}, {"maxResults": "many"}, {"origin": ""}], ids=str
)
async def test_a_list_that_cannot_be_read_is_refused(kiro: Kiro, wrong: dict[str, str]) -> None:
    answer = await kiro.rpc({"origin": "KIRO_CLI", **wrong}, target=CONTROL + "ListAvailableModels")

    assert refused(answer)[:2] == (400, "ValidationException")


async def test_profiles_are_listed_where_they_are_served(kiro: Kiro) -> None:
    target = "AmazonCodeWhispererService.ListAvailableProfiles"
    here, elsewhere = [
        (await kiro.rpc({}, LINUS, region, target)).json["profiles"]
        for region in ("eu-central-1", "us-east-1")
    ]
    by_path = await kiro.send("/eu-central-1/List-Available-Profiles", {}, token=kiro.token(LINUS))

    assert [profile["arn"] for profile in here] == [OWN_ARN]
    assert (by_path.json["profiles"], elsewhere) == (here, [])


async def test_builder_id_has_no_list_of_profiles_and_social_an_empty_one(kiro: Kiro) -> None:
    target = CONTROL + "ListAvailableProfiles"
    answer = await kiro.rpc({}, ADA, target=target)

    assert refused(answer)[0] == 403
    assert answer.json["message"] == "AWS Builder ID is not supported for this operation."
    assert (await kiro.rpc({}, JOAN, target=target)).json == {"profiles": []}


@pytest.mark.parametrize("operation", ["GetUsageLimits", "ListAvailableModels"])
@pytest.mark.parametrize("arn", [None, OWN_ARN])
async def test_where_no_profile_of_theirs_is_served_a_token_of_an_organisation_is_unknown(
    kiro: Kiro, operation: str, arn: str | None
) -> None:
    asked_for = {"origin": "KIRO_CLI", **({"profileArn": arn} if arn else {})}
    answer = await kiro.rpc(asked_for, LINUS, "us-east-1", CONTROL + operation)

    assert refused(answer) == (400, "AccessDeniedException", None)
    assert answer.json["message"] == "Invalid token"


GOV_ARN = "arn:aws-us-gov:codewhisperer:us-gov-east-1:123456789012:profile/GOVERNMENT12"


@pytest.mark.parametrize(
    ("user", "region", "status"),
    [
        pytest.param(LINUS, "us-gov-west-1", 200, id="GovCloud in GovCloud"),
        pytest.param(LINUS, "us-east-1", 403, id="GovCloud outside"),
        pytest.param(JOAN, "us-gov-west-1", 403, id="others in GovCloud"),
    ],
)
async def test_a_token_is_unknown_in_another_partition(
    kiro: Kiro, user: str, region: str, status: int
) -> None:
    profiles = [{"arn": GOV_ARN}]
    await kiro.control("user", {"email": LINUS, "region": "us-gov-west-1", "profiles": profiles})

    answer = await kiro.rpc({}, user, region, "AmazonCodeWhispererService.ListAvailableProfiles")

    assert answer.status == status
    if status == 403:
        assert answer.json["message"] == "The bearer token included in the request is invalid."


async def test_a_profile_of_govcloud_serves_a_turn_there(kiro: Kiro) -> None:
    await kiro.control("user", {"email": LINUS, "region": "us-gov-west-1", "profiles": [{"arn": GOV_ARN}]})

    assert (await kiro.rest(asked(profileArn=GOV_ARN), LINUS, "us-gov-east-1")).status == 200


async def test_usage_tells_plan_credits_and_reset_and_the_e_mail_only_when_asked(kiro: Kiro) -> None:
    await kiro.rest(asked())
    token = kiro.token(ADA)
    plain, with_email = [
        (await kiro.send(f"/us-east-1/getUsageLimits?origin=AI_EDITOR{more}", token=token, method="GET")).json
        for more in ("", "&isEmailRequired=true")
    ]

    [row] = plain["usageBreakdownList"]
    assert row["currentUsageWithPrecision"] == kiro.world.users[ADA].used > 0
    assert (row["resourceType"], row["usageLimitWithPrecision"]) == ("CREDIT", 1000)
    assert plain["subscriptionInfo"]["subscriptionTitle"] == "KIRO PRO"
    assert plain["nextDateReset"] > kiro.world.now()
    assert (plain["userInfo"]["email"], with_email["userInfo"]["email"]) == (None, ADA)


async def test_an_organisation_s_usage_needs_the_profile(kiro: Kiro) -> None:
    target = CONTROL + "GetUsageLimits"
    without = await kiro.rpc({}, LINUS, "eu-central-1", target)

    assert (refused(without)[0], without.json["message"]) == (400, "Invalid profileArn.")
    assert (await kiro.rpc({"profileArn": OWN_ARN}, LINUS, "eu-central-1", target)).status == 200


@pytest.mark.parametrize(
    ("path", "target", "status"),
    [
        pytest.param("/us-east-1/", "KiroRuntimeService.Nothing", 400, id="operation"),
        pytest.param("/us-east-1/", "Nobody.GenerateAssistantResponse", 400, id="service"),
        pytest.param("/us-east-1/", "KiroRuntimeService.GetUsageLimits", 400, id="of another service"),
        pytest.param("/us-east-1/", None, 400, id="no target"),
        pytest.param("/us-east-1/nothing", None, 404, id="path"),
        pytest.param("/nothing", None, 404, id="path without region"),
    ],
)
async def test_what_is_not_there_is_an_unknown_operation(
    kiro: Kiro, path: str, target: str | None, status: int
) -> None:
    headers = {"X-Amz-Target": target} if target else {}
    answer = await kiro.send(path, {}, token=kiro.token(ADA), **headers)

    assert refused(answer)[:2] == (status, "UnknownOperationException")


# ------------------------------------------------------------------------------------------- scripts


async def test_scripted_replies_are_given_in_order_then_the_built_in_agent_answers(kiro: Kiro) -> None:
    said = await kiro.control("script", [{"steps": [{"text": "one"}]}, {"steps": [{"text": "two"}]}])

    assert said == {"script": 2}
    assert [(await kiro.rest(asked())).text for _ in range(2)] == ["one", "two"]
    assert (await kiro.rest(asked())).text not in ("", "one", "two")


async def test_a_reply_waits_for_the_call_it_is_meant_for(kiro: Kiro) -> None:
    await kiro.control(
        "script",
        [
            {"when": {"tools": True}, "steps": [{"text": "with tools"}]},
            {"when": {"contains": "title"}, "steps": [{"text": "a title"}]},
        ],
    )

    other = await kiro.rest(asked())
    title = await kiro.rest(asked("Generate a title"))
    tools = await kiro.rest(asked(tools=[TOOL]))
    assert (title.text, tools.text) == ("a title", "with tools")
    assert other.text not in ("a title", "with tools")


async def test_a_scripted_refusal_is_answered_as_one(kiro: Kiro) -> None:
    refusal = {
        "type": "ThrottlingException",
        "reason": "USER_REQUEST_RATE_EXCEEDED",
        "message": "Slow down.",
        "status": 429,
    }
    await kiro.control("script", [{"refuse": refusal}])

    assert refused(await kiro.rest(asked())) == (429, "ThrottlingException", "USER_REQUEST_RATE_EXCEEDED")


async def test_each_frame_comes_when_it_is_due(kiro: Kiro) -> None:
    await kiro.control("script", [{"steps": [{"text": "early"}, {"hang": 3600}, {"text": "late"}]}])
    decoder = EventStreamDecoder()
    names: list[Any] = []
    async with (
        asyncio.timeout(40),
        kiro.http.post(
            f"{kiro.url}/us-east-1/generateAssistantResponse",
            json=asked(),
            headers={"Authorization": f"Bearer {kiro.token(ADA)}"},
        ) as answer,
    ):
        while "assistantResponseEvent" not in names:
            names += [f.headers.get(":event-type") for f in decoder.feed(await answer.content.readany())]
        answer.close()

    assert "meteringEvent" not in names


@pytest.mark.parametrize(
    ("kind", "broken", "whole"), [("clean", False, True), ("frame", False, False), ("reset", True, True)]
)
async def test_a_reply_ends_as_scripted(kiro: Kiro, kind: str, broken: bool, whole: bool) -> None:
    await kiro.control("script", [{"steps": [{"text": "Once upon"}, {"pause": 0.05}, {"cut": kind}]}])
    answer = await kiro.rest(asked())
    decoder = EventStreamDecoder()
    decoder.feed(answer.raw)

    assert (answer.text, answer.cut) == ("Once upon", broken)
    assert "meteringEvent" not in answer.names
    if whole:
        decoder.close()
    else:
        with pytest.raises(FrameCorrupt):
            decoder.close()


@pytest.mark.parametrize(
    "script",
    [
        {},
        [{}],
        [{"steps": [], "refuse": {"type": "X"}}],
        [{"steps": [{"sing": 1}]}],
        [{"when": {"x": 1}, "steps": []}],
    ],
    ids=str,
)
async def test_a_script_that_cannot_be_read_changes_nothing(kiro: Kiro, script: Any) -> None:
    answer = await kiro.send("/_control/script", script)

    assert answer.status == 400
    assert answer.json["error"]
    assert kiro.world.script == []


# ------------------------------------------------------------------------------------ faults, the log


async def test_a_fault_meets_the_next_calls_of_its_operation_only(kiro: Kiro) -> None:
    await kiro.control(
        "fault", {"operation": "GetUsageLimits", "times": 2, "status": 503, "body": "<h1>down</h1>"}
    )
    target = CONTROL + "GetUsageLimits"
    answers = [await kiro.rpc({}, target=target) for _ in range(3)]

    assert [answer.status for answer in answers] == [503, 503, 200]
    assert answers[0].headers["content-type"].startswith("text/html")
    assert (await kiro.control("state"))["faults"] == []


async def test_a_fault_with_a_json_body_and_headers_is_sent_as_given(kiro: Kiro) -> None:
    body = {"__type": "ThrottlingException", "message": "Slow down."}
    await kiro.control(
        "fault",
        {
            "operation": "GenerateAssistantResponse",
            "status": 429,
            "headers": {"Retry-After": "7"},
            "body": body,
        },
    )
    answer = await kiro.rest(asked())

    assert (answer.status, answer.json, answer.headers["retry-after"]) == (429, body, "7")


async def test_a_lost_answer_has_done_its_work(kiro: Kiro) -> None:
    pair = kiro.world.issue("us-east-1", JOAN, None)
    await kiro.control("fault", {"operation": "RefreshToken", "lost": True})

    with pytest.raises(aiohttp.ClientError):
        await kiro.send("/us-east-1/refreshToken", {"refreshToken": pair.refresh})
    again = await kiro.send("/us-east-1/refreshToken", {"refreshToken": pair.refresh})
    assert again.status == 400, "the token was spent although nobody got the new one"


async def test_the_log_tells_who_asked_what_in_which_order(kiro: Kiro) -> None:
    headers = {"X-Amz-Target": CHAT, "User-Agent": "a test", "amz-sdk-request": "attempt=1; max=1"}
    await kiro.send("/eu-central-1/", asked(profileArn=OWN_ARN), token=kiro.token(LINUS), **headers)
    await kiro.send("/us-east-1/generateAssistantResponse", asked(), token="unknown")

    first, second = (await kiro.control("calls"))["calls"]
    assert {k: first[k] for k in ("service", "operation", "region", "user", "status")} == {
        "service": "kiro", "operation": "GenerateAssistantResponse", "region": "eu-central-1", "user": LINUS,
        "status": 200,
    }  # fmt: skip
    assert first["body"]["profileArn"] == OWN_ARN
    assert first["headers"]["user-agent"] == "a test"
    assert first["headers"]["amz-sdk-request"] == "attempt=1; max=1"
    assert "authorization" not in first["headers"]
    assert (second["user"], second["status"]) == (None, 403)


# ------------------------------------------------------------------------------------------- control


async def test_a_signed_in_user_can_be_had_without_a_page(kiro: Kiro) -> None:
    kept = await kiro.control("sign-in", {"user": LINUS})

    refreshed = await kiro.send(
        f"/{kept['region']}/token",
        {name: kept[name] for name in ("clientId", "clientSecret", "refreshToken")}
        | {"grantType": "refresh_token"},
    )
    assert kept["profileArn"] == OWN_ARN
    assert refreshed.status == 200
    await kiro.control("revoke", {"user": LINUS})
    answer = await kiro.send("/us-east-1/List-Available-Profiles", {}, token=refreshed.json["accessToken"])
    assert answer.status == 403


async def test_a_user_can_be_added_and_changed(kiro: Kiro) -> None:
    await kiro.control("user", {"email": "new@example.com", "plan": "KIRO POWER", "limit": 10000})
    changed = await kiro.control("user", {"email": "new@example.com", "used": 5})

    assert (changed["plan"], changed["limit"], changed["used"]) == ("KIRO POWER", 10000, 5)
    assert changed["userId"] == "user-new"


async def test_reset_begins_anew(kiro: Kiro) -> None:
    token = kiro.token(ADA)
    await kiro.control("user", {"email": ADA, "used": 5})
    await kiro.control("settings", {"tokenSeconds": 60})
    await kiro.control("advance", {"seconds": 1e6})
    await kiro.control("reset", {})

    state = await kiro.control("state")
    assert state["users"][0]["used"] == 0
    assert state["settings"]["tokenSeconds"] == 3600
    assert (await kiro.control("calls"))["calls"] == []
    assert kiro.world.bearer(token) is None


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        pytest.param("advance", {"seconds": "soon"}, "`seconds`", id="seconds"),
        pytest.param("advance", [], "object", id="no object"),
        pytest.param("advance", {"seconds": 1e300}, "2970", id="far future"),
        pytest.param("approve", {"userCode": "XXXX-XXXX"}, "XXXX-XXXX", id="code"),
        pytest.param("user", {"limit": 3}, "email", id="no e-mail"),
        pytest.param("user", {"email": ADA, "limits": 3}, "limits", id="unknown field"),
        pytest.param("settings", {"tokenSeconds": "x"}, "tokenSeconds", id="setting"),
        pytest.param("sign-in", {"user": "nobody@example.com"}, "nobody@example.com", id="nobody"),
        pytest.param("fault", {"status": 500}, "operation", id="no operation"),
        pytest.param("fault", b"{", "", id="no JSON"),
        pytest.param("fault", b"[" * 100_000, "", id="deep JSON"),
    ],
)
async def test_an_order_that_cannot_be_followed_says_why(kiro: Kiro, name: str, body: Any, says: str) -> None:
    answer = await kiro.send(f"/_control/{name}", body)

    assert answer.status == 400
    assert says in answer.json["error"]


async def test_unknown_control_calls_name_the_known_ones(kiro: Kiro) -> None:
    for method in ("GET", "POST"):
        answer = await kiro.send("/_control/nothing", method=method)

        assert answer.status == 404
        assert "advance" in answer.json["error"]


# ------------------------------------------------------------------------------------------ the page


async def device(kiro: Kiro) -> tuple[dict[str, Any], dict[str, Any]]:
    """A program of the organisation's members and its code."""
    registered = await kiro.send(
        "/eu-north-1/client/register", {"clientName": "a test", "clientType": "public"}
    )
    client = {name: registered.json[name] for name in ("clientId", "clientSecret")}
    shown = await kiro.send(
        "/eu-north-1/device_authorization", {**client, "startUrl": ORGANISATION_START_URL}
    )
    return client, shown.json


async def token_of(kiro: Kiro, client: dict[str, Any], shown: dict[str, Any]) -> Answer:
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    return await kiro.send(
        "/eu-north-1/token", {**client, "grantType": grant, "deviceCode": shown["deviceCode"]}
    )


async def press(kiro: Kiro, shown: dict[str, Any], **fields: str) -> tuple[int, str]:
    form = {"user_code": shown["userCode"].lower(), **fields}
    async with kiro.http.post(shown["verificationUri"], data=form) as answer:
        return answer.status, await answer.text()


async def test_the_page_shows_the_code_and_who_may_confirm_it(kiro: Kiro) -> None:
    client, shown = await device(kiro)
    async with kiro.http.get(shown["verificationUriComplete"]) as answer:
        page = await answer.text()

    assert shown["userCode"] in page
    assert LINUS in page
    assert ADA not in page, "another start URL's users"
    status, said = await press(kiro, shown, user="margaret@example.org", decision="approve")
    assert (status, "margaret@example.org" in said) == (200, True)
    token = (await token_of(kiro, client, shown)).json["accessToken"]
    assert kiro.world.bearer(token).email == "margaret@example.org"


async def test_deny_on_the_page_ends_the_sign_in(kiro: Kiro) -> None:
    client, shown = await device(kiro)
    await press(kiro, shown, decision="deny")

    assert (await token_of(kiro, client, shown)).json["error"] == "access_denied"
    assert (await press(kiro, shown, decision="approve"))[0] == 404, "it no longer waits"


async def test_only_users_of_the_start_url_may_confirm(kiro: Kiro) -> None:
    _, shown = await device(kiro)

    assert (await press(kiro, shown, user=ADA, decision="approve"))[0] == 400


async def test_the_page_asks_for_a_code_and_repeats_none_unescaped(kiro: Kiro) -> None:
    for query, status in (("", 200), ("?user_code=<script>", 404)):
        async with kiro.http.get(f"{kiro.url}/device{query}") as answer:
            page = await answer.text()

        assert answer.status == status
        assert "user_code" in page
        assert "<script>" not in page


async def test_control_calls_confirm_and_decline_too(kiro: Kiro) -> None:
    client, shown = await device(kiro)
    said = await kiro.control("approve", {"userCode": shown["userCode"]})
    other_client, other = await device(kiro)
    await kiro.control("deny", {"userCode": other["userCode"]})

    assert said == {"user": LINUS}
    assert (await token_of(kiro, client, shown)).status == 200
    assert (await token_of(kiro, other_client, other)).json["error"] == "access_denied"
