"""Calls to the sign-in services, held against AWS's own model, and what their answers mean."""

import botocore.loaders
import botocore.validate
import pytest
from botocore.model import ServiceModel

from kiro_auth.accounts.account import Account
from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.kiro.tokens import aws_oidc
from support.scripted import reply, script

REGISTRATION = aws_oidc.Registration("client", "secret")
DEVICE = {
    "deviceCode": "device",
    "userCode": "ABCD-EFGH",
    "verificationUri": "https://device.example/",
    "verificationUriComplete": "https://device.example/?user_code=ABCD-EFGH",
    "expiresIn": 600,
    "interval": 1,
}
TOKENS = {"accessToken": "a2", "refreshToken": "r2", "expiresIn": 28800, "tokenType": "Bearer"}


@pytest.fixture
async def lines():
    async with Lines(Trust()) as lines:
        yield lines


def at(url: str) -> Endpoints:
    return Endpoints({"oidc": (url,), "desktop_auth": (url,)})


def renew(lines, url, **changed):
    return aws_oidc.renew(lines, at(url), a_sign_in(**changed))


def a_sign_in(**changed) -> Account:
    fields = {"region": "eu-north-1", "refresh_token": "r1", "client_id": "client", "client_secret": "secret"}
    return Account(id="a", **(fields | changed))


async def failure_of(call):
    with pytest.raises(TurnFailed) as raised:
        await call
    return raised.value.failure


# ------------------------------------------------------------------------------------ what is sent


async def test_requests_fit_the_model_that_aws_publishes(lines):
    model = ServiceModel(botocore.loaders.Loader().load_service_model("sso-oidc", "service-2"))
    async with script(
        reply({"clientId": "client", "clientSecret": "secret"}), reply(DEVICE), reply(TOKENS), reply(TOKENS)
    ) as service:
        registration = await aws_oidc.register(lines, at(service.url), region="us-east-1")
        await aws_oidc.start_device_authorization(
            lines,
            at(service.url),
            region="us-east-1",
            registration=registration,
            start_url="https://view.awsapps.com/start",
        )
        await aws_oidc.create_token(
            lines, at(service.url), region="us-east-1", registration=registration, device_code="device"
        )
        await renew(lines, service.url)
    operations = ["RegisterClient", "StartDeviceAuthorization", "CreateToken", "CreateToken"]
    for asked, name in zip(service.asked, operations, strict=True):
        operation = model.operation_model(name)
        report = botocore.validate.ParamValidator().validate(asked.json, operation.input_shape)
        assert not report.has_errors(), report.generate_report()
        assert set(asked.json) <= set(operation.input_shape.members)
        assert asked.path == operation.http["requestUri"]
        assert asked.method == operation.http["method"]


async def test_the_client_says_who_it_is_and_asks_for_no_more_than_it_needs(lines):
    async with script(
        reply({"clientId": "c", "clientSecret": "s", "clientSecretExpiresAt": 1.8e9})
    ) as service:
        registration = await aws_oidc.register(lines, at(service.url), region="us-east-1")
    asked = service.asked[0]
    assert asked.headers["user-agent"].startswith("opencode-kiro-auth/")
    assert asked.json == {
        "clientName": "opencode-kiro-auth",
        "clientType": "public",
        "scopes": [
            "codewhisperer:completions",
            "codewhisperer:analysis",
            "codewhisperer:conversations",
        ],
        "grantTypes": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
    }
    assert registration.expires_at == 1.8e9


async def test_secrets_do_not_follow_a_redirect(lines):
    async with script(reply(TOKENS)) as elsewhere:
        moved = reply({}, 307, Location=elsewhere.url)
        async with script(moved) as service:
            failure = await failure_of(renew(lines, service.url))
    assert not elsewhere.asked
    assert failure.code == "KA-SERVICE"


async def test_an_account_without_registration_says_so_without_a_call(lines):
    async with script(reply(TOKENS)) as service:
        failure = await failure_of(renew(lines, service.url, client_secret=None))
    assert (failure.code, service.asked) == ("KA-SIGNIN", [])


# --------------------------------------------------------------------------------- what is answered


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(TOKENS, ("a2", "r2", 28800), id="whole"),
        pytest.param(
            {"access_token": "a", "refresh_token": "r", "expires_in": 60}, ("a", "r", 60), id="snake case"
        ),
        pytest.param({"accessToken": "a"}, ("a", None, 3600), id="nothing but the token"),
        pytest.param({"accessToken": "a", "expiresIn": 0}, ("a", None, 3600), id="zero"),
        pytest.param({"accessToken": "a", "expiresIn": "soon"}, ("a", None, 3600), id="no number"),
        pytest.param({"accessToken": "a", "expiresIn": "120"}, ("a", None, 120), id="number as text"),
        pytest.param(
            {"accessToken": "a", "refreshToken": None, "error": None}, ("a", None, 3600), id="nulls"
        ),
    ],
)
async def test_token_answers_are_read_tolerantly(lines, answer, expected):
    async with script(reply(answer)) as service:
        grant = await renew(lines, service.url)
    assert (grant.access_token, grant.refresh_token, grant.expires_in) == expected


@pytest.mark.parametrize(
    "odd",
    [
        b'"expiresIn":1e999', b'"expiresIn":NaN', b'"expiresIn":-Infinity', b'"expiresIn":' + b"9" * 400,
        b'"tokenType":"\\ud800"', b'"tokenType":"\xff"', b'"tokenType":"a\x00\nb"',
        b'"refreshToken":"r2"} behind', b'"a":1,"a":2',
    ],
)  # fmt: skip
async def test_tokens_are_kept_though_their_answer_is_not_quite_json(lines, odd):
    body = b'\xef\xbb\xbf {"accessToken":"a2","refreshToken":"r2",%b}' % odd
    async with script(reply(body)) as service:
        grant = await renew(lines, service.url)
    assert (grant.access_token, grant.refresh_token, grant.expires_in) == ("a2", "r2", 3600)


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b'{"accessToken":"a2"', b"[" * 200_000, b"\xff\xfe{", b"1e999"]
)
async def test_what_is_no_object_is_no_answer(lines, body):
    async with script(reply(body)) as service:
        assert (await failure_of(renew(lines, service.url))).code == "KA-SERVICE"


@pytest.mark.parametrize(
    ("changed", "url", "expires_in", "interval"),
    [
        ({}, "https://device.example/?user_code=ABCD-EFGH", 600, 1),
        ({"verificationUriComplete": None}, "https://device.example/?user_code=ABCD-EFGH", 600, 1),
        (
            {"verificationUriComplete": None, "verificationUri": "https://d.example/?x=1"},
            "https://d.example/?x=1&user_code=ABCD-EFGH",
            600,
            1,
        ),
        ({"interval": None, "expiresIn": None}, "https://device.example/?user_code=ABCD-EFGH", 600, 5),
    ],
)
async def test_device_answers_are_completed(lines, changed, url, expires_in, interval):
    async with script(reply(DEVICE | changed)) as service:
        device = await aws_oidc.start_device_authorization(
            lines,
            at(service.url),
            region="us-east-1",
            registration=REGISTRATION,
            start_url="https://x.example",
        )
    assert (device.url, device.expires_in, device.interval) == (url, expires_in, interval)


# ------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        pytest.param(
            reply({"error": "invalid_grant", "error_description": "Invalid refresh token provided"}, 400),
            "KA-SIGNIN",
            "invalid_grant",
            id="body",
        ),
        pytest.param(
            reply({}, 401, x_amzn_ErrorType="InvalidClientException"),
            "KA-SIGNIN",
            "invalid_client",
            id="header only",
        ),
        pytest.param(
            reply({"__type": "com.amazonaws.ssooidc#ExpiredTokenException"}, 400),
            "KA-SIGNIN",
            "expired_token",
            id="type in the body",
        ),
        pytest.param(
            reply({"error": "invalid_grant"}, 400, x_amzn_ErrorType="InvalidRequestException"),
            "KA-SIGNIN",
            "invalid_grant",
            id="the body counts over the header",
        ),
        pytest.param(
            reply({"error": "invalid_request", "error_description": None}, 400),
            "KA-SIGNIN",
            "invalid_request",
            id="null description",
        ),
        pytest.param(
            reply({"message": "Bad credentials"}, 401), "KA-SIGNIN", "invalid_grant", id="social words"
        ),
        pytest.param(reply({"error": "slow_down"}, 400), "KA-SERVICE", "slow_down", id="slow down"),
        pytest.param(reply({"error": "server_error"}, 500), "KA-SERVICE", "server_error", id="fault"),
        pytest.param(reply({}, 429), "KA-SERVICE", "slow_down", id="429"),
        pytest.param(
            reply({"__type": "ServiceUnavailableException"}, 503),
            "KA-SERVICE",
            "ServiceUnavailableException",
            id="503 with a name",
        ),
        pytest.param(reply(b"<html>Bad gateway</html>", 502), "KA-SERVICE", None, id="a proxy's page"),
        pytest.param(reply(b"<html>Forbidden</html>", 403), "KA-SERVICE", None, id="a proxy's refusal"),
        pytest.param(reply(b"<html>Log in to the hotel</html>"), "KA-SERVICE", None, id="a captive portal"),
        pytest.param(reply({"tokenType": "Bearer"}), "KA-SERVICE", None, id="no token in it"),
        pytest.param(reply(b"[]"), "KA-SERVICE", None, id="no object"),
    ],
)
async def test_a_refresh_ends_the_sign_in_only_when_the_service_says_so(lines, answer, code, reason):
    async with script(answer) as service:
        failure = await failure_of(renew(lines, service.url))
    assert (failure.code, failure.reason) == (code, reason)
    assert len(service.asked) == 1
    assert "r1" not in failure.sentence()


async def test_an_administrator_reads_which_key_policy_refuses(lines):
    async with script(reply({"error": "access_denied", "reason": "KMS_ACCESS_DENIED"}, 400)) as service:
        failure = await failure_of(renew(lines, service.url))
    assert "KMS_ACCESS_DENIED" in failure.message


async def test_a_host_that_refuses_connections_is_a_passing_matter(lines):
    async with script(reply(TOKENS)) as service:
        gone = service.url
    failure = await failure_of(renew(lines, gone))
    assert failure.code == "KA-NETWORK"
    assert "127.0.0.1 refuses the connection" in failure.message


async def test_an_unknown_host_asks_about_the_region(lines):
    endpoints = Endpoints({"oidc": ("https://oidc.{region}.invalid",)})
    failure = await failure_of(aws_oidc.renew(lines, endpoints, a_sign_in(region="eu-nowhere-9")))
    assert failure.code == "KA-NETWORK"
    assert "oidc.eu-nowhere-9.invalid" in failure.message
    assert "there is no region eu-nowhere-9" in failure.message
