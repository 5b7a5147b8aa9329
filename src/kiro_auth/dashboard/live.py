"""What open pages are told while they are open: each part of the page anew when it changed.

Server-sent events.  To leave a page open is no use of the gateway: its stream keeps no idle gateway alive.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from kiro_auth.tabs import Tabs

LOOK_SECONDS: Final = 1.0
"""How often it is looked whether something changed, while a page is open."""
_QUIET_SECONDS: Final = 20.0
"""After so long without news a comment is sent, which finds out that a browser has gone."""


class Live:
    """The streams; `sections` gives the parts of the page by name."""

    def __init__(self, sections: Callable[[], Awaitable[dict[str, str]]]) -> None:
        self._sections = sections
        self._tabs = Tabs()
        self._ending = False
        self._last: dict[str, str] | None = None
        self._looked = 0.0

    async def follow(self, request: web.Request, is_open: Callable[[], bool]) -> web.StreamResponse:
        """Tell one page of every change, while `is_open`, until it leaves, or newer pages take its place."""
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        with self._tabs.followed() as replaced:
            await response.write(b"retry: 2000\n\n")
            await self._tell(response, replaced, is_open)
        return response

    async def end(self) -> None:
        """Close the streams: the gateway ends."""
        self._ending = True
        self._tabs.end()

    async def _seen(self) -> dict[str, str]:
        """The parts as they are; all pages share one look."""
        now = time.monotonic()
        if self._last is None or now - self._looked >= LOOK_SECONDS / 2:
            self._looked = now
            self._last = await self._sections()
        return self._last

    async def _tell(
        self, response: web.StreamResponse, replaced: asyncio.Event, is_open: Callable[[], bool]
    ) -> None:
        shown: dict[str, str] = {}
        quiet = 0.0
        while is_open() and not replaced.is_set():
            sections = await self._seen()
            news = {name: html for name, html in sections.items() if shown.get(name) != html}
            shown = sections
            if news:
                await response.write(_event("parts", news))
                quiet = 0.0
            elif quiet >= _QUIET_SECONDS:
                await response.write(b":\n\n")
                quiet = 0.0
            quiet += LOOK_SECONDS
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await replaced.wait()
            except TimeoutError:
                continue
        why = "ended" if self._ending else "elsewhere" if replaced.is_set() else "closed"
        await response.write(_event("bye", why))


def _event(name: str, value: object) -> bytes:
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode(value) + b"\n\n"
