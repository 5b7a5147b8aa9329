"""Clients of a balancer, many at a time, in all three APIs: what each of their turns came to."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from support.virtual import APIS, body_for

ENDINGS: Final = dict(zip(APIS, ("message_stop", "[DONE]", "response.completed"), strict=True))
"""By API, what a stream that is whole ends with."""
_CODE: Final = re.compile(r"\((KA-[A-Z-]+)\)")
_SECONDS: Final = 80.0
"""The longest that a turn may take."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One turn as its client saw it; `began` and `ended` are monotonic."""

    key: str
    api: str
    session: str
    streamed: bool
    began: float
    ended: float
    status: int
    words: str
    request_id: str | None
    account: str | None
    broke: bool

    @property
    def is_whole(self) -> bool:
        """Whether the answer came to its end."""
        if self.status != 200 or self.broke or self.code:
            return False
        return not self.streamed or ENDINGS[self.api] in self.words[-2000:]

    @property
    def code(self) -> str | None:
        """The code of the failure that was told."""
        found = _CODE.search(self.words)
        return found[1] if found else None


class Client:
    """Asks at `url`; each turn has a connection of its own, so that the balancer chooses anew."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=_SECONDS))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.close()

    async def turn(
        self,
        name: str,
        secret: str,
        api: str,
        session: str,
        *,
        stream: bool = True,
        url: str | None = None,
        account: str | None = None,
    ) -> Ended:
        """One turn of the holder of a key; its words name the session, so that the service's log has it."""
        assert self._http is not None
        body = body_for(api, f"fleet {session}", stream=stream)
        headers = {"x-api-key": secret, "x-session-id": session}
        headers |= {"x-kiro-account": account} if account else {}
        status, words, broke, answered = 0, b"", False, {}
        began = time.monotonic()
        try:
            async with self._http.post(f"{url or self._url}{api}", json=body, headers=headers) as answer:
                status, answered = answer.status, dict(answer.headers)
                async for part in answer.content.iter_any():
                    words += part
        except (aiohttp.ClientError, TimeoutError, OSError):
            broke = True
        named = {header.lower(): value for header, value in answered.items()}
        return Ended(
            key=name,
            api=api,
            session=session,
            streamed=stream,
            began=began,
            ended=time.monotonic(),
            status=status,
            words=words.decode(errors="replace"),
            request_id=named.get("x-request-id"),
            account=named.get("x-kiro-account"),
            broke=broke,
        )

    async def turns(
        self, name: str, secret: str, sessions: Iterator[str], goes_on: Callable[[], bool], first: int = 0
    ) -> list[Ended]:
        """One turn after the other, through the APIs in turn, every fourth not streamed."""
        ended: list[Ended] = []
        number = first
        while goes_on():
            api, streamed = APIS[number % len(APIS)], number % 4 != 3
            ended.append(await self.turn(name, secret, api, next(sessions), stream=streamed))
            number += 1
            if ended[-1].status != 200:
                await asyncio.sleep(0.2)
        return ended


def reply(credits_: float, *pauses: float) -> dict[str, Any]:
    """A reply that costs so much, with words between the pauses, in seconds."""
    steps: list[Any] = [{"text": "Hello"}]
    for pause in pauses:
        steps += [{"pause": pause}, {"text": " and more"}]
    metered = {"name": "meteringEvent", "payload": {"usage": credits_, "unit": "credit"}}
    return {"steps": [*steps, {"event": metered}, {"tail": {"withMetering": False}}]}
