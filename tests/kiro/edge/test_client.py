"""Calls to the service: what is sent, to whom, how often, and how a call ends."""

import asyncio
import json
import uuid
from contextlib import closing

import pytest
from aiohttp import web

from kiro_auth import __version__
from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.client import Credentials, KiroClient
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.kiro.request.payload import Payload
from support.scripted import reply, script

ARN = "arn:aws:codewhisperer:eu-central-1:123456789012:profile/ABCDEFGHIJKL"
STREAM = "application/vnd.amazon.eventstream"
BEARER = {"message": "The bearer token included in the request is invalid.", "reason": None}


@pytest.fixture
async def lines():
    async with Lines(Trust()) as lines:
        yield lines


def sent(body: bytes) -> Payload:
    return Payload(body=body, tool_names={}, repairs=(), input_tokens=0, tag_reasoning=False)


def credentials(kind: str = "idc", arn: str | None = None) -> Credentials:
    return Credentials(kind=kind, token="the-token", region="eu-central-1", profile_arn=arn)


def client_of(lines, *services, timeout: float = 5, protocol: str = "rpc") -> KiroClient:
    """A client that knows these places, in this order, for chat and for lists."""
    entries = tuple(
        {"url": getattr(service, "url", service), "protocol": protocol, "origin": f"ORIGIN_{number}"}
        for number, service in enumerate(services, 1)
    )
    endpoints = Endpoints({"runtime": entries, "management": entries})
    return KiroClient(lines, endpoints, timeout=timeout)


async def said(client: KiroClient, kind: str = "idc") -> bytes:
    """A whole reply."""
    parts = []
    with closing(await client.chat(credentials(kind), lambda endpoint: sent(b"{}"))) as answer:
        while data := await answer.read():
            parts.append(data)
    return b"".join(parts)


async def failure_of(call):
    with pytest.raises(TurnFailed) as raised:
        async with asyncio.timeout(10):
            await call
    return raised.value.failure


def chat_reply(text: bytes = b"frames") -> web.Response:
    return web.Response(body=text, content_type=STREAM, headers={"x-amzn-RequestId": "r-1"})


async def nowhere() -> str:
    """An address that refuses connections."""
    async with script(reply()) as service:
        return service.url


# ------------------------------------------------------------------------------------ what is sent


@pytest.mark.parametrize(
    ("kind", "token_type"),
    [
        ("builder-id", None),
        ("idc", None),
        ("social", None),
        ("api-key", "API_KEY"),
        ("external-idp", "EXTERNAL_IDP"),
    ],
)
@pytest.mark.parametrize("call", ["chat", "usage"])
async def test_headers_say_who_asks_and_for_whom(lines, kind, token_type, call):
    async with script(chat_reply() if call == "chat" else reply({})) as service:
        client = client_of(lines, service)
        await (said(client, kind) if call == "chat" else client.usage_limits(credentials(kind)))
    headers = service.asked[0].headers
    assert headers["authorization"] == "Bearer the-token"
    assert headers["user-agent"] == f"opencode-kiro-auth/{__version__}"
    assert headers["x-amzn-codewhisperer-optout"] == "true"
    assert uuid.UUID(headers["amz-sdk-invocation-id"]).version == 4
    assert headers["amz-sdk-request"] == "attempt=1; max=1"
    assert headers["accept-encoding"] == "identity"
    assert headers.get("tokentype") == token_type
    assert "cookie" not in headers


@pytest.mark.parametrize(
    ("protocol", "path", "expected"),
    [
        pytest.param(
            "rest",
            "/generateAssistantResponse",
            {
                "content-type": "application/json",
                "x-amzn-kiro-agent-mode": "vibe",
                "x-amz-target": None,
            },
            id="rest",
        ),
        pytest.param(
            "rpc",
            "/",
            {
                "content-type": "application/x-amz-json-1.0",
                "x-amzn-kiro-agent-mode": None,
                "x-amz-target": "KiroRuntimeService.GenerateAssistantResponse",
            },
            id="rpc",
        ),
    ],
)
async def test_chat_speaks_the_dialect_of_the_endpoint(lines, protocol, path, expected):
    async with script(chat_reply()) as service:
        client = client_of(lines, service, protocol=protocol)
        call = client.chat(credentials(), lambda endpoint: sent(f'{{"for": "{endpoint.protocol}"}}'.encode()))
        with closing(await call) as answer:
            assert (await answer.read(), answer.request_id) == (b"frames", "r-1")
            assert answer.sent.body == b""  # it was sent: a long answer is not to keep a long history
            assert answer.endpoint.url == service.url
    asked = service.asked[0]
    assert (asked.method, asked.path, asked.json) == ("POST", path, {"for": protocol})
    assert {name: asked.headers.get(name) for name in expected} == expected
    assert asked.headers["content-length"] == str(len(asked.body))


@pytest.mark.parametrize(
    ("call", "operation", "path", "query", "body"),
    [
        pytest.param(
            "list_models",
            "ListAvailableModels",
            "/ListAvailableModels",
            {"profileArn": ARN, "origin": "ORIGIN_1"},
            b"",
            id="models",
        ),
        pytest.param(
            "list_profiles", "ListAvailableProfiles", "/List-Available-Profiles", {}, b"{}", id="profiles"
        ),
        pytest.param(
            "usage_limits",
            "GetUsageLimits",
            "/getUsageLimits",
            {
                "resourceType": "AGENTIC_REQUEST",
                "isEmailRequired": "true",
                "profileArn": ARN,
                "origin": "ORIGIN_1",
            },
            b"",
            id="usage",
        ),
    ],
)
async def test_lists_speak_both_dialects(lines, call, operation, path, query, body):
    async with script(reply({})) as service:
        await getattr(client_of(lines, service, protocol="rest"), call)(credentials(arn=ARN))
        await getattr(client_of(lines, service, protocol="rpc"), call)(credentials(arn=ARN))
    rest, rpc = service.asked
    assert (rest.method, rest.path, rest.query, rest.body) == ("POST" if body else "GET", path, query, body)
    assert (rpc.method, rpc.path, rpc.query) == ("POST", "/", {})
    assert rpc.headers["x-amz-target"].partition(".")[2] == operation
    assert rpc.json == ({**query, "isEmailRequired": True} if "isEmailRequired" in query else query)
    assert rpc.headers["accept"] == "application/json"


async def test_a_large_body_arrives_whole_and_not_in_chunks(lines):
    body = json.dumps({"text": "x" * 3_000_000}).encode()
    received = []

    async def count(request):
        parts = [part async for part in request.content.iter_any()]
        received.append((b"".join(parts), request.headers.get("Content-Length")))
        return chat_reply()

    # A server of its own: the scripted one takes a megabyte at most.
    runner = web.ServerRunner(web.Server(count), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = client_of(lines, f"http://127.0.0.1:{runner.addresses[0][1]}")
        with closing(await client.chat(credentials(), lambda endpoint: sent(body))) as answer:
            assert await answer.read() == b"frames"
    finally:
        await runner.cleanup()
    assert received == [(body, str(len(body)))]


def test_credentials_are_shown_without_the_token():
    assert repr(credentials()) == "Credentials(idc, eu-central-1)"
    assert "the-token" not in f"{credentials()}"


# ------------------------------------------------------------------------------------- which host


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply({}, 404), id="404"),
        pytest.param(reply({"__type": "UnknownOperationException"}, 400), id="unknown operation"),
        pytest.param(reply({"message": "User is not authorized to make this call."}, 403), id="bare 403"),
    ],
)
async def test_a_host_that_does_not_know_the_call_is_left_for_the_next(lines, answer):
    async with script(answer) as first, script(chat_reply()) as second:
        assert await said(client_of(lines, first, second)) == b"frames"
    assert (len(first.asked), len(second.asked)) == (1, 1)
    before, after = first.asked[0].headers, second.asked[0].headers
    assert after["amz-sdk-request"] == "attempt=2; max=2"
    assert before["amz-sdk-invocation-id"] == after["amz-sdk-invocation-id"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(reply({"message": "Improperly formed request."}, 400), "KA-BODY", id="malformed"),
        pytest.param(reply(BEARER, 403), "KA-TOKEN", id="token"),
        pytest.param(reply({"reason": "TEMPORARILY_SUSPENDED"}, 403), "KA-SUSPENDED", id="locked"),
        pytest.param(reply({"reason": "MONTHLY_REQUEST_COUNT"}, 402), "KA-QUOTA", id="quota"),
        pytest.param(reply({}, 429), "KA-THROTTLE", id="throttled"),
        pytest.param(reply({}, 503), "KA-SERVICE", id="a fault"),
        pytest.param(
            web.Response(text="<html>hotel</html>", content_type="text/html"), "KA-SERVICE", id="a page"
        ),
        pytest.param(reply({"message": "x"}), "KA-SERVICE", id="an error under 200"),
    ],
)
async def test_what_the_service_refuses_is_asked_once(lines, answer, code):
    async with script(answer) as first, script(chat_reply()) as second:
        failure = await failure_of(said(client_of(lines, first, second)))
    assert failure.code == code
    assert (len(first.asked), len(second.asked)) == (1, 0)


async def test_the_next_host_is_tried_once_and_no_further(lines):
    async with script(reply({}, 404)) as first, script(reply({}, 404)) as second, script() as third:
        await failure_of(said(client_of(lines, first, second, third)))
    assert [len(service.asked) for service in (first, second, third)] == [1, 1, 0]


async def test_hosts_that_cannot_be_reached_are_passed_over(lines):
    gone = await nowhere()
    async with script(reply({}, 404)) as first, script(chat_reply()) as last:
        client = client_of(lines, "https://q.invalid", gone, first, gone, last)
        assert await said(client) == b"frames"
    assert last.asked[0].headers["amz-sdk-request"] == "attempt=5; max=5"


async def test_no_host_at_all_is_the_last_one_s_failure(lines):
    gone = await nowhere()
    failure = await failure_of(said(client_of(lines, "https://q.invalid", gone)))
    assert failure.code == "KA-NETWORK"
    assert "127.0.0.1 refuses the connection" in failure.message


async def test_the_host_that_worked_is_asked_first_from_then_on(lines):
    async with script(reply({}, 404)) as first, script(chat_reply()) as second:
        client = client_of(lines, first, second)
        await said(client)
        await said(client)
        assert (len(first.asked), len(second.asked)) == (1, 2)
        await said(client, "builder-id")  # another kind of credential learns for itself
    assert (len(first.asked), len(second.asked)) == (2, 3)


async def test_a_refusal_too_shows_that_the_host_works(lines):
    async with script(reply({}, 404)) as first, script(reply({}, 429)) as second:
        client = client_of(lines, first, second)
        await failure_of(said(client))
        await failure_of(said(client))
    assert (len(first.asked), len(second.asked)) == (1, 2)


async def test_a_host_that_worked_and_went_away_gives_way(lines):
    async with script(reply({}, 404), chat_reply()) as first:
        async with script(chat_reply()) as second:
            client = client_of(lines, first, second)
            await said(client)
        await asyncio.sleep(0.05)  # until the idle connection to it is seen to be closed
        assert await said(client) == b"frames"
    assert len(first.asked) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_token_is_never_taken_along_to_where_a_host_points(lines, status):
    async with script(chat_reply()) as other:
        away = web.Response(status=status, headers={"Location": other.url})
        async with script(away) as service:
            failure = await failure_of(said(client_of(lines, service)))
            assert failure.code == "KA-SERVICE"
            failure = await failure_of(client_of(lines, service).list_profiles(credentials()))
            assert failure.code == "KA-SERVICE"
    assert other.asked == []


async def test_a_proxy_gets_what_is_not_for_this_machine_and_nothing_else(lines, monkeypatch):
    async with script(chat_reply(b"by proxy")) as proxy, script(chat_reply(b"direct")) as service:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        assert await said(client_of(lines, service)) == b"direct"
        assert proxy.asked == []
        assert await said(client_of(lines, "http://service.invalid")) == b"by proxy"
    assert proxy.asked[0].headers["host"] == "service.invalid"


# ------------------------------------------------------------------------------- lists and usage


async def test_pages_become_one_list(lines):
    async with script(
        reply({"models": [{"modelId": "a"}], "nextToken": "1", "defaultModel": {"modelId": "a"}}),
        reply({"models": [{"modelId": "b"}, "no object"], "nextToken": "2"}),
        reply({"models": None}),
    ) as service:
        found = await client_of(lines, service).list_models(credentials())
    assert found == {"models": [{"modelId": "a"}, {"modelId": "b"}], "defaultModel": {"modelId": "a"}}
    assert [asked.json.get("nextToken") for asked in service.asked] == [None, "1", "2"]


async def test_a_page_that_names_itself_ends_the_list(lines):
    async with script(reply({"profiles": [{"arn": "a"}], "nextToken": "same"})) as service:
        assert len(await client_of(lines, service).list_profiles(credentials())) == 2
    assert len(service.asked) == 2


async def test_a_list_without_end_is_read_in_part(lines):
    count = 0

    async def another(request):
        nonlocal count
        count += 1
        return reply({"profiles": [{"arn": str(count)}], "nextToken": str(count)})

    async with script(another) as service:
        found = await client_of(lines, service).list_profiles(credentials())
    assert len(found) == len(service.asked) == 50


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(400, {"message": "Improperly formed request."}, id="malformed"),
        pytest.param(400, {"message": "Invalid profileArn."}, id="profile"),
        pytest.param(403, {"message": "x", "reason": "FEATURE_NOT_SUPPORTED"}, id="not entitled"),
    ],
)
async def test_usage_is_asked_without_the_arn_where_the_arn_is_refused(lines, status, body):
    async with script(reply(body, status), reply({"userInfo": {"userId": "u"}})) as service:
        found = await client_of(lines, service).usage_limits(credentials(arn=ARN))
    assert found == {"userInfo": {"userId": "u"}}
    assert [asked.json.get("profileArn") for asked in service.asked] == [ARN, None]


async def test_when_usage_is_refused_both_ways_the_first_refusal_counts(lines):
    async with script(reply({"message": "Invalid profileArn."}, 400), reply({}, 500)) as service:
        failure = await failure_of(client_of(lines, service).usage_limits(credentials(arn=ARN)))
    assert failure.code == "KA-PROFILE"
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    ("arn", "answer"),
    [
        pytest.param(None, reply({"message": "Improperly formed request."}, 400), id="there is no ARN"),
        pytest.param(ARN, reply(BEARER, 403), id="the token is refused"),
        pytest.param(ARN, reply({}, 429), id="throttled"),
        pytest.param(ARN, reply({}, 500), id="a fault"),
    ],
)
async def test_usage_is_asked_once_where_the_arn_is_not_the_trouble(lines, arn, answer):
    async with script(answer) as service:
        await failure_of(client_of(lines, service).usage_limits(credentials(arn=arn)))
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>hotel</html>", id="a page"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"models": [', id="cut"),
        pytest.param(b'{"models": "\xff"}', id="no UTF-8"),
        pytest.param(b'{"models":' + b"[" * 100_000, id="too deep"),
    ],
)
async def test_a_list_that_is_none_is_the_fault_of_what_stands_between(lines, body):
    async with script(reply(body)) as service:
        failure = await failure_of(client_of(lines, service).list_models(credentials()))
    assert failure.code == "KA-SERVICE"
    assert "instead of an answer" in failure.message


# --------------------------------------------------------------------------------- how a call ends


class Held:
    """A host that says something, or nothing, and then is silent until the caller hangs up."""

    def __init__(self, opening: bytes | None) -> None:
        self.opening = opening
        self.left = asyncio.Event()

    async def __call__(self, request):
        response = web.StreamResponse(headers={"Content-Type": STREAM})
        if self.opening is not None:
            await response.prepare(request)
            await response.write(self.opening)
        for _ in range(1000):
            if request.transport is None or request.transport.is_closing():
                self.left.set()
                break
            await asyncio.sleep(0.01)
        return response


async def test_leaving_the_block_hangs_up_at_once_while_the_service_is_silent(lines):
    held = Held(b"some")
    async with script(held) as service, asyncio.timeout(5):
        client = client_of(lines, service, timeout=60)
        with closing(await client.chat(credentials(), lambda e: sent(b"{}"))) as answer:
            assert await answer.read() == b"some"
        await held.left.wait()


@pytest.mark.parametrize("opening", [None, b""], ids=["before the status", "before the first byte"])
async def test_a_cancelled_call_hangs_up_at_once(lines, opening):
    held = Held(opening)
    async with script(held) as service, asyncio.timeout(5):
        call = asyncio.create_task(said(client_of(lines, service, timeout=60)))
        for _ in range(400):
            if service.asked:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await held.left.wait()


@pytest.mark.parametrize("opening", [None, b"some"], ids=["before the status", "within the reply"])
async def test_silence_ends_a_reply_as_a_timeout(lines, opening):
    async with script(Held(opening)) as service:
        failure = await failure_of(said(client_of(lines, service, timeout=0.2)))
    assert failure.code == "KA-TIMEOUT"


async def test_a_reply_that_goes_on_may_take_longer_than_the_longest_silence(lines):
    async def slow(request):
        response = web.StreamResponse(headers={"Content-Type": STREAM})
        await response.prepare(request)
        for _ in range(4):
            await asyncio.sleep(0.6)
            await response.write(b"x")
        return response

    async with script(slow) as service:  # on a busy machine each word may come more than a second late
        assert await said(client_of(lines, service, timeout=2)) == b"xxxx"


async def test_a_list_has_a_time_of_its_own_however_it_drips(lines):
    async def drip(request):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    async with script(drip) as service:
        failure = await failure_of(client_of(lines, service, timeout=0.3).list_models(credentials()))
    assert failure.code == "KA-TIMEOUT"


@pytest.mark.parametrize("opening", [None, b"some"], ids=["before the status", "within the reply"])
async def test_a_broken_connection_is_trouble_of_the_network(lines, opening):
    async def break_off(request):
        response = web.StreamResponse(headers={"Content-Type": STREAM, "Content-Length": "1000"})
        if opening is not None:
            await response.prepare(request)
            await response.write(opening)
            await asyncio.sleep(0.05)
        request.transport.abort()
        return response

    async with script(break_off) as service:
        failure = await failure_of(said(client_of(lines, service)))
    assert failure.code == "KA-NETWORK"


async def test_a_reply_read_to_its_end_gives_its_connection_to_the_next(lines):
    async with script(chat_reply()) as service:
        client = client_of(lines, service)
        for _ in range(3):
            await said(client)
        assert len(service.connections) == 1


async def test_a_failing_body_is_nothing_of_the_service(lines):
    def build(endpoint):
        raise ValueError("no body")

    async with script(chat_reply()) as service:
        with pytest.raises(ValueError, match="no body"):
            await client_of(lines, service).chat(credentials(), build)
    assert service.asked == []


# ------------------------------------------------------------------------- the service's own tools


@pytest.mark.parametrize(
    ("protocol", "path", "target"), [("rest", "/mcp", None), ("rpc", "/", "KiroRuntimeService.InvokeMCP")]
)
async def test_its_tools_are_asked_in_the_dialect_of_the_place_for_chat(lines, protocol, path, target):
    asked = {"id": "1", "jsonrpc": "2.0", "method": "tools/list", "params": {}}
    async with script(reply({"result": {"tools": []}})) as service:
        client = client_of(lines, service, protocol=protocol)
        answer = await client.invoke_mcp(credentials(arn=ARN), asked)
    [call] = service.asked
    assert answer == {"result": {"tools": []}}
    assert (call.method, call.path, call.headers.get("x-amz-target")) == ("POST", path, target)
    assert call.headers["x-amzn-kiro-profile-arn"] == ARN
    assert call.json == (asked if protocol == "rest" else {**asked, "profileArn": ARN})


async def test_a_host_without_tools_is_still_asked_first_for_chat(lines):
    none_here = reply({"__type": "UnknownOperationException"}, 404)
    async with script(none_here, chat_reply()) as first, script(reply({})) as second:
        client = client_of(lines, first, second)
        await client.invoke_mcp(credentials(), {})
        assert await said(client) == b"frames"
    assert (len(first.asked), len(second.asked)) == (2, 1)
