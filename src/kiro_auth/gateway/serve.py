"""Run a gateway: listen, announce, watch for idleness, stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from kiro_auth import __version__
from kiro_auth.addresses import is_loopback
from kiro_auth.config import Config
from kiro_auth.events import Listener
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.app import ACTIVITY, PRESENCE, open_gateway
from kiro_auth.gateway.calls import call, is_of_this_user, stranger_at
from kiro_auth.gateway.catalog import OnModelsListed
from kiro_auth.gateway.discovery import Address, Seat
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.proof import Prover, new_secret
from kiro_auth.gateway.request_log import PrivateFile
from kiro_auth.gateway.server import serving
from kiro_auth.gateway.sockets import handed_down, listen
from kiro_auth.store.protocol import Store

log = logging.getLogger("kiro_auth.gateway")

MIN_PUBLIC_KEY = 24
"""Characters of a key that may guard an address other machines can reach."""
_LOOK_SECONDS = 0.1


class Settings(Struct, frozen=True, kw_only=True):
    """How to serve.  `port` 0 takes any free one; `idle_minutes` 0 never ends by itself.

    `hosts` are the addresses to listen at, all at one port; the first is the one that is announced.
    `listeners` are the descriptors of sockets that listen there already, handed down by another program of
    ours; `port` says nothing then.  `options` is announced beside the address.  `allow_public` is the
    operator's word that others may reach the hosts, over plain HTTP.  `allow_host` are further names for this
    machine, `allow_origin` the origins that are let in.
    """

    hosts: Sequence[str]
    port: int
    key: str
    options: str
    listeners: Sequence[int] = ()
    idle_minutes: float = 0
    allow_public: bool = False
    allow_host: Sequence[str] = ()
    allow_origin: Sequence[str] = ()

    @property
    def is_public(self) -> bool:
        """Whether other machines may reach it."""
        return not all(map(is_loopback, self.hosts))


def check(settings: Settings) -> None:
    """Refuse what is not safe.  Raises ConfigFailed."""
    if not settings.is_public:
        return
    if not settings.allow_public:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"Other machines could reach {settings.hosts[0]}, and requests would travel "
                "unencrypted.",
                next_step="Use --host 127.0.0.1, or add --allow-public behind a proxy that speaks TLS.",
            )
        )
    if len(settings.key) < MIN_PUBLIC_KEY:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"KIRO_GATEWAY_KEY has fewer than {MIN_PUBLIC_KEY} characters, too few to be public.",
                next_step="Choose a longer random key.",
            )
        )


async def serve(
    settings: Settings,
    config: Config,
    store: Store,
    seat: Seat | None,
    *,
    on_started: Callable[[Address], None],
    on_models_listed: OnModelsListed,
    lists_file: Path,
    listeners: Sequence[Listener],
) -> None:
    """Serve until told to end, or until idle for long.  Without a `seat` nothing is announced.

    `on_started` hears where the gateway listens, once it does.  `lists_file` keeps the lists of models.
    """
    check(settings)
    hosts = settings.hosts
    sockets = handed_down(settings.listeners, hosts) or listen(hosts, settings.port)
    address = _address(settings, port=sockets[0].getsockname()[1])
    guard = _guard(settings, config, address.prover)
    problems = await asyncio.to_thread(_strangers, seat, address)
    async with open_gateway(
        config,
        store,
        guard,
        problems=problems,
        on_models_listed=on_models_listed,
        lists_file=lists_file,
        listeners=listeners,
    ) as app:
        stop, retire = app[PRESENCE].stop, app[PRESENCE].retire
        _stop_by_signal(stop)
        async with serving(app, sockets):
            try:
                if seat is not None:
                    seat.announce(address)
                on_started(address)
                await _until_told_or_idle((stop, retire), app[ACTIVITY], settings.idle_minutes * 60)
                if retire.is_set() and seat is not None:
                    log.info("a newer version takes over")
                    seat.leave()
                    seat = None
                    await _until_done(stop, app[ACTIVITY])
            finally:
                if seat is not None:
                    seat.leave()


def _address(settings: Settings, port: int) -> Address:
    return Address(
        host=settings.hosts[0],
        port=port,
        key=settings.key,
        secret=new_secret(),
        pid=os.getpid(),
        version=__version__,
        options=settings.options,
    )


def _guard(settings: Settings, config: Config, prover: Prover) -> Guard:
    return Guard(
        key=settings.key,
        prover=prover,
        public=settings.is_public,
        hosts=frozenset(map(str.lower, (*config.allow_host, *settings.allow_host))),
        origins=frozenset((*config.allow_origin, *settings.allow_origin)),
    )


def _strangers(seat: Seat | None, ours: Address) -> list[Failure]:
    """That somebody has taken the address of the gateway before: programs that were told it go on to use it.

    A program of the same user may read the key anyway, and may be a `kiro-auth run` that keeps the address.
    """
    before = seat.last() if seat is not None else None
    if before is None or before.place == ours.place:
        return []
    answer = call(before)
    stranger = stranger_at(before, answer)
    if stranger is None or is_of_this_user(answer.uid):
        return []
    log.warning(stranger.sentence())
    return [stranger]


def _stop_by_signal(stop: asyncio.Event) -> None:
    """Have the signals that ask a program to end set it."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: the default handlers end the process
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))


async def _until_told_or_idle(
    events: tuple[asyncio.Event, ...], activity: Activity, idle_seconds: float
) -> None:
    ended = asyncio.create_task(_either(*events))
    try:
        await _watch(ended, activity, idle_seconds)
    finally:
        ended.cancel()


async def _either(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _until_done(stop: asyncio.Event, activity: Activity) -> None:
    """Until the last answer is complete, or somebody cannot wait for it."""
    while activity.open and not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)


async def _watch(ended: asyncio.Task[None], activity: Activity, idle_seconds: float) -> None:
    while not ended.done():
        wait = 3600.0
        if idle_seconds:
            wait = activity.last + idle_seconds - time.monotonic()
            if activity.open:
                wait = idle_seconds
            elif wait <= 0:
                log.info("ended after %d idle seconds", idle_seconds)
                return
        await asyncio.wait([ended], timeout=max(wait, 0.05))


def log_to(path: Path | None, *, verbose: bool = False) -> None:
    """Send the program's log to a bounded file, mode 0600, or to the terminal."""
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler()
    else:
        os.umask(0o077)  # for the files that replace it, too
        handler = PrivateFile(path, maxBytes=1_000_000, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("kiro_auth")
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.addHandler(handler)
