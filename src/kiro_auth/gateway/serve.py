"""Run a gateway: listen, announce, watch for idleness, stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec import Struct

from kiro_auth import __version__
from kiro_auth.addresses import is_loopback
from kiro_auth.config import Config
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.app import ACTIVITY, RETIRE, open_gateway
from kiro_auth.gateway.discovery import Address, Seat
from kiro_auth.gateway.guard import Guard
from kiro_auth.store.store import Store
from kiro_auth.surfaces.surface import ModelCard

log = logging.getLogger("kiro_auth.gateway")

MIN_PUBLIC_KEY = 24
"""Characters of a key that may guard an address other machines can reach."""
_LOOK_SECONDS = 0.1
LAST_GRACE = 2.0
"""Seconds that other answers get after the streams have ended."""


class Settings(Struct, frozen=True, kw_only=True):
    """How to serve.  `port` 0 takes any free one; `idle_minutes` 0 never ends by itself.

    `options` is announced beside the address.  `allow_public` is the operator's word that others may reach
    `host`, over plain HTTP.
    """

    host: str
    port: int
    key: str
    options: str
    idle_minutes: float = 0
    allow_public: bool = False


def check(settings: Settings) -> None:
    """Refuse what is not safe.  Raises ConfigFailed."""
    if is_loopback(settings.host):
        return
    if not settings.allow_public:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"Other machines could reach {settings.host}, and requests would travel unencrypted.",
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


def listen(settings: Settings) -> socket.socket:
    """A socket that listens at the wanted address.  Raises ConfigFailed when it is taken or not ours."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{settings.host} port {settings.port} cannot be used: {error.strerror}.",
                next_step="Choose another port with --port, or 0 for any free one.",
            )
        ) from error
    return sock


async def serve(
    settings: Settings,
    config: Config,
    store: Store,
    seat: Seat | None,
    *,
    started: Callable[[Address], None],
    listed: Callable[[Sequence[ModelCard], bool], None],
    noted: Callable[[Mapping[str, Any]], None],
) -> None:
    """Serve until a signal, or until idle for long.  Without a `seat` nothing is announced."""
    check(settings)
    sock = listen(settings)
    told = _told_to_stop()
    guard = Guard(key=settings.key, public=not is_loopback(settings.host))
    async with open_gateway(config, store, guard, listed=listed, noted=noted) as app:
        # A client that leaves must end the call to the service at once, also while that is silent.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=LAST_GRACE)
        await runner.setup()
        try:
            await web.SockSite(runner, sock).start()
            address = Address(
                host=settings.host,
                port=sock.getsockname()[1],
                key=settings.key,
                pid=os.getpid(),
                version=__version__,
                options=settings.options,
            )
            if seat is not None:
                seat.announce(address)
            started(address)
            await _until_told_or_idle(told, app, settings.idle_minutes * 60)
            if app[RETIRE].is_set() and seat is not None:
                log.info("a newer version takes over")
                seat.leave()
                seat = None
                await _until_done(told, app[ACTIVITY])
        finally:
            if seat is not None:
                seat.leave()
            await runner.cleanup()


def _told_to_stop() -> asyncio.Event:
    """Set by the signals that ask a program to end."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, told.set)
        except NotImplementedError:  # Windows: the default handlers end the process
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(told.set))
    return told


async def _until_told_or_idle(told: asyncio.Event, app: web.Application, idle_seconds: float) -> None:
    activity = app[ACTIVITY]
    ended = asyncio.create_task(_either(told, app[RETIRE]))
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


async def _until_done(told: asyncio.Event, activity: Activity) -> None:
    """Until the last answer is complete, or somebody cannot wait for it."""
    while activity.open and not told.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), _LOOK_SECONDS)


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
        path.touch()
        handler = RotatingFileHandler(path, maxBytes=1_000_000, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("kiro_auth")
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.addHandler(handler)
