"""A company's OpenID provider, made of Authlib's server: it knows one client, and one person is at its desk.

It serves on loopback in a thread of the test's process.  A test may have it lie: `claims` and `header` go
over what it would have signed, `sign` over how.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from authlib.oauth2.rfc6749 import (
    AuthorizationCodeMixin,
    AuthorizationServer,
    ClientMixin,
    OAuth2Error,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT = "kiro"
SECRET = "the-secret-of-the-gateway-as-a-client"
REDIRECT_PATH = "/dashboard/signed-in"


class Client(ClientMixin):
    """The gateway."""

    client_id = CLIENT

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        raise AssertionError("the gateway names one")

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri.endswith(REDIRECT_PATH)

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


class Code(AuthorizationCodeMixin):
    """One that was given out."""

    def __init__(self, request: OAuth2Request) -> None:
        data = request.payload.data
        self.redirect_uri, self.scope, self.nonce = data["redirect_uri"], data["scope"], data["nonce"]
        self.code_challenge = data["code_challenge"]
        self.code_challenge_method = data["code_challenge_method"]
        assert self.code_challenge_method == "S256"

    def get_redirect_uri(self) -> str:
        return str(self.redirect_uri)

    def get_scope(self) -> str:
        return str(self.scope)

    def get_nonce(self) -> str:
        return str(self.nonce)

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class Request(OAuth2Request):
    """What came, as Authlib reads it."""

    def __init__(self, method: str, path: str, data: Mapping[str, str], headers: Mapping[str, str]) -> None:
        super().__init__(method, f"https://provider{path}", headers=dict(headers))
        self.payload = BasicOAuth2Payload(dict(data))

    @property
    def args(self) -> Mapping[str, str]:
        return self.payload.data

    @property
    def form(self) -> Mapping[str, str]:
        return self.payload.data


class Grant(AuthorizationCodeGrant):
    """Codes are good once."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        self.server.codes[code] = Code(request)

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        return self.server.codes.get(code)

    def delete_authorization_code(self, authorization_code: Code) -> None:
        codes = self.server.codes
        self.server.codes = {name: kept for name, kept in codes.items() if kept is not authorization_code}

    def authenticate_user(self, authorization_code: Code) -> object:
        return "the person"


class IdTokens(OpenIDCode):
    """What is said of the person, or what a test has it say."""

    def __init__(self, provider: OpenID) -> None:
        super().__init__(require_nonce=True)
        self._provider = provider

    def exists_nonce(self, nonce: str, request: OAuth2Request) -> bool:
        return any(code.nonce == nonce for code in self._provider.server.codes.values())

    def encode_id_token(self, token: Mapping[str, Any], request: OAuth2Request) -> str:
        provider, now = self._provider, int(time.time())
        person = UserInfo(sub="1", **provider.person)
        claims = {"iss": provider.issuer, "aud": CLIENT, "iat": now, "exp": now + 300}
        claims |= {"nonce": request.authorization_code.get_nonce(), **person, **provider.claims}
        return provider.sign({"alg": "RS256", "kid": provider.key.kid, **provider.header}, claims)


class Server(AuthorizationServer):
    """Authlib's, in one process."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[str, Code] = {}

    def query_client(self, client_id: str) -> Client | None:
        return Client() if client_id == CLIENT else None

    def save_token(self, token: Mapping[str, Any], request: OAuth2Request) -> None:
        """None is looked at later."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> web.Response:
        if isinstance(body, dict):
            return web.json_response(body, status=status)
        return web.Response(text=body, status=status, headers=dict(headers))


class OpenID:
    """One provider; `person` is who is at the desk, `asked` are the paths that were asked for."""

    def __init__(self) -> None:
        self.issuer = ""
        self.key = RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True)
        self.person: dict[str, Any] = {"email": "anna@example.com", "email_verified": True}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.description: dict[str, Any] = {}
        self.instead: Callable[[str], web.StreamResponse | None] = lambda _: None
        self.silent: str | None = None
        self.refuses = False
        self.asked: list[str] = []
        self.server = Server()
        self.server.register_grant(Grant, [CodeChallenge(required=True), IdTokens(self)])
        generator = BearerTokenGenerator(lambda **_: "an-access-token-of-the-company")
        self.server.register_token_generator("default", generator)

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """The id token; a test may put another function here."""
        return jwt.encode(header, claims, self.key, [header["alg"]])

    def renew_key(self) -> None:
        """What it signs with from now on is another key, of another kind."""
        self.key = ECKey.generate_key("P-256", {"use": "sig"}, auto_kid=True)
        self.header = {"alg": "ES256"}

    def application(self) -> web.Application:
        """What it serves."""
        app = web.Application(middlewares=[self._noting])
        app.add_routes(
            [
                web.get("/.well-known/openid-configuration", self._describe),
                web.get("/keys", self._keys),
                web.get("/authorize", self._authorize),
                web.post("/token", self._token),
            ]
        )
        return app

    @web.middleware
    async def _noting(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.silent == request.path:
            await asyncio.sleep(3600)
        return self.instead(request.path) or await handler(request)

    async def _describe(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "id_token_signing_alg_values_supported": ["RS256"],
                **self.description,
            }
        )

    async def _keys(self, _: web.Request) -> web.Response:
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: web.Request) -> web.Response:
        if self.refuses:
            query = urlencode({"error": "access_denied", "state": request.query["state"]})
            return web.Response(status=302, headers={"Location": f"{request.query['redirect_uri']}?{query}"})
        asked = Request("GET", request.path, request.query, request.headers)
        try:
            grant = self.server.get_consent_grant(asked, end_user="the person")
        except OAuth2Error as error:
            return web.Response(status=400, text=str(error))
        made: web.Response = self.server.create_authorization_response(asked, "the person", grant)
        return made

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        made: web.Response = self.server.create_token_response(
            Request("POST", request.path, form, request.headers)
        )
        return made


@contextmanager
def openid(host: str = "127.0.0.1") -> Iterator[OpenID]:
    """A provider that is called by this name of the machine."""
    provider, loop = OpenID(), asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(provider.application(), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        provider.issuer = f"http://{host}:{runner.addresses[0][1]}"
        return runner

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield provider
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
