"""The gateway's application: what it is made of beside the `parts`, and which routes there are."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Middleware

from kiro_auth.accounts.pool import Pool
from kiro_auth.accounts.quota import UsageSync
from kiro_auth.accounts.upkeep import Upkeep
from kiro_auth.config import Config
from kiro_auth.events import Listener
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.answers import UNREADABLE, failure_response, internal_failure, unreadable
from kiro_auth.gateway.catalog import Catalog, OnModelsListed, card
from kiro_auth.gateway.control import Control
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.notices import Notices
from kiro_auth.gateway.parts import open_parts
from kiro_auth.gateway.presence import OPEN, Presence
from kiro_auth.gateway.relay import CALLER, Relay
from kiro_auth.kiro import models
from kiro_auth.kiro.request import payload
from kiro_auth.store.protocol import Store
from kiro_auth.surfaces.anthropic import messages as anthropic
from kiro_auth.surfaces.model_list import encode_model, encode_models
from kiro_auth.surfaces.openai import chat as openai_chat
from kiro_auth.surfaces.openai import compact as openai_compact
from kiro_auth.surfaces.openai import responses as openai_responses
from kiro_auth.surfaces.surface import Surface

log = logging.getLogger("kiro_auth.gateway")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SURFACES: dict[str, Surface] = {
    "/v1/messages": anthropic,
    "/v1/chat/completions": openai_chat,
    "/v1/responses": openai_responses,
}
"""The API of each path; failures at other paths are answered in the form of `anthropic`."""
COMPACT = "/v1/responses/compact"
"""The address of the Responses API at which a history is compacted."""
MAX_BODY = 64 * 1024 * 1024
"""Bytes of one request.  20 MB of images and history are ordinary traffic; the rest is headroom."""


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
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
    listeners: Sequence[Listener] = (),
) -> AsyncIterator[web.Application]:
    """The application, ready to be served, for as long as the block lasts.

    `problems` are what people should hear of, beside those of the configuration.  `on_models_listed` hears
    the models whenever they were read anew.  `sleep` and `chance` as for `open_parts`.  `listeners` hear of
    every turn that ended, beside those of the gateway itself.
    """
    patience = config.request_timeout_ms / 1000
    async with open_parts(config, store, patience=patience, sleep=sleep, chance=chance) as parts:
        clock, pool = parts.clock.now, parts.pool
        notices = Notices(config.toast_level, clock=clock)
        for problem in (*config.problems, *problems):
            notices.problem(problem)
        upkeep = Upkeep(pool, clock=clock)
        usage = UsageSync(
            store, config, fetch=parts.usage_of, on_usage_read=notices.on_usage_read, clock=clock
        )
        catalog = Catalog(parts.client, on_models_listed, pool.usable)
        activity = Activity(last=time.monotonic())
        control = Control(
            store,
            pool,
            notices,
            activity,
            keep_usage=usage.keep,
            new_sign_in=parts.new_sign_in,
            on_signed_in=lambda account: catalog.refresh_later([account]),
        )
        of_all_turns: tuple[Listener, ...] = (upkeep, usage, catalog, notices, *listeners)
        relay = Relay(pool, parts.client, catalog, of_all_turns, patience=patience)
        looking = asyncio.create_task(upkeep.run())
        try:
            yield _application(guard, activity, control, relay, pool, catalog)
        finally:
            looking.cancel()
            await asyncio.gather(control.close(), usage.close(), catalog.close())


def _application(
    guard: Guard, activity: Activity, control: Control, relay: Relay, pool: Pool, catalog: Catalog
) -> web.Application:
    """The routes and what stands before them."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_admission(guard)])
    app.on_shutdown.append(lambda _: relay.streams.end())
    app[ACTIVITY] = activity
    app[PRESENCE] = Presence(guard, stop=asyncio.Event(), retire=asyncio.Event())
    app.add_routes([*app[PRESENCE].routes(), *control.routes()])
    app.add_routes([web.post(path, _turns(relay, surface)) for path, surface in SURFACES.items()])
    app.add_routes(
        [
            web.post(COMPACT, _turns(relay, openai_compact)),
            web.post("/v1/messages/count_tokens", _count_tokens(catalog)),
            web.get("/v1/models", _models(pool, catalog)),
            web.get("/v1/models/{id}", _model(pool, catalog)),
        ]
    )
    return app


def _admission(guard: Guard) -> Middleware:
    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        surface = openai_compact if request.path == COMPACT else SURFACES.get(request.path, anthropic)
        caller = guard.admit(request.headers, key_needed=request.path not in OPEN)
        if isinstance(caller, Failure):
            return failure_response(surface, caller)
        request[CALLER] = caller
        with request.app[ACTIVITY].under_way():
            try:
                return await handler(request)
            except UNREADABLE as error:
                return failure_response(surface, unreadable(request, error))
            except web.HTTPException as error:
                response = failure_response(surface, _not_here(request))
                response.set_status(error.status)
                return response
            except Exception:
                log.exception("a request failed by a defect of this program")
                return failure_response(surface, internal_failure())

    return admit


def _not_here(request: web.Request) -> Failure:
    return Failure(
        code="KA-REQUEST",
        message=f"There is no {request.method} {request.path[:80]} here.",
        next_step="There are " + ", ".join((*SURFACES, "/v1/models")) + ".",
    )


def _turns(relay: Relay, surface: Surface) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await relay.answer(request, surface)

    return handle


def _count_tokens(catalog: Catalog) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            conversation = anthropic.decode_count(await request.read(), headers)
            model = models.resolve(conversation.model, catalog.models()).model
            options = payload.Options(model=model, protocol="rpc", origin="KIRO_CLI", profile_arn=None)
            tokens = payload.build(conversation, options).input_tokens
        except KiroAuthError as error:
            return failure_response(anthropic, error.failure)
        return web.Response(body=anthropic.encode_count(tokens), content_type="application/json")

    return handle


def _models(pool: Pool, catalog: Catalog) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        try:
            await catalog.refresh(await pool.fresh_accounts())
        except KiroAuthError as error:
            return failure_response(anthropic, error.failure)
        cards = [card(model) for model in catalog.models()]
        return web.Response(body=encode_models(cards), content_type="application/json")

    return handle


def _model(pool: Pool, catalog: Catalog) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        name = request.match_info["id"]
        try:
            await catalog.refresh(await pool.fresh_accounts())
        except KiroAuthError as error:
            return failure_response(anthropic, error.failure)
        wanted = models.resolve(name, catalog.models()).model
        if wanted not in catalog.models():
            message = f"The model {name[:80]!r} is not part of the accounts' plans."
            return failure_response(anthropic, Failure(code="KA-MODEL", message=message))
        return web.Response(body=encode_model(card(wanted)), content_type="application/json")

    return handle
