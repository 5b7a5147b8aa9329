"""The simulated services over HTTP: AWS SSO OIDC, the refresh of social sign-ins, and Kiro in both dialects.

Each region is a path, `http://127.0.0.1:PORT/eu-north-1/token`; without one it is us-east-1.  All rules are
in `oidc` and `service`; here are the bytes, the log of calls, and what was ordered to go wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import uuid
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import web
from msgspec import Struct

from kiro_auth.simulator import control, oidc, service, web_search
from kiro_auth.simulator.control import DEVICE_PAGE, WORLD
from kiro_auth.simulator.oidc import SignInRefused, SocialRefused, TenantRefused
from kiro_auth.simulator.refusals import Refusal
from kiro_auth.simulator.scenario import Fault, User
from kiro_auth.simulator.streaming import Meter, abort, said
from kiro_auth.simulator.world import Call, World

HOST: Final = "127.0.0.1"
DEFAULT_REGION: Final = "us-east-1"
ROLES: Final = ("runtime", "management", "oidc", "desktop_auth", "external_idp")
"""What a program calls the endpoints that are served here."""

_REGION: Final = r"/{region:[a-z]{2,4}(?:-[a-z]+)+-\d+}"
_LARGEST_BODY: Final = 64 * 1024 * 1024
_GRACE: Final = 1.0  # seconds that open replies get at the end
_SECRETS: Final = frozenset(
    {"accessToken", "refreshToken", "refresh_token", "clientSecret", "client_secret", "deviceCode"}
)
_HEADERS_OF_INTEREST: Final = (
    "Accept",
    "Amz-Sdk-Invocation-Id",
    "Amz-Sdk-Request",
    "Content-Type",
    "TokenType",
    "User-Agent",
    "X-Amz-Target",
    "X-Amz-User-Agent",
    "X-Amzn-CodeWhisperer-Optout",
    "X-Amzn-Kiro-Agent-Mode",
    "X-Amzn-Kiro-Profile-Arn",
)
_JSON: Final = "application/json"
_RPC_JSON: Final = "application/x-amz-json-1.0"


class Exchange(Struct, frozen=True):
    """One call under way.  `raw` is its body."""

    request: web.Request
    world: World
    call: Call
    raw: bytes

    @property
    def is_rpc(self) -> bool:
        """Whether the caller speaks the dialect with `X-Amz-Target`."""
        return "X-Amz-Target" in self.request.headers

    def headers(self) -> dict[str, str]:
        """What every answer carries, the date of this world included."""
        return {
            "x-amzn-RequestId": str(uuid.uuid4()),
            "Date": formatdate(self.world.now(), usegmt=True),
        }

    def answer(self, body: Any, status: int = 200, **headers: str) -> web.Response:
        """A JSON answer."""
        return web.Response(
            body=json.dumps(body).encode(),
            status=status,
            headers=self.headers() | headers,
            content_type=_RPC_JSON if self.is_rpc else _JSON,
        )


Work = Callable[[Exchange], Awaitable[web.StreamResponse]]


def create_app(world: World) -> web.Application:
    """The services on that world, to be run by aiohttp; in a test as well."""
    app = web.Application(client_max_size=_LARGEST_BODY)
    app[WORLD] = world
    app.add_routes(control.routes())
    for prefix in ("", _REGION):
        app.add_routes(
            web.route(method, prefix + path, handler) for method, path, handler in _service_routes()
        )
    app.router.add_route("*", _REGION + "{path:.*}", _unknown)
    app.router.add_route("*", "/{path:.*}", _unknown)
    return app


def _service_routes() -> list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]]:
    sign_in = [
        ("/client/register", "RegisterClient", _register),
        ("/device_authorization", "StartDeviceAuthorization", _authorize),
        ("/token", "CreateToken", _token),
        ("/refreshToken", "RefreshToken", _refresh),
        ("/{tenant}/oauth2/v2.0/token", "TenantToken", _tenant_token),
    ]
    return [
        *(("POST", path, _handler("sign-in", operation, work)) for path, operation, work in sign_in),
        *(
            (method, path, _handler("kiro", operation, _kiro))
            for path, (method, operation) in service.REST_PATHS.items()
        ),
        ("POST", "/", _by_target),
    ]


async def serve(world: World, port: int, on_started: Callable[[str], None]) -> None:
    """Serve on this machine until SIGINT or SIGTERM; `on_started` hears the base URL.  Raises OSError for a
    taken port.
    """
    # A reply that hangs by script must not outlive the client that gave up on it.
    runner = web.AppRunner(
        create_app(world), access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, stop.set)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        on_started(f"http://{HOST}:{runner.addresses[0][1]}")
        await stop.wait()
    finally:
        await runner.cleanup()


# ----------------------------------------------------------------------------------------- any call


def _handler(name: str, operation: str, work: Work) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """`work` as a handler: logged, with its refusals as answers, and with the faults ordered for it."""

    async def handle(request: web.Request) -> web.StreamResponse:
        world, raw = request.app[WORLD], await request.read()
        call = Call(
            time=world.now(),
            service=name,
            operation=operation,
            region=request.match_info.get("region", DEFAULT_REGION),
            headers={h.lower(): request.headers[h] for h in _HEADERS_OF_INTEREST if h in request.headers},
            body=_logged(request, raw),
        )
        world.remember(call)
        exchange = Exchange(request, world, call, raw)
        fault = world.next_fault(operation)
        if fault is not None and not fault.lost:
            response: web.StreamResponse = _faulty(exchange, fault)
        else:
            response = await _done(exchange, work)
        call.status = response.status
        if fault is not None and fault.lost:
            abort(request)
        return response

    return handle


async def _done(exchange: Exchange, work: Work) -> web.StreamResponse:
    try:
        return await work(exchange)
    except SignInRefused as refused:
        return exchange.answer(refused.json(), refused.status, **{"x-amzn-ErrorType": refused.type})
    except (SocialRefused, TenantRefused) as refused:
        return exchange.answer(refused.json(), refused.status)
    except Refusal as refused:
        status = refused.status
        if exchange.is_rpc and exchange.world.settings.legacy_rpc_status:
            status = 400 if status < 500 else 500
        return exchange.answer(refused.json(), status, **{"x-amzn-errortype": refused.type})


def _faulty(exchange: Exchange, fault: Fault) -> web.Response:
    if isinstance(fault.body, str):
        headers = exchange.headers() | {"Content-Type": "text/html"} | fault.headers
        return web.Response(text=fault.body, status=fault.status, headers=headers)
    return exchange.answer(fault.body or {}, fault.status, **fault.headers)


def _logged(request: web.Request, raw: bytes) -> Any:
    """The body for the log, or the query of a GET."""
    if not raw:
        return dict(request.query)
    if request.content_type == "application/x-www-form-urlencoded":
        return _without_secrets(dict(parse_qsl(raw.decode(errors="replace"))))
    try:
        return _without_secrets(json.loads(raw))
    except (ValueError, RecursionError):
        return None


def _without_secrets(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    return {name: "(secret)" if name in _SECRETS else value for name, value in body.items()}


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


# ------------------------------------------------------------------------------------------ sign-in


async def _register(exchange: Exchange) -> web.Response:
    return exchange.answer(
        oidc.register_client(exchange.world, exchange.call.region, _sign_in_body(exchange))
    )


async def _authorize(exchange: Exchange) -> web.Response:
    page = f"{exchange.request.url.origin()}{DEVICE_PAGE}"
    body = _sign_in_body(exchange)
    return exchange.answer(
        oidc.start_device_authorization(exchange.world, exchange.call.region, body, page=page)
    )


async def _token(exchange: Exchange) -> web.Response:
    world, call = exchange.world, exchange.call
    made = oidc.create_token(world, call.region, _sign_in_body(exchange))
    call.user = world.access_tokens[made["accessToken"]].user
    await asyncio.sleep(world.settings.token_pause)
    return exchange.answer(made)


async def _refresh(exchange: Exchange) -> web.Response:
    body = _object(exchange.raw) or {}
    return exchange.answer(oidc.refresh_social(exchange.world, exchange.call.region, body))


async def _tenant_token(exchange: Exchange) -> web.Response:
    form = dict(parse_qsl(exchange.raw.decode(errors="replace")))
    return exchange.answer(oidc.refresh_tenant(exchange.world, exchange.request.match_info["tenant"], form))


def _sign_in_body(exchange: Exchange) -> Mapping[str, Any]:
    body = _object(exchange.raw)
    if body is None:
        raise SignInRefused("invalid_request", "The body must be a JSON object.")
    return body


# --------------------------------------------------------------------------------------------- Kiro


async def _by_target(request: web.Request) -> web.StreamResponse:
    operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
    return await _handler("kiro", operation, _kiro)(request)


async def _unknown(request: web.Request) -> web.StreamResponse:
    async def refuse(exchange: Exchange) -> web.StreamResponse:
        raise service.unknown_operation(404)

    return await _handler("unknown", request.path, refuse)(request)


async def _kiro(exchange: Exchange) -> web.StreamResponse:
    world, call = exchange.world, exchange.call
    target = exchange.request.headers.get("X-Amz-Target")
    if target is not None or not call.operation:
        service.check_target(target or "")
    headers = exchange.request.headers
    token_type = headers.get("TokenType")
    user = service.authenticate(world, call.region, headers.get("Authorization", ""), token_type)
    call.user = user.email
    members: dict[str, Any] | None = dict(exchange.request.query)
    if exchange.request.method == "POST":
        members = _object(exchange.raw)
    if members is None:
        raise Refusal("ValidationException", "Improperly formed request.", reason="REQUEST_BODY_INVALID_JSON")
    service.check_operation(call.operation, call.region, token_type)
    if call.operation == service.CHAT:
        with world.answering(user):
            return await _chat(exchange, user, members)
    if call.operation == web_search.OPERATION:
        arn = headers.get("x-amzn-kiro-profile-arn")
        return exchange.answer(web_search.invoke(world, user, members, arn))
    return exchange.answer(service.CONTROL_OPERATIONS[call.operation](world, call.region, user, members))


async def _chat(exchange: Exchange, user: User, body: dict[str, Any]) -> web.StreamResponse:
    call = exchange.call
    turn = service.chat(exchange.world, call.region, user, body, "rpc" if exchange.is_rpc else "rest")
    response = web.StreamResponse(
        headers=exchange.headers()
        | {
            "Content-Type": "application/vnd.amazon.eventstream",
            "x-amzn-codewhisperer-conversation-id": turn.conversation_id,
        }
    )
    call.status = response.status
    await response.prepare(exchange.request)
    meter = Meter(exchange.world, user, turn.model, turn.conversation_id)
    with contextlib.suppress(ConnectionError):  # the client left
        await said(exchange.request, response, turn.output, meter)
    return response
