"""Run a gateway: listen, announce, watch for idleness, stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from msgspec import Struct

from kiro_auth import __version__
from kiro_auth.addresses import is_loopback
from kiro_auth.config import Config
from kiro_auth.events import STARTED, noted
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.discovery import Address, Seat
from kiro_auth.gateway.entrance import Entrance
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.kept_address import Taken, listen_there
from kiro_auth.gateway.kept_address import read as read_kept
from kiro_auth.gateway.options import not_as_by_default
from kiro_auth.gateway.presence import Presence
from kiro_auth.gateway.proof import new_secret
from kiro_auth.gateway.sockets import handed_down, listen

log = logging.getLogger("kiro_auth.gateway")

MIN_PUBLIC_KEY = 24
"""Characters of a key that may guard an address other machines can reach."""
_LOOK_SECONDS = 0.1

OpenRest: TypeAlias = Callable[[Entrance, Sequence[Failure]], AbstractAsyncContextManager[None]]
"""Imports the rest of the gateway, in a thread, and gives what completes it; with what people should hear."""


class Settings(Struct, frozen=True, kw_only=True):
    """How to serve.  `idle_minutes` 0 never ends by itself.

    `hosts` are the addresses to listen at, all at one `port`, 0 for any free one; the first is announced.
    Without a port the user's one gateway takes the kept one.  `listeners` are the descriptors of sockets that
    listen already, handed down by another program of ours, to be served too.  `key` is one that a person
    chose, or nothing; the user's one gateway takes the kept one beside it.  One that `stays` was told to
    programs that cannot start it.  `options` is announced beside the address.  `allow_public` is the
    operator's word that others may reach the hosts, over plain HTTP.  `allow_host` are further names for this
    machine, `allow_origin` the origins that are let in.
    """

    hosts: Sequence[str]
    port: int | None
    key: str
    options: str
    listeners: Sequence[int] = ()
    idle_minutes: float = 0
    stays: bool = False
    allow_public: bool = False
    allow_host: Sequence[str] = ()
    allow_origin: Sequence[str] = ()

    @property
    def is_public(self) -> bool:
        """Whether other machines may reach it."""
        return not all(map(is_loopback, self.hosts))


class Idle(Struct):
    """After how many `seconds` without a request the gateway ends; 0 never."""

    seconds: float


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
    if 0 < len(settings.key) < MIN_PUBLIC_KEY:
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
    seat: Seat | None,
    *,
    open_rest: OpenRest,
    on_started: Callable[[Address], None],
) -> None:
    """Serve until told to end, or until idle for long.  Without a `seat` nothing is announced.

    `on_started` hears where the gateway listens, once it does; it is completed by `open_rest` after that.
    """
    check(settings)
    doors = _open_doors(settings, seat)
    address = _address(settings, doors)
    entrance = Entrance(_guard(settings, config, address), open_metrics=config.metrics_access == "open")
    presence, activity = entrance.presence, entrance.activity
    stop, retire = presence.stop, presence.retire
    _stop_by_signal(stop)
    idle = Idle(0 if settings.stays else settings.idle_minutes * 60)
    async with contextlib.AsyncExitStack() as rest, entrance.serving([*doors.own, *doors.handed]) as close:
        try:
            if seat is not None:
                seat.announce(address)
                _follow_orders(presence, seat, idle)
            _note_start(address, config, announced=seat is not None)
            on_started(address)
            opened = await asyncio.to_thread(open_rest, entrance, doors.problems)
            await rest.enter_async_context(opened)
            await _until_told_or_idle((stop, retire), activity, idle)
        finally:
            for sock in doors.own:  # before the place is free: the next one wants the same port
                close(sock)
            if seat is not None:
                seat.leave()
        if retire.is_set():
            log.info("ends: another gateway takes over", extra=noted("stopping", why="retired"))
            await _until_done(stop, activity)
    log.info("has ended", extra=noted("ended"))


def _note_start(address: Address, config: Config, *, announced: bool) -> None:
    options = not_as_by_default(config)
    log.info(
        "began: version %s at %s, process %d; options that differ from the defaults: %s",
        address.version,
        address.url,
        address.pid,
        ", ".join(f"{name} {value}" for name, value in options.items()) or "none",
        extra=noted(STARTED, version=address.version, url=address.url, announced=announced, options=options),
    )


class Doors(Struct, frozen=True):
    """The sockets that a gateway opened itself, those handed down to it, and the key that both take."""

    own: Sequence[socket.socket]
    handed: Sequence[socket.socket]
    key: str
    problems: Sequence[Failure] = ()


def _open_doors(settings: Settings, seat: Seat | None) -> Doors:
    """Listen: the user's one gateway at its kept address, in any case.  Raises ConfigFailed, StoreFailed."""
    handed = handed_down(settings.listeners, settings.hosts)
    if seat is None:
        return Doors([] if handed else listen(settings.hosts, settings.port or 0), handed, settings.key)
    taken = listen_there(seat.folder, settings.hosts, settings.port)
    return Doors(taken.sockets, handed, taken.kept.key, _problems(taken))


def _problems(taken: Taken) -> list[Failure]:
    """That the address is another: the log has it, and if because of a stranger, windows show it too."""
    if taken.news is None:
        return []
    log.warning("%s", taken.news.sentence(), extra=noted("address", failure=taken.news.code))
    return [taken.news] if taken.news.code == "KA-STRANGER" else []


def _follow_orders(presence: Presence, seat: Seat, idle: Idle) -> None:
    """What the user's programs may have the user's one gateway do while it has its place."""

    def stay() -> None:
        idle.seconds = 0
        seat.correct(stays=True)

    def take_new_key() -> None:
        if kept := read_kept(seat.folder):
            presence.guard.key = kept.key
            seat.correct(key=kept.key)

    presence.on_stay, presence.on_new_key = stay, take_new_key


def _address(settings: Settings, doors: Doors) -> Address:
    return Address(
        host=settings.hosts[0],
        port=[*doors.own, *doors.handed][0].getsockname()[1],
        key=doors.key,
        secret=new_secret(),
        pid=os.getpid(),
        version=__version__,
        options=settings.options,
        stays=settings.stays,
    )


def _guard(settings: Settings, config: Config, address: Address) -> Guard:
    return Guard(
        key=address.key,
        other_key=settings.key,
        prover=address.prover,
        public=settings.is_public,
        hosts=frozenset(map(str.lower, (*config.allow_host, *settings.allow_host))),
        origins=frozenset((*config.allow_origin, *settings.allow_origin)),
    )


def _stop_by_signal(stop: asyncio.Event) -> None:
    """Have the signals that ask a program to end set it."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        name = signal.Signals(number).name
        log.info("ends: it got %s", name, extra=noted("stopping", why="signal", signal=name))
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, on_signal, number)
        except NotImplementedError:  # Windows: the default handlers end the process
            signal.signal(number, lambda got, _: loop.call_soon_threadsafe(on_signal, got))


async def _until_told_or_idle(events: tuple[asyncio.Event, ...], activity: Activity, idle: Idle) -> None:
    ended = asyncio.create_task(_either(*events))
    try:
        await _watch(ended, activity, idle)
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


async def _watch(ended: asyncio.Task[None], activity: Activity, idle: Idle) -> None:
    while not ended.done():
        wait = 3600.0
        if idle.seconds:
            wait = activity.last + idle.seconds - time.monotonic()
            if activity.open:
                wait = idle.seconds
            elif wait <= 0:
                log.info(
                    "ends: nothing was asked for in %d seconds",
                    idle.seconds,
                    extra=noted("stopping", why="idle"),
                )
                return
        await asyncio.wait([ended], timeout=max(wait, 0.05))
