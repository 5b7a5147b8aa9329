"""The gateway's application: what it is made of beside the `parts`, and which routes there are."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware

from kiro_auth.accounts.pool import Pool
from kiro_auth.accounts.quota import UsageSync
from kiro_auth.accounts.upkeep import Upkeep
from kiro_auth.config import Config
from kiro_auth.events import Listener
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.gateway.accounting import Accounting
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.answers import failure_response, internal_failure
from kiro_auth.gateway.body import MAX_BODY, read_body
from kiro_auth.gateway.bound import bound_to, saying_so
from kiro_auth.gateway.catalog import Catalog, OnModelsListed
from kiro_auth.gateway.control import Control
from kiro_auth.gateway.cors import answer_to_preflight, is_preflight, let_read
from kiro_auth.gateway.fallback import rules_of
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.notices import Notices
from kiro_auth.gateway.parts import Parts, open_parts
from kiro_auth.gateway.paths import COMPACT, SURFACES, pattern, surface_at
from kiro_auth.gateway.presence import OPEN, Presence
from kiro_auth.gateway.relay import CALLER, Relay
from kiro_auth.gateway.request_id import REQUEST_ID, naming, new_request_id
from kiro_auth.kiro import models
from kiro_auth.kiro.request import payload
from kiro_auth.store.protocol import Store
from kiro_auth.surfaces.anthropic import messages as anthropic
from kiro_auth.surfaces.model_list import encode_model, encode_models
from kiro_auth.surfaces.openai import compact as openai_compact
from kiro_auth.surfaces.surface import Surface

log = logging.getLogger("kiro_auth.gateway")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ACTIVITY = web.AppKey("activity", Activity)
PRESENCE = web.AppKey("presence", Presence)


@asynccontextmanager
async def open_gateway(
    config: Config,
    store: Store,
    guard: Guard,
    *,
    problems: Sequence[Failure] = (),
    on_models_listed: OnModelsListed = lambda *_: None,
    lists_file: Path | None = None,
    ledger_file: Path | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
    listeners: Sequence[Listener] = (),
) -> AsyncIterator[web.Application]:
    """The application, ready to be served, for as long as the block lasts.

    `problems` are what people should hear of, beside those of the configuration.  `on_models_listed` hears
    the models whenever they were read anew; `lists_file` keeps them for the next gateway.  `ledger_file`
    keeps the turns, unless the configuration says that there is no ledger.  `sleep` and `chance` as for
    `open_parts`.  `listeners` hear of every turn that ended, beside those of the gateway itself.
    """
    patience = config.request_timeout_ms / 1000
    async with open_parts(config, store, patience=patience, sleep=sleep, chance=chance) as parts:
        clock, pool = parts.clock.now, parts.pool
        notices = Notices(config.toast_level, clock=clock, problems=(*config.problems, *problems))
        upkeep = Upkeep(pool, clock=clock, on_problem=notices.problem)
        usage = UsageSync(
            store, config, fetch=parts.usage_of, on_usage_read=notices.on_usage_read, clock=clock
        )
        catalog = Catalog(parts.client, on_models_listed, pool, file=lists_file, aliases=config.model_aliases)
        activity = Activity(last=time.monotonic())
        accounting = Accounting(config, ledger_file, notices)
        relay = Relay(
            pool,
            parts.client,
            catalog,
            accounting,
            (upkeep, usage, catalog, notices, *accounting.listeners, *listeners),
            patience=patience,
            fallback=rules_of(config.model_fallback),
            thrift=config.thrift,
            wait_for_reset=config.wait_for_reset,
            on_pause=notices.on_pause,
        )
        control = _control(parts, notices, activity, usage, catalog, relay)
        looking = asyncio.create_task(upkeep.run())
        try:
            yield _application(guard, activity, control, relay, catalog, pool)
        finally:
            looking.cancel()
            await asyncio.gather(control.close(), usage.close(), catalog.close(), accounting.close())


def _control(
    parts: Parts, notices: Notices, activity: Activity, usage: UsageSync, catalog: Catalog, relay: Relay
) -> Control:
    return Control(
        parts.store,
        parts.pool,
        notices,
        activity,
        keep_usage=usage.keep,
        new_sign_in=parts.new_sign_in,
        on_signed_in=lambda account: catalog.ask_later([account]),
        waiting=relay.pauses.waiting,
    )


def _application(
    guard: Guard, activity: Activity, control: Control, relay: Relay, catalog: Catalog, pool: Pool
) -> web.Application:
    """The routes and what stands before them."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_admission(guard)])
    app.on_response_prepare.append(_prepared(guard))
    app.on_shutdown.append(lambda _: relay.streams.end())
    app[ACTIVITY] = activity
    app[PRESENCE] = Presence(guard, stop=asyncio.Event(), retire=asyncio.Event())
    # Routes are searched in this order.
    app.add_routes([web.post(pattern(path), _turns(relay, surface)) for path, surface in SURFACES.items()])
    app.add_routes([*app[PRESENCE].routes(), *control.routes()])
    app.add_routes(
        [
            web.post(pattern(COMPACT), _turns(relay, openai_compact)),
            web.post(pattern("/v1/messages/count_tokens"), _count_tokens(catalog)),
            web.get(pattern("/v1/models"), _models(catalog, pool)),
            web.get(pattern("/v1/models/{id}"), _model(catalog, pool)),
        ]
    )
    return app


def _admission(guard: Guard) -> Middleware:
    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = new_request_id()
        surface = surface_at(request.path)
        preflight = is_preflight(request)
        caller = guard.admit(request.headers, key_needed=request.path not in OPEN and not preflight)
        if isinstance(caller, Failure):
            return failure_response(surface, caller)
        if preflight:
            return answer_to_preflight(request)
        request[CALLER] = caller
        with request.app[ACTIVITY].under_way():
            try:
                return await handler(request)
            except KiroAuthError as error:
                return failure_response(surface, error.failure)
            except web.HTTPException as error:
                return _not_here(request, surface, error.status)
            except Exception:
                log.exception("a request failed by a defect of this program")
                return failure_response(surface, internal_failure())

    return admit


def _prepared(guard: Guard) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(naming(request[REQUEST_ID]))
        if guard.lets_read(request.headers):
            let_read(request, response)

    return prepare


def _not_here(request: web.Request, surface: Surface, status: int) -> web.Response:
    """No route takes the request.  Codex asks for a WebSocket first; after 426 it goes on over HTTP."""
    if status == 405 and request.headers.get("Upgrade", "").lower() == "websocket":
        failure = Failure(code="KA-REQUEST", message="There is no WebSocket here, HTTP alone.")
        status, headers = 426, {"Upgrade": "HTTP/1.1"}
    else:
        failure = Failure(
            code="KA-REQUEST",
            message=f"There is no {request.method} {request.path[:80]} here.",
            next_step="There are " + ", ".join((*SURFACES, "/v1/models")) + ".",
        )
        headers = {}
    response = failure_response(surface, failure)
    response.set_status(status)
    response.headers.update(headers)
    return response


def _turns(relay: Relay, surface: Surface) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await relay.answer(request, surface)

    return handle


def _count_tokens(catalog: Catalog) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        conversation = anthropic.decode_count(await read_body(request), headers)
        model = catalog.resolve(conversation.model).model
        options = payload.Options(model=model, protocol="rpc", origin="KIRO_CLI", profile_arn=None)
        tokens = payload.build(conversation, options).input_tokens
        return web.Response(body=anthropic.encode_count(tokens), content_type="application/json")

    return handle


def _models(catalog: Catalog, pool: Pool) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        account = bound_to(request.headers, pool.accounts)
        await catalog.renew(account)
        body = encode_models(catalog.cards(account), codex="client_version" in request.query)
        return web.Response(body=body, content_type="application/json")

    return handle


def _model(catalog: Catalog, pool: Pool) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        name, account = request.match_info["id"], bound_to(request.headers, pool.accounts)
        await catalog.renew(account)
        wanted = catalog.card(name, account)
        if wanted is None:
            failure = models.unknown(name, catalog.models(account))
            return failure_response(anthropic, saying_so(failure, account))
        return web.Response(body=encode_model(wanted), content_type="application/json")

    return handle
