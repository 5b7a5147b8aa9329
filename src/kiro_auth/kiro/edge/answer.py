"""The answer to one request, whose body goes on as it comes: to a sink, or to whoever awaits `read`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol, TypeAlias

Fault: TypeAlias = Literal[
    "address",
    "name",
    "certificate",
    "tls",
    "refused",
    "proxy gone",
    "proxy refuses",
    "slow",
    "silent",
    "broken",
]
"""What is wrong between here and a host; up to `slow` nothing was sent yet."""
Sink: TypeAlias = Callable[[bytes], bool]
"""Takes a piece of an answer; whether it wants more."""

MOST_WAITING: Final = 256 * 1024
"""Bytes of an answer that nobody has read yet, from which on no more is read."""


class LineFailed(Exception):
    """A host cannot be reached, or the connection broke."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault: Fault = fault


class Carrier(Protocol):
    """What an answer comes over."""

    def pause(self) -> None:
        """Read no more for now."""

    def resume(self) -> None:
        """Read again."""

    def leave(self, *, complete: bool) -> None:
        """The request is over."""


class Answer:
    """The answer to one request: its head, and its body as it comes.  Header names are in lower case."""

    __slots__ = (
        *("_closed", "_connection", "_done", "_failed", "_held", "_parts", "_sink", "_waiter", "headers"),
        *("host", "status", "waiting"),
    )

    def __init__(self, connection: Carrier, host: str, status: int, headers: Mapping[str, str]) -> None:
        self.host = host
        self.status = status
        self.headers = headers
        self._connection = connection
        self._parts: list[bytes] = []
        self.waiting = 0
        """Bytes that came and that nobody has read."""
        self._held = False  # by whoever reads
        self._closed = False
        self._done = False
        self._failed: Exception | None = None
        self._sink: Sink | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def content_type(self) -> str:
        """The media type alone."""
        kind = self.headers.get("content-type", "application/octet-stream")
        return kind.partition(";")[0].strip().lower()

    def forget_headers(self) -> None:
        """Keep none of them: a stream may be silent for long."""
        self.headers = {}

    @property
    def at_hand(self) -> bool:
        """Whether there is something, or the end, to be `taken`."""
        return bool(self._parts) or self._done or self._failed is not None

    async def read(self) -> bytes:
        """What came since the last time; empty at the clean end.  Raises LineFailed."""
        if not self.at_hand:
            await self._more()
        return self.taken()

    def taken(self) -> bytes:
        """What is `at_hand`: see `read`.  Raises LineFailed."""
        if self._parts:
            data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts.clear()
            self.waiting = 0
            if not (self._held or self._closed):
                self._connection.resume()
            return data
        if self._failed is not None:
            raise self._failed
        return b""

    async def flow(self, sink: Sink) -> None:
        """Give each piece to the sink as it comes, until the clean end, or until it wants no more.

        Raises LineFailed, and what the sink raises.
        """
        while self._parts:
            if not sink(self.taken()):
                return
        if self.at_hand:
            self.taken()
            return
        self._sink = sink
        try:
            await self._more()
        finally:
            self._sink = None
        if self._failed is not None:
            raise self._failed

    def pause(self) -> None:
        """Read no more for now: what is given cannot be passed on."""
        self._held = True
        if not self._closed:
            self._connection.pause()

    def resume(self) -> None:
        """Read again."""
        self._held = False
        if not self._closed:
            self._connection.resume()

    def close(self) -> None:
        """Give the connection back when the answer was complete, else close it at once.

        From then on it may carry another request, which this answer has no hold of.
        """
        if not self._closed:
            self._closed = True
            self._connection.leave(complete=self._done)

    # ------------------------------------------------------------------------- the connection's side

    def on_data(self, data: bytes) -> None:
        """A piece of the body."""
        if self._sink is None:
            self._parts.append(data)
            self.waiting += len(data)
            if self.waiting >= MOST_WAITING:
                self._connection.pause()
        else:
            try:
                if self._sink(data):
                    return
            except Exception as error:
                self._failed = error
            self._sink = None
        self._wake()

    def on_end(self, failed: Exception | None = None) -> None:
        """The body is complete, or the line broke."""
        self._failed = self._failed or failed
        self._done = self._failed is None
        self._wake()

    def _more(self) -> asyncio.Future[None]:
        """Done when there is something to say; no coroutine, as a silent stream would hold one more."""
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
