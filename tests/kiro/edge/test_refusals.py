"""Answers that are no answers: what they mean, and whether another host may do better."""

import asyncio

import pytest
from aiohttp import web

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro.edge.errors import HostFailed, refusal, request_id, unanswered
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from support.scripted import reply, script

BEARER = "The bearer token included in the request is invalid."
SUBSCRIPTION = "Your subscription does not support this application."


def page(status: int, text: str = "<html><h1>403 Forbidden</h1></html>") -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html")


async def meaning(answer) -> TurnFailed:
    async with script(answer) as service, Lines(Trust()) as lines:
        return await refused(lines, service.url)


async def refused(lines: Lines, url: str) -> TurnFailed:
    async with lines.call(url, {}, b"", seconds=60) as answer:
        return await refusal(answer)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(reply({}, 404), "KA-BODY", id="404"),
        pytest.param(page(404), "KA-BODY", id="a page under 404"),
        pytest.param(
            reply({"__type": "com.amazon#UnknownOperationException"}, 400), "KA-SERVICE", id="unknown, body"
        ),
        pytest.param(
            reply({}, 400, x_amzn_ErrorType="UnknownOperationException:http://x/"),
            "KA-SERVICE",
            id="unknown, header",
        ),
        pytest.param(reply({"message": None}, 403), "KA-ENTITLEMENT", id="a 403 without a word"),
        pytest.param(
            reply({"message": "User is not authorized to make this call."}, 403),
            "KA-ENTITLEMENT",
            id="not authorized here",
        ),
    ],
)
async def test_a_host_that_does_not_know_the_call_is_left_for_another(answer, code):
    failed = await meaning(answer)
    assert isinstance(failed, HostFailed)
    assert failed.failure.code == code


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(reply({"message": "Improperly formed request."}, 400), "KA-BODY", id="malformed"),
        pytest.param(reply({"message": BEARER, "reason": None}, 403), "KA-TOKEN", id="bearer token"),
        pytest.param(
            reply({"message": "x", "reason": "TEMPORARILY_SUSPENDED"}, 403), "KA-SUSPENDED", id="locked"
        ),
        pytest.param(reply({"message": SUBSCRIPTION}, 403), "KA-ENTITLEMENT", id="subscription"),
        pytest.param(
            reply({"message": "AWS Builder ID is not supported for this operation."}, 403),
            "KA-ENTITLEMENT",
            id="kind of account",
        ),
        pytest.param(
            reply({"message": "x", "reason": "FEATURE_NOT_SUPPORTED"}, 403), "KA-ENTITLEMENT", id="feature"
        ),
        pytest.param(reply({"reason": "MONTHLY_REQUEST_COUNT"}, 402), "KA-QUOTA", id="quota"),
        pytest.param(reply({}, 429), "KA-THROTTLE", id="throttled"),
        pytest.param(reply({}, 500), "KA-SERVICE", id="a fault"),
        pytest.param(page(403), "KA-SERVICE", id="a firewall's page"),
        pytest.param(page(502, "<html>Bad gateway</html>"), "KA-SERVICE", id="a load balancer's page"),
    ],
)
async def test_what_is_about_account_or_request_is_the_same_at_every_host(answer, code):
    failed = await meaning(answer)
    assert type(failed) is TurnFailed
    assert failed.failure.code == code


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(page(200, "<html>Log in to the hotel</html>"), id="a captive portal"),
        pytest.param(page(200, ""), id="an empty page"),
        pytest.param(reply({}, 204), id="no content"),
        pytest.param(web.Response(status=302, headers={"Location": "https://elsewhere.example/"}), id="302"),
    ],
)
async def test_an_answer_that_the_service_cannot_have_sent_names_its_sender(answer):
    failed = await meaning(answer)
    assert type(failed) is TurnFailed
    assert failed.failure.code == "KA-SERVICE"
    assert failed.failure.message.startswith("127.0.0.1 sent ")
    assert "proxy" in failed.failure.message


async def test_an_error_under_status_200_is_told_by_its_words():
    failed = await meaning(reply({"__type": "ThrottlingException", "message": "Slow down."}))
    assert failed.failure.code == "KA-THROTTLE"


async def test_a_body_that_breaks_off_leaves_status_and_headers_to_speak():
    async def half(request):
        response = web.StreamResponse(
            status=429, headers={"Content-Length": "1000", "x-amzn-RequestId": "r-1", "Retry-After": "7"}
        )
        await response.prepare(request)
        await response.write(b'{"message": "Rate ')
        request.transport.abort()
        return response

    failure = (await meaning(half)).failure
    assert (failure.code, failure.retry_after, failure.request_id) == ("KA-THROTTLE", 7, "r-1")


async def test_an_endless_refusal_is_read_in_part():
    async def endless(request):
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while not request.transport.is_closing():
            await response.write(b"x" * 65536)
        return response

    async with asyncio.timeout(10):
        assert (await meaning(endless)).failure.code == "KA-SERVICE"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x-amzn-requestid": "a"}, "a"),
        ({"x-amz-request-id": "b"}, "b"),
        ({"x-amzn-requestid": "a", "x-amz-request-id": "b"}, "a"),
        ({}, None),
    ],
    ids=["usual", "other spelling", "both", "none"],
)
def test_the_request_id_is_what_aws_support_asks_for(headers, found):
    assert request_id(headers) == found


@pytest.mark.parametrize(
    ("code", "silent"), [("KA-NETWORK", True), ("KA-TIMEOUT", True), ("KA-SERVICE", False)]
)
def test_only_trouble_on_the_way_means_that_the_service_said_nothing(code, silent):
    assert unanswered(TurnFailed(Failure(code=code, message="x"))) is silent
