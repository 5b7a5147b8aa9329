"""One gateway: what it is made of beside the `parts`, and which routes there are."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from kiro_auth.accounts.pool import Pool
from kiro_auth.accounts.quota import UsageSync
from kiro_auth.accounts.upkeep import Upkeep
from kiro_auth.config import Config
from kiro_auth.events import Listener
from kiro_auth.failures import Failure
from kiro_auth.gateway.accounting import Accounting
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.answers import failure_response
from kiro_auth.gateway.body import MAX_BODY, read_body
from kiro_auth.gateway.bound import bound_to, saying_so
from kiro_auth.gateway.catalog import Catalog, OnModelsListed
from kiro_auth.gateway.control import Control
from kiro_auth.gateway.entrance import Entrance, Rest
from kiro_auth.gateway.fallback import rules_of
from kiro_auth.gateway.heavy import run_for
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Route, Waiting
from kiro_auth.gateway.model_lists import FILE as LISTS_FILE
from kiro_auth.gateway.notices import Notices
from kiro_auth.gateway.parts import Parts, open_parts
from kiro_auth.gateway.paths import APIS, plain
from kiro_auth.gateway.relay import Relay
from kiro_auth.gateway.streams import Streams
from kiro_auth.gateway.watching import Watching
from kiro_auth.kiro import models
from kiro_auth.kiro.request import payload
from kiro_auth.ledger.writer import FILE as LEDGER_FILE
from kiro_auth.metrics.counters import Counters
from kiro_auth.off_loop import Threads
from kiro_auth.store.protocol import Store
from kiro_auth.surfaces.anthropic import messages as anthropic
from kiro_auth.surfaces.model_list import encode_model, encode_models
from kiro_auth.surfaces.prefixes import Prefixes

_MODEL: Final = "/v1/models/"
_LOOK_SECONDS: Final = 60.0
"""Between two looks for histories that are not used any more."""


@asynccontextmanager
async def open_gateway(
    config: Config,
    store: Store,
    entrance: Entrance,
    *,
    problems: Sequence[Failure] = (),
    on_models_listed: OnModelsListed = lambda *_: None,
    folder: Path | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
    listeners: Sequence[Listener] = (),
) -> AsyncIterator[None]:
    """What stands behind the entrance, for as long as the block lasts: with it the gateway is complete.

    `problems` are what people should hear of, beside those of the configuration.  `on_models_listed` hears
    the models whenever they were read anew.  `folder` is for lists of models and the ledger, if one is
    wanted.  `sleep` and `chance` as for `open_parts`.  `listeners` hear of every turn.
    """
    counters = Counters()
    async with open_parts(
        config,
        store,
        patience=config.request_timeout_ms / 1000,
        sleep=sleep,
        chance=chance,
        around_refresh=counters.counting,
        trust=entrance.trust,
    ) as parts:
        clock, pool = parts.clock.now, parts.pool
        notices = Notices(config.toast_level, clock=clock, problems=(*config.problems, *problems))
        upkeep = Upkeep(pool, clock=clock, on_problem=notices.problem)
        heard = notices.on_usage_read
        usage = UsageSync(store, config, fetch=parts.usage_of, on_usage_read=heard, clock=clock)
        lists_file, ledger_file = (folder / LISTS_FILE, folder / LEDGER_FILE) if folder else (None, None)
        catalog = Catalog(parts.client, on_models_listed, pool, file=lists_file, aliases=config.model_aliases)
        accounting = Accounting(config, ledger_file, notices)
        own: tuple[Listener, ...] = (upkeep, usage, catalog, notices, counters, *accounting.listeners)
        streams, prefixes = Streams(entrance.wheel), Prefixes(time.monotonic)
        relay = _relay(parts, catalog, accounting, (*own, *listeners), streams, notices, prefixes)
        control = _control(parts, notices, entrance.activity, usage, catalog, relay)
        watching = Watching(parts, control, relay, counters, ledger_file if config.ledger else None)
        tasks = [asyncio.create_task(upkeep.run()), asyncio.create_task(_forget_idle(prefixes))]
        entrance.complete(Rest(_routes(relay, control, catalog, pool), watching.application, streams.end))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            relay.threads.close()
            await asyncio.gather(control.close(), usage.close(), catalog.close(), accounting.close())


def _relay(
    parts: Parts,
    catalog: Catalog,
    accounting: Accounting,
    listeners: Sequence[Listener],
    streams: Streams,
    notices: Notices,
    prefixes: Prefixes,
) -> Relay:
    config = parts.config
    return Relay(
        parts.pool,
        parts.client,
        catalog,
        accounting,
        listeners,
        patience=config.request_timeout_ms / 1000,
        streams=streams,
        prefixes=prefixes,
        fallback=rules_of(config.model_fallback),
        thrift=config.thrift,
        wait_for_reset=config.wait_for_reset,
        on_pause=notices.on_pause,
    )


async def _forget_idle(prefixes: Prefixes) -> None:
    """Forget the histories of conversations that rest, until cancelled."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        prefixes.forget_idle()


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


def _routes(relay: Relay, control: Control, catalog: Catalog, pool: Pool) -> dict[str, Route]:
    return {
        **{f"POST {path}": Route(waiting=_turn(relay, path), limit=MAX_BODY) for path in APIS},
        **control.routes(),
        "POST /v1/messages/count_tokens": Route(
            waiting=_count_tokens(catalog, relay.threads), limit=MAX_BODY
        ),
        "GET /v1/models": Route(waiting=_models(catalog, pool)),
        f"GET {_MODEL}*": Route(waiting=_model(catalog, pool)),
    }


def _turn(relay: Relay, path: str) -> Waiting:
    return lambda request: relay.answer(request, APIS[path])


def _count_tokens(catalog: Catalog, threads: Threads) -> Waiting:
    async def handle(request: Request) -> Response:
        body = await read_body(request)
        run = run_for(body, threads)
        conversation = await run(anthropic.decode_count, body, request.headers)
        model = catalog.resolve(conversation.model).model
        options = payload.Options(model=model, protocol="rpc", origin="KIRO_CLI", profile_arn=None)
        built = await run(payload.build, conversation, options)
        return Response(anthropic.encode_count(built.input_tokens))

    return handle


def _models(catalog: Catalog, pool: Pool) -> Waiting:
    async def handle(request: Request) -> Response:
        account = bound_to(request.head, pool.accounts)
        await catalog.renew(account)
        return Response(encode_models(catalog.cards(account), codex="client_version" in request.query))

    return handle


def _model(catalog: Catalog, pool: Pool) -> Waiting:
    async def handle(request: Request) -> Response:
        account = bound_to(request.head, pool.accounts)
        name = plain(request.path).removeprefix(_MODEL)
        await catalog.renew(account)
        wanted = catalog.card(name, account)
        if wanted is None:
            failure = models.unknown(name, catalog.models(account))
            return failure_response(anthropic, saying_so(failure, account))
        return Response(encode_model(wanted))

    return handle
