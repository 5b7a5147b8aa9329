"""Run a gateway: listen, announce, serve until it is to end, and leave in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import TypeAlias

from kiro_auth import __version__
from kiro_auth.config import Config
from kiro_auth.events import STARTED, noted
from kiro_auth.failures import Failure
from kiro_auth.gateway.client_keys import ClientKeys
from kiro_auth.gateway.discovery import Address, Seat
from kiro_auth.gateway.doors import Doors, Settings, open_doors
from kiro_auth.gateway.ending import Ending
from kiro_auth.gateway.entrance import Entrance
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.http.server import Server
from kiro_auth.gateway.kept_address import read as read_kept
from kiro_auth.gateway.options import not_as_by_default, options_in_force
from kiro_auth.gateway.presence import Presence
from kiro_auth.gateway.proof import new_secret
from kiro_auth.gateway.proxies import Proxies
from kiro_auth.keys.protocol import KeyStore

log = logging.getLogger("kiro_auth.gateway")


OpenRest: TypeAlias = Callable[[Entrance, Sequence[Failure]], AbstractAsyncContextManager[None]]
"""Imports the rest of the gateway, in a thread, and gives what completes it; with what people should hear."""


async def serve(
    settings: Settings,
    config: Config,
    keys: KeyStore,
    seat: Seat | None,
    *,
    open_rest: OpenRest,
    on_started: Callable[[Address, Sequence[str]], None],
) -> None:
    """Serve until told to end, or until idle for long.  Without a `seat` nothing is announced.

    `on_started` hears where the gateway listens, once it does: for programs of this machine, and where else.
    It is completed by `open_rest` after that.
    """
    doors = open_doors(settings, seat)
    address = _address(settings, doors)
    guard = _guard(settings, config, address, keys)
    on_reloaded = partial(_on_reloaded, guard, settings, config, seat)
    entrance = Entrance(guard, config, on_reloaded=on_reloaded)
    async with AsyncExitStack() as rest, entrance.serving([*doors.own, *doors.handed]) as server:
        ending = Ending(entrance, server, config, idle_seconds=settings.idle_seconds)
        ending.hear_signals()
        try:
            await _open_outer_doors(server, doors, settings)
            if seat is not None:
                _take_place(seat, address, entrance.presence, ending)
            _note_start(address, config, announced=seat is not None)
            on_started(address, doors.outer_places)
            opened = await asyncio.to_thread(open_rest, entrance, doors.problems)
            await rest.enter_async_context(opened)
            gc.freeze()  # to look at all that is imported takes as long as a request of 1 MB
            gc.enable()  # which the command has switched off, as nothing that is imported is garbage
            await ending.begun()
        finally:
            _leave(server, doors, seat)
        await ending.replaced()
    log.info("has ended", extra=noted("ended"))


async def _open_outer_doors(server: Server, doors: Doors, settings: Settings) -> None:
    if doors.outer:
        from kiro_auth.gateway.encrypted import open_outer_doors  # few gateways have some

        await open_outer_doors(server, doors, settings.certificate)


def _leave(server: Server, doors: Doors, seat: Seat | None) -> None:
    for sock in (*doors.own, *doors.outer):  # before the place is free: the next one wants the same ports
        server.close(sock)
    doors.remove_unix()
    if seat is not None:
        seat.leave()


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


def _take_place(seat: Seat, address: Address, presence: Presence, ending: Ending) -> None:
    """Be the user's one gateway, which does what the user's programs may have it do."""
    seat.announce(address)

    def stay() -> None:
        ending.idle_seconds = 0
        seat.correct(stays=True)

    def take_new_key() -> None:
        if kept := read_kept(seat.folder):
            presence.guard.key = kept.key
            seat.correct(key=kept.key)

    presence.on_stay, presence.on_new_key = stay, take_new_key


def _on_reloaded(guard: Guard, settings: Settings, config: Config, seat: Seat | None) -> None:
    guard.proxies = Proxies(config.trusted_proxies)
    guard.hosts, guard.origins = _names(settings, config)
    if settings.certificate is not None:
        settings.certificate.look()
    if seat is not None:
        seat.correct(options=options_in_force(config))


def _names(settings: Settings, config: Config) -> tuple[frozenset[str], frozenset[str]]:
    """The names for this machine, and the origins, that are let in."""
    hosts = frozenset(map(str.lower, (*config.allow_host, *settings.allow_host)))
    return hosts, frozenset((*config.allow_origin, *settings.allow_origin))


def _address(settings: Settings, doors: Doors) -> Address:
    return Address(
        host=doors.host,
        port=[*doors.own, *doors.handed][0].getsockname()[1],
        key=doors.key,
        secret=new_secret(),
        pid=os.getpid(),
        version=__version__,
        options=settings.options,
        stays=settings.stays,
    )


def _guard(settings: Settings, config: Config, address: Address, keys: KeyStore) -> Guard:
    hosts, origins = _names(settings, config)
    return Guard(
        key=address.key,
        other_key=settings.key,
        client_keys=ClientKeys(keys),
        prover=address.prover,
        public=settings.is_public,
        hosts=hosts,
        origins=origins,
        proxies=Proxies(config.trusted_proxies),
    )
