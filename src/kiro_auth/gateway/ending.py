"""How a gateway ends: by a signal, because it is told to, unused; and what it waits for then.

A balancer has to see that a gateway is about to end before its doors close, else it sends requests to where
nobody listens.  So SIGTERM, which service managers and containers send, first has the gateway drain for
`drain_seconds`, if there are any: `/ready` says 503, and all else is served as before, on connections that
close after their answer.  Ctrl-C and `kiro-auth stop` come from a person, who does not wait for a balancer.

SIGHUP means two things: to a program in a terminal that the terminal was closed, which ends it, as ever; to
one without, as services and containers are, that its options are to be read anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time

from kiro_auth.config import Config
from kiro_auth.events import noted
from kiro_auth.gateway.entrance import Entrance
from kiro_auth.gateway.http.server import Server

log = logging.getLogger("kiro_auth.gateway")

_LOOK_SECONDS = 0.1


class Ending:
    """Of one gateway, which `server` serves.  After `idle_seconds` without a request it ends; 0: never."""

    def __init__(self, entrance: Entrance, server: Server, config: Config, *, idle_seconds: float) -> None:
        self._entrance = entrance
        self._presence = entrance.presence
        self._activity = entrance.activity
        self._reloads: set[asyncio.Task[None]] = set()
        self._server = server
        self._config = config
        self.idle_seconds = idle_seconds

    def hear_signals(self) -> None:
        """Have signals do what they ask for; a second one ends what the first one waits for."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self._on_signal, number)
            except NotImplementedError:  # Windows: the default handlers end the process
                signal.signal(number, lambda got, _: loop.call_soon_threadsafe(self._on_signal, got))

        if sys.platform != "win32" and not _has_terminal():
            loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_hangup(self) -> None:
        task = asyncio.create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        rest = await self._entrance.completed()
        await rest.reload()

    def _on_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        log.info("ends: it got %s", name, extra=noted("stopping", why="signal", signal=name))
        presence = self._presence
        if presence.stop.is_set() or presence.drain.is_set():
            presence.stop.set()
            if self._entrance.rest is not None:
                self._entrance.rest.streams.end_now()
            self._server.end_now()
        elif number == signal.SIGTERM and self._config.drain_seconds and not presence.retire.is_set():
            presence.drain.set()
        else:
            presence.stop.set()

    async def begun(self) -> None:
        """Wait until the gateway is to close its doors."""
        presence = self._presence
        ended = asyncio.create_task(_either(presence.stop, presence.retire, presence.drain))
        try:
            await self._watch(ended)
        finally:
            ended.cancel()
        if presence.drain.is_set() and not presence.stop.is_set():
            await self._drained()

    async def _drained(self) -> None:
        """Wait until everybody has seen that it drains, or cannot be waited for any longer."""
        presence = self._presence
        self._server.close_after_answers()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_either(presence.stop, presence.retire), self._config.drain_seconds)

    async def replaced(self) -> None:
        """As another takes over: until the last answer is complete, or somebody cannot wait for it."""
        stop = self._presence.stop
        if not self._presence.retire.is_set():
            return
        log.info("ends: another gateway takes over", extra=noted("stopping", why="retired"))
        while self._activity.open and not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)

    async def _watch(self, ended: asyncio.Task[None]) -> None:
        while not ended.done():
            wait = 3600.0
            if seconds := self.idle_seconds:
                wait = self._activity.last + seconds - time.monotonic()
                if self._activity.open:
                    wait = seconds
                elif wait <= 0:
                    log.info(
                        "ends: nothing was asked for in %d seconds",
                        seconds,
                        extra=noted("stopping", why="idle"),
                    )
                    return
            await asyncio.wait([ended], timeout=max(wait, 0.05))


def _has_terminal() -> bool:
    """Whether the end of a terminal is the end of this program."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


async def _either(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
