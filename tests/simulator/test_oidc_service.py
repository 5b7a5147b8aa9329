"""The simulated sign-in service, judged by AWS's own client: botocore's `sso-oidc`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import botocore.session
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from kiro_auth.simulator.app import create_app
from kiro_auth.simulator.scenario import (
    BUILDER_ID_START_URL,
    ORGANISATION_REGION,
    ORGANISATION_START_URL,
)
from kiro_auth.simulator.world import World

pytestmark = pytest.mark.outside

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SCOPES = ["codewhisperer:completions", "codewhisperer:conversations"]


class Aws:
    """botocore's client of one region's simulated sign-in service; each call runs in a thread."""

    def __init__(self, url: str, region: str) -> None:
        self._client = botocore.session.Session().create_client(
            "sso-oidc",
            region_name=region,
            endpoint_url=f"{url}/{region}",
            config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}),
        )

    async def __call__(self, operation: str, **members: Any) -> dict[str, Any]:
        return await asyncio.to_thread(getattr(self._client, operation), **members)

    async def register(self, **more: Any) -> dict[str, str]:
        given = await self("register_client", **{"clientName": "a test", "clientType": "public", **more})
        return {name: given[name] for name in ("clientId", "clientSecret")}

    async def authorize(
        self, client: dict[str, str], start_url: str = BUILDER_ID_START_URL
    ) -> dict[str, Any]:
        return await self("start_device_authorization", **client, startUrl=start_url)

    async def poll(self, client: dict[str, str], device: dict[str, Any]) -> dict[str, Any]:
        return await self("create_token", **client, grantType=DEVICE_GRANT, deviceCode=device["deviceCode"])

    async def refresh(self, client: dict[str, str], token: str) -> dict[str, Any]:
        return await self("create_token", **client, grantType="refresh_token", refreshToken=token)

    async def signed_in(self, world: World) -> tuple[dict[str, str], dict[str, Any]]:
        """A program and its tokens."""
        client = await self.register()
        device = await self.authorize(client)
        world.approve(world.waiting(device["userCode"]))
        return client, await self.poll(client, device)


async def refusal(call: Any) -> tuple[str, str, int]:
    """The exception class that botocore chose, the service's word, and the status."""
    with pytest.raises(ClientError) as caught:
        await call
    answer = caught.value.response
    return type(caught.value).__name__, answer["error"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def url(world: World) -> AsyncIterator[str]:
    async with TestServer(create_app(world)) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.fixture
def aws(url: str) -> Aws:
    return Aws(url, "us-east-1")


# ------------------------------------------------------------------------------------- the whole way


@pytest.mark.parametrize(
    ("start_url", "region", "user"),
    [
        pytest.param(BUILDER_ID_START_URL, "us-east-1", "ada@example.com", id="builder-id"),
        pytest.param(ORGANISATION_START_URL, ORGANISATION_REGION, "margaret@example.org", id="organisation"),
    ],
)
async def test_a_confirmed_code_gives_tokens_of_the_user_who_confirmed(
    world: World, url: str, start_url: str, region: str, user: str
) -> None:
    aws = Aws(url, region)
    client = await aws.register(scopes=SCOPES, grantTypes=[DEVICE_GRANT, "refresh_token"])
    device = await aws.authorize(client, start_url)
    assert await refusal(aws.poll(client, device)) == (
        "AuthorizationPendingException", "authorization_pending", 400,
    )  # fmt: skip
    world.approve(world.waiting(device["userCode"]), user)
    world.advance(device["interval"])

    tokens = await aws.poll(client, device)

    assert (tokens["tokenType"], tokens["expiresIn"]) == ("Bearer", 3600)
    assert world.bearer(tokens["accessToken"]).email == user
    assert device["verificationUriComplete"].endswith(f"/device?user_code={device['userCode']}")
    assert (device["expiresIn"], device["interval"]) == (600, 1)


async def test_with_auto_approval_each_sign_in_is_the_next_user(world: World, aws: Aws) -> None:
    world.settings.auto_approve = True
    client = await aws.register()

    users = [
        world.bearer((await aws.poll(client, await aws.authorize(client)))["accessToken"]).email
        for _ in range(3)
    ]

    assert users == ["ada@example.com", "grace@example.com", "ada@example.com"]


async def test_codes_and_registrations_are_fresh_each_time(aws: Aws) -> None:
    client = await aws.register()
    codes = {(await aws.authorize(client))[name] for _ in range(3) for name in ("deviceCode", "userCode")}

    assert len(codes) == 6
    assert (await aws.register())["clientId"] != client["clientId"]


# ------------------------------------------------------------------------------------------- polling


async def test_polling_faster_than_the_interval_slows_down_for_good(world: World, aws: Aws) -> None:
    client = await aws.register()
    device = await aws.authorize(client)
    words = []
    for wait in (0, 0, 2, 10.9, 11):  # each one too early adds five seconds to the interval of one
        world.advance(wait)
        words.append((await refusal(aws.poll(client, device)))[:2])

    pending, slow = (
        ("AuthorizationPendingException", "authorization_pending"),
        ("SlowDownException", "slow_down"),
    )
    assert words == [pending, slow, slow, pending, pending]


async def test_a_code_ends_with_its_time(world: World, aws: Aws) -> None:
    client = await aws.register()
    device = await aws.authorize(client)
    world.advance(601)

    assert await refusal(aws.poll(client, device)) == ("ExpiredTokenException", "expired_token", 400)
    assert world.waiting(device["userCode"]) is None


async def test_a_declined_code_is_access_denied(world: World, aws: Aws) -> None:
    client = await aws.register()
    device = await aws.authorize(client)
    world.waiting(device["userCode"]).status = "denied"

    assert await refusal(aws.poll(client, device)) == ("AccessDeniedException", "access_denied", 400)


async def test_a_code_gives_tokens_once(world: World, aws: Aws) -> None:
    client = await aws.register()
    device = await aws.authorize(client)
    world.approve(world.waiting(device["userCode"]))
    await aws.poll(client, device)

    assert await refusal(aws.poll(client, device)) == ("InvalidGrantException", "invalid_grant", 400)


# ------------------------------------------------------------------------------------------- refresh


async def test_a_refresh_gives_a_new_pair_and_spends_the_old_refresh_token(world: World, aws: Aws) -> None:
    client, old = await aws.signed_in(world)

    new = await aws.refresh(client, old["refreshToken"])

    assert new["refreshToken"] != old["refreshToken"]
    assert world.bearer(old["accessToken"]) is not None, "the old access token lives on until its end"
    with pytest.raises(ClientError) as caught:
        await aws.refresh(client, old["refreshToken"])
    assert type(caught.value).__name__ == "InvalidGrantException"
    assert caught.value.response["error_description"] == "Invalid refresh token provided"
    assert (await aws.refresh(client, new["refreshToken"]))["accessToken"]


async def test_a_spent_token_is_taken_again_within_the_grace_that_can_be_set(world: World, aws: Aws) -> None:
    world.settings.rotation_grace = 30
    client, tokens = await aws.signed_in(world)

    for _ in range(2):
        assert (await aws.refresh(client, tokens["refreshToken"]))["accessToken"]
    world.advance(31)
    assert (await refusal(aws.refresh(client, tokens["refreshToken"])))[1] == "invalid_grant"


async def test_an_access_token_ends_with_its_time_and_a_sign_in_with_its_own(world: World, aws: Aws) -> None:
    world.settings.session_seconds = 7200
    client, tokens = await aws.signed_in(world)
    world.advance(3601)

    assert world.bearer(tokens["accessToken"]) is None
    tokens = await aws.refresh(client, tokens["refreshToken"])
    world.advance(3600)
    assert await refusal(aws.refresh(client, tokens["refreshToken"])) == (
        "ExpiredTokenException", "expired_token", 400,
    )  # fmt: skip


async def test_a_refresh_token_is_good_only_with_the_program_it_was_given_to(world: World, aws: Aws) -> None:
    _, tokens = await aws.signed_in(world)
    other = await aws.register()

    assert (await refusal(aws.refresh(other, tokens["refreshToken"])))[1] == "invalid_grant"


async def test_nothing_of_one_region_is_known_in_another(world: World, url: str, aws: Aws) -> None:
    client, tokens = await aws.signed_in(world)
    elsewhere = Aws(url, "us-west-2")

    assert await refusal(elsewhere.refresh(client, tokens["refreshToken"])) == (
        "InvalidClientException", "invalid_client", 401,
    )  # fmt: skip
    own = await elsewhere.register()
    assert (await refusal(elsewhere.refresh(own, tokens["refreshToken"])))[1] == "invalid_grant"
    assert (await refusal(elsewhere.authorize(own)))[1] == "invalid_request"


async def test_a_registration_ends_with_its_time(world: World, aws: Aws) -> None:
    client, tokens = await aws.signed_in(world)
    world.advance(90 * 86400 + 1)

    assert (await refusal(aws.refresh(client, tokens["refreshToken"])))[0] == "InvalidClientException"


# ------------------------------------------------------------------------------------- what is refused

REGISTRATIONS = [
    pytest.param(
        {"clientType": "confidential"}, "InvalidClientMetadataException", "invalid_client_metadata",
        id="type"),
    pytest.param({"scopes": ["everything"]}, "InvalidScopeException", "invalid_scope", id="scope"),
    pytest.param(
        {"grantTypes": ["password"]}, "UnsupportedGrantTypeException", "unsupported_grant_type", id="grant"),
    pytest.param(
        {"redirectUris": ["https://evil.example/"]}, "InvalidRedirectUriException", "invalid_redirect_uri",
        id="redirect"),
    pytest.param({"clientName": ""}, "InvalidRequestException", "invalid_request", id="name"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "exception", "word"), REGISTRATIONS)
async def test_a_registration_is_checked(aws: Aws, wrong: dict[str, Any], exception: str, word: str) -> None:
    assert await refusal(aws.register(**wrong)) == (exception, word, 400)


TOKENS = [
    pytest.param({"clientSecret": "wrong"}, "InvalidClientException", "invalid_client", 401, id="secret"),
    pytest.param(
        {"grantType": "password"}, "UnsupportedGrantTypeException", "unsupported_grant_type", 400,
        id="grant"),
    pytest.param(
        {"deviceCode": "unknown"}, "InvalidGrantException", "invalid_grant", 400, id="unknown code"),
    pytest.param({"deviceCode": ""}, "InvalidRequestException", "invalid_request", 400, id="no code"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "exception", "word", "status"), TOKENS)
async def test_a_question_for_tokens_is_checked(
    aws: Aws, wrong: dict[str, Any], exception: str, word: str, status: int
) -> None:
    client = await aws.register()
    device = await aws.authorize(client)
    asked = {**client, "grantType": DEVICE_GRANT, "deviceCode": device["deviceCode"], **wrong}

    assert await refusal(aws("create_token", **asked)) == (exception, word, status)


async def test_a_program_registered_for_other_grants_gets_no_code(aws: Aws) -> None:
    client = await aws.register(grantTypes=["refresh_token"])

    assert (await refusal(aws.authorize(client)))[0] == "UnauthorizedClientException"


async def test_a_registration_bound_to_one_issuer_is_refused_elsewhere(aws: Aws) -> None:
    client = await aws.register(issuerUrl="https://elsewhere.awsapps.com/start")

    assert (await refusal(aws.authorize(client)))[0] == "InvalidRequestException"


# -------------------------------------------------------------------------------------- on the wire


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b'"text"', b"[" * 100_000], ids=repr)
async def test_a_body_that_is_no_object_is_an_invalid_request(url: str, body: bytes) -> None:
    async with ClientSession() as http:
        for path in ("/client/register", "/device_authorization", "/token"):
            async with http.post(f"{url}/us-east-1{path}", data=body) as answer:
                assert answer.status == 400
                assert (await answer.json())["error"] == "invalid_request"
                assert answer.headers["x-amzn-ErrorType"] == "InvalidRequestException"
                assert answer.headers["x-amzn-RequestId"]


async def test_without_a_region_it_is_us_east_1(world: World, url: str) -> None:
    async with ClientSession() as http:
        body = {"clientName": "a test", "clientType": "public"}
        async with http.post(f"{url}/client/register", json=body) as answer:
            client = await answer.json()

    assert [region for region, _ in world.clients] == ["us-east-1"]
    assert client["clientSecretExpiresAt"] - client["clientIdIssuedAt"] == 90 * 86400


async def test_the_log_holds_no_secret(world: World, url: str, aws: Aws) -> None:
    client, tokens = await aws.signed_in(world)
    await aws.refresh(client, tokens["refreshToken"])
    async with ClientSession() as http, http.get(f"{url}/_control/calls") as answer:
        text = await answer.text()

    for secret in (client["clientSecret"], tokens["accessToken"], tokens["refreshToken"]):
        assert secret not in text
    assert [call.operation for call in world.calls] == [
        "RegisterClient", "StartDeviceAuthorization", "CreateToken", "CreateToken",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------- social


async def refreshed(url: str, token: Any) -> tuple[int, dict[str, Any]]:
    async with (
        ClientSession() as http,
        http.post(f"{url}/us-east-1/refreshToken", json={"refreshToken": token}) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_social_refresh_rotates_and_names_the_profile(world: World, url: str) -> None:
    user = world.users["joan@example.net"]
    pair = world.issue("us-east-1", user.email, None)

    status, new = await refreshed(url, pair.refresh)

    assert (status, new["expiresIn"], new["profileArn"]) == (200, 3600, user.profiles[0].arn)
    assert world.bearer(new["accessToken"]) is user
    assert await refreshed(url, pair.refresh) == (400, {"message": "Invalid refresh token provided"})


async def test_a_social_refresh_refuses_tokens_of_other_sign_ins(world: World, url: str, aws: Aws) -> None:
    _, tokens = await aws.signed_in(world)

    assert await refreshed(url, tokens["refreshToken"]) == (401, {"message": "Bad credentials"})
    assert (await refreshed(url, None))[0] == 400
