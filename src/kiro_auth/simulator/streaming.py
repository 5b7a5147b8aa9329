"""A reply of a chat as it is written to the caller: in its time, metered, and damaged where it is to be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

from aiohttp import web

from kiro_auth.kiro.reply.eventstream import EventStreamDecoder
from kiro_auth.simulator.scenario import User
from kiro_auth.simulator.script import Pause
from kiro_auth.simulator.wire import Break, Damage, Output
from kiro_auth.simulator.world import World


async def said(
    request: web.Request, response: web.StreamResponse, outputs: Iterable[Output], meter: Meter
) -> None:
    """The reply, to its end or until it breaks off.  Raises ConnectionError when the client leaves."""
    for output in outputs:
        match output:
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Break():
                abort(request)
                return
            case Damage(data, framed):
                if framed:
                    await response.write(data)
                elif request.transport is not None:
                    request.transport.write(data)
            case bytes():
                meter.feed(output)
                await response.write(output)
                await asyncio.sleep(0)  # each frame by itself, as the service sends them
    await response.write_eof()


def abort(request: web.Request) -> None:
    """End the connection at once, as a failing network does."""
    if request.transport is not None:
        request.transport.abort()


class Meter:
    """Charges the plan with what the reply says it cost."""

    def __init__(self, world: World, user: User, model: str, conversation: str) -> None:
        self._world = world
        self._user = user
        self._model = model
        self._conversation = conversation
        self._decoder = EventStreamDecoder()

    def feed(self, data: bytes) -> None:
        """What was written."""
        for frame in self._decoder.feed(data):
            if frame.headers.get(":event-type") == "meteringEvent":
                usage = json.loads(frame.payload).get("usage")
                if isinstance(usage, int | float):
                    self._world.charge(self._user, self._model, usage, self._conversation)
