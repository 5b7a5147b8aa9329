"""One gateway: what it is made of beside the `parts`, and which routes there are."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from kiro_auth import config as configuration
from kiro_auth.accounts.quota import UsageSync
from kiro_auth.accounts.upkeep import Upkeep
from kiro_auth.config import Config
from kiro_auth.events import Listener
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.gateway.accounting import Accounting
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.allowances import Allowances
from kiro_auth.gateway.body import MAX_BODY, read_body
from kiro_auth.gateway.catalog import Catalog, OnModelsListed
from kiro_auth.gateway.control import Control
from kiro_auth.gateway.entrance import Entrance, Rest
from kiro_auth.gateway.fallback import rules_of
from kiro_auth.gateway.heavy import run_for
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Route, Waiting
from kiro_auth.gateway.key_spending import KeySpending, OwnSpending, SharedSpending
from kiro_auth.gateway.listing import Listing
from kiro_auth.gateway.me import Me
from kiro_auth.gateway.notices import Notices
from kiro_auth.gateway.parts import Parts, open_parts
from kiro_auth.gateway.paths import APIS
from kiro_auth.gateway.relay import Relay
from kiro_auth.gateway.reloading import Reloading
from kiro_auth.gateway.streams import Streams
from kiro_auth.gateway.watching import Watching
from kiro_auth.kiro.request import payload
from kiro_auth.ledger.protocol import Ledger
from kiro_auth.metrics.counters import Counters
from kiro_auth.off_loop import Threads
from kiro_auth.store.protocol import Store
from kiro_auth.surfaces.anthropic import messages as anthropic
from kiro_auth.surfaces.prefixes import Prefixes

_LOOK_SECONDS: Final = 60.0
"""Between two looks for histories that are not used any more."""


class Closing(Protocol):
    """A part that has something left to do at the end."""

    async def close(self) -> None:
        """Do it."""


@asynccontextmanager
async def open_gateway(
    config: Config,
    store: Store,
    entrance: Entrance,
    *,
    load: Callable[[], Config] = configuration.load,
    problems: Sequence[Failure] = (),
    on_models_listed: OnModelsListed = lambda *_: None,
    lists_file: Path | None = None,
    ledger: Ledger | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
    listeners: Sequence[Listener] = (),
) -> AsyncIterator[None]:
    """What stands behind the entrance, for as long as the block lasts: with it the gateway is complete.

    `config` becomes what `load` reads, when that is asked for.  `problems` are what people should hear of,
    beside its own.  `on_models_listed` hears the models when they were read anew; `lists_file` keeps them,
    `ledger` the turns.  `sleep` and `chance` as for `open_parts`.  `listeners` hear of every turn.
    """
    counters = Counters()
    opening = partial(open_parts, config, store, sleep=sleep, chance=chance, trust=entrance.trust)
    patience = config.request_timeout_ms / 1000
    async with opening(patience=patience, around_refresh=counters.counting) as parts:
        notices = Notices(config.toast_level, clock=parts.clock.now, problems=(*config.problems, *problems))
        upkeep = Upkeep(parts.pool, clock=parts.clock.now, on_problem=notices.problem)
        usage = _usage(parts, store, notices)
        catalog = _catalog(parts, on_models_listed, lists_file)
        accounting = Accounting(config, ledger, notices)
        kept = ledger if config.ledger else None
        spending = _spending_of_keys(accounting, kept)
        keys = entrance.presence.guard.client_keys
        allowances = Allowances(keys, parts.pool, store.places, spending)
        streams = Streams(entrance.wheel, grace=lambda: config.grace_seconds)
        ours: Sequence[Listener] = (upkeep, usage, catalog, notices, counters, *spending.listeners)
        hearing = (*ours, *accounting.listeners, *listeners)
        relay = _relay(parts, catalog, accounting, allowances, hearing, streams, notices)
        control = _control(parts, notices, entrance.activity, usage, catalog, relay)
        me = Me(keys, allowances, kept)
        pages = Watching(parts, control, relay, counters, kept, me).application
        reloading = Reloading(load, parts, relay, catalog, accounting, notices, entrance.on_reloaded)
        others = (reloading, control, Listing(catalog, allowances), me)
        routes = _routes(relay, catalog, *(part.routes() for part in others))
        rest = Rest(routes, pages, streams, reloading.reload, partial(_knows_accounts, store))
        async with _beside(upkeep.run(), _forget_idle(relay.prefixes)):
            try:
                entrance.complete(rest)
                yield
            finally:
                await _close_all(relay.threads, control, usage, catalog, accounting, spending)


async def _close_all(threads: Threads, *parts: Closing) -> None:
    threads.close()
    await asyncio.gather(*(part.close() for part in parts))


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have it run as long as the block lasts."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def _catalog(parts: Parts, on_models_listed: OnModelsListed, file: Path | None) -> Catalog:
    aliases = parts.config.model_aliases
    return Catalog(parts.client, on_models_listed, parts.pool, file=file, aliases=aliases)


def _spending_of_keys(accounting: Accounting, ledger: Ledger | None) -> KeySpending:
    sums = accounting.recorder.shared_sums
    return OwnSpending(ledger) if sums is None else SharedSpending(sums)


def _relay(
    parts: Parts,
    catalog: Catalog,
    accounting: Accounting,
    allowances: Allowances,
    listeners: Sequence[Listener],
    streams: Streams,
    notices: Notices,
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
        prefixes=Prefixes(time.monotonic),
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


async def _knows_accounts(store: Store) -> bool:
    """Whether the store, however long it takes, says which accounts there are."""
    try:
        await asyncio.to_thread(store.snapshot)
    except StoreFailed:
        return False
    return True


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


def _routes(relay: Relay, catalog: Catalog, *others: Mapping[str, Route]) -> dict[str, Route]:
    turns = {path: Route(waiting=_turn(relay, path), limit=MAX_BODY, for_clients=True) for path in APIS}
    counting = Route(waiting=_count_tokens(catalog, relay.threads), limit=MAX_BODY, for_clients=True)
    table = {f"POST {path}": route for path, route in turns.items()}
    for routes in ({"POST /v1/messages/count_tokens": counting}, *others):
        table.update(routes)
    return table


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
