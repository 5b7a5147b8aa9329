"""One gateway: what it is made of beside the `parts`, and which routes there are."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from kiro_auth.accounts.quota import UsageSync
from kiro_auth.accounts.upkeep import Upkeep
from kiro_auth.config import Config
from kiro_auth.events import Listener
from kiro_auth.failures import Failure
from kiro_auth.gateway.accounting import Accounting
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.allowances import Allowances
from kiro_auth.gateway.body import MAX_BODY, read_body
from kiro_auth.gateway.catalog import Catalog, OnModelsListed
from kiro_auth.gateway.control import Control
from kiro_auth.gateway.fallback import rules_of
from kiro_auth.gateway.front import Front
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.heavy import run_for
from kiro_auth.gateway.http.library import Library
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.routes import Routes
from kiro_auth.gateway.http.server import serving
from kiro_auth.gateway.http.site import Route, Waiting
from kiro_auth.gateway.http.wheel import Wheel
from kiro_auth.gateway.key_spending import KeySpending, OwnSpending, SharedSpending
from kiro_auth.gateway.listing import Listing
from kiro_auth.gateway.me import Me
from kiro_auth.gateway.notices import Notices
from kiro_auth.gateway.parts import Parts, open_parts
from kiro_auth.gateway.paths import COMPACT, SURFACES
from kiro_auth.gateway.presence import Presence
from kiro_auth.gateway.relay import Relay
from kiro_auth.gateway.streams import Streams
from kiro_auth.gateway.watching import Watching
from kiro_auth.kiro.request import payload
from kiro_auth.ledger.protocol import Ledger
from kiro_auth.metrics.counters import Counters
from kiro_auth.off_loop import Threads
from kiro_auth.store.protocol import Store
from kiro_auth.surfaces.anthropic import messages as anthropic
from kiro_auth.surfaces.openai import compact as openai_compact
from kiro_auth.surfaces.prefixes import Prefixes
from kiro_auth.surfaces.surface import Surface

APIS: Final[Mapping[str, Surface]] = {**SURFACES, COMPACT: openai_compact}
_LOOK_SECONDS: Final = 60.0
"""Between two looks for histories that are not used any more."""


class Gateway(Struct, frozen=True):
    """What is served, and what its server tells and is told."""

    front: Front
    library: Library
    wheel: Wheel
    streams: Streams
    presence: Presence
    activity: Activity

    def serving(
        self, sockets: Iterable[socket.socket]
    ) -> AbstractAsyncContextManager[Callable[[socket.socket], None]]:
        """Serve at these sockets; see `serving`."""
        return serving(self.front, sockets, wheel=self.wheel, library=self.library, on_end=self.streams.end)


@asynccontextmanager
async def open_gateway(
    config: Config,
    store: Store,
    guard: Guard,
    *,
    problems: Sequence[Failure] = (),
    on_models_listed: OnModelsListed = lambda *_: None,
    lists_file: Path | None = None,
    ledger: Ledger | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
    listeners: Sequence[Listener] = (),
) -> AsyncIterator[Gateway]:
    """A gateway, ready to be served, for as long as the block lasts.

    `problems` are what people should hear of, beside those of the configuration.  `on_models_listed` hears
    the models whenever they were read anew; `lists_file` keeps them.  `ledger` keeps the turns, if the
    configuration wants one.  `sleep` and `chance` as for `open_parts`.  `listeners` hear of every turn.
    """
    patience = config.request_timeout_ms / 1000
    counters = Counters()
    async with open_parts(
        config, store, patience=patience, sleep=sleep, chance=chance, around_refresh=counters.counting
    ) as parts:
        clock, pool = parts.clock.now, parts.pool
        notices = Notices(config.toast_level, clock=clock, problems=(*config.problems, *problems))
        upkeep = Upkeep(pool, clock=clock, on_problem=notices.problem)
        usage = _usage(parts, store, notices)
        catalog = Catalog(parts.client, on_models_listed, pool, file=lists_file, aliases=config.model_aliases)
        activity, kept = Activity(last=time.monotonic()), ledger if config.ledger else None
        accounting = Accounting(config, kept, notices)
        spending = _key_spending(accounting, kept)
        allowances = Allowances(guard.client_keys, pool, store.places, spending)
        streams, prefixes = Streams(Wheel()), Prefixes(time.monotonic)
        ours: tuple[Listener, ...] = (upkeep, usage, catalog, notices, counters, *spending.listeners)
        hearing = (*ours, *accounting.listeners, *listeners)
        relay = _relay(parts, catalog, accounting, allowances, hearing, streams, notices, prefixes)
        control = _control(parts, notices, activity, usage, catalog, relay)
        presence = Presence(guard, stop=asyncio.Event(), retire=asyncio.Event())
        me = Me(guard.client_keys, allowances, kept)
        library = Watching(parts, control, relay, counters, kept, me).library()
        others = (presence, control, Listing(catalog, allowances), me)
        front = Front(guard, activity, _routes(relay, catalog, *(part.routes() for part in others)), library)
        async with _beside(upkeep.run(), _forget_idle(prefixes)):
            try:
                yield Gateway(front, library, streams.wheel, streams, presence, activity)
            finally:
                relay.threads.close()
                closing = (control, usage, catalog, accounting, spending)
                await asyncio.gather(*(part.close() for part in closing))


def _key_spending(accounting: Accounting, ledger: Ledger | None) -> KeySpending:
    sums = accounting.shared_sums
    return OwnSpending(ledger) if sums is None else SharedSpending(sums)


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have it run as long as the block lasts."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def _relay(
    parts: Parts,
    catalog: Catalog,
    accounting: Accounting,
    allowances: Allowances,
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
        allowances,
        listeners,
        patience=config.request_timeout_ms / 1000,
        streams=streams,
        prefixes=prefixes,
        fallback=rules_of(config.model_fallback),
        thrift=config.thrift,
        wait_for_reset=config.wait_for_reset,
        on_pause=notices.on_pause,
    )


def _usage(parts: Parts, store: Store, notices: Notices) -> UsageSync:
    return UsageSync(
        store,
        parts.config,
        fetch=parts.usage_of,
        on_usage_read=notices.on_usage_read,
        clock=parts.clock.now,
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


def _routes(relay: Relay, catalog: Catalog, *others: Mapping[str, Route]) -> Routes:
    turns = {
        path: Route(waiting=partial(relay.answer, surface=surface), limit=MAX_BODY, for_clients=True)
        for path, surface in APIS.items()
    }
    counting = Route(waiting=_count_tokens(catalog, relay.threads), limit=MAX_BODY, for_clients=True)
    table = {f"POST {path}": route for path, route in turns.items()}
    for routes in ({"POST /v1/messages/count_tokens": counting}, *others):
        table.update(routes)
    return Routes(table)


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
