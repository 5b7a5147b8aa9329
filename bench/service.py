"""A stand-in for the service that replays stored frames over TLS: `python -m bench.service CERTIFICATE`.

A request says in its words what it wants, `bench EVENTS BURST PAUSE`: so many events, so many of them in one
write, and so many seconds between two writes.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import ssl
import sys
import time
from typing import cast

import httptools

from kiro_auth.kiro.reply.eventstream import encode_frame

WORDS = ["The ", "quick ", "brown ", "fox ", "jumps ", "over ", "the ", "lazy ", "dog. ", "Then "]
WANTED = re.compile(rb"bench (\d+) (\d+) ([0-9.]+)")
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
    b"x-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\nTransfer-Encoding: chunked\r\n\r\n"
)
MODELS = (
    b'{"models":[{"modelId":"claude-sonnet-4.5","modelName":"Claude Sonnet 4.5","supportedInputTypes":'
    b'["TEXT"],"tokenLimits":{"maxInputTokens":10000000,"maxOutputTokens":1000000}}]}'
)
LOSSES: list[float] = []
"""When connections were lost in the middle of an answer, by the monotonic clock that all processes share."""


def listed(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def losses() -> bytes:
    told = json.dumps(LOSSES).encode()
    LOSSES.clear()
    return told


def frame(name: str, payload: str) -> bytes:
    headers = {":message-type": "event", ":event-type": name, ":content-type": "application/json"}
    return encode_frame(headers, payload.encode())


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


TAIL = chunk(
    frame("contextUsageEvent", '{"contextUsagePercentage":1.5}')
    + frame("meteringEvent", '{"usage":0.05,"unit":"credit","unitPlural":"credits"}')
)
END = b"0\r\n\r\n"


@functools.cache
def pieces(events: int, burst: int) -> list[bytes]:
    """What each write is: the head with the first one, the end with the last."""
    stored = [frame("assistantResponseEvent", f'{{"content":"{WORDS[n % 10]}"}}') for n in range(events)]
    made = [chunk(b"".join(stored[at : at + burst])) for at in range(0, events, burst)]
    return (
        [HEAD + made[0], *made[1:-1], made[-1] + TAIL + END]
        if len(made) > 1
        else [HEAD + made[0] + TAIL + END]
    )


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.parser = httptools.HttpRequestParser(self)
        self.list = b""
        self.begun = False  # an answer, which is not complete
        self.wanted: re.Match[bytes] | None = None

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self.timer is not None and not self.timer.cancelled():
            self.timer.cancel()
            if self.begun and len(LOSSES) < 10_000:
                LOSSES.append(time.monotonic())

    def on_message_begin(self) -> None:
        self.list, self.wanted, self.rest = b"", None, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-amz-target" and b"Generate" not in value:
            self.list = losses() if b"Losses" in value else MODELS

    def on_body(self, body: bytes) -> None:
        if self.wanted is None:
            body = self.rest + body
            self.wanted, self.rest = WANTED.search(body), body[-64:]

    def on_message_complete(self) -> None:
        if self.list:
            self.transport.write(listed(self.list))
            return
        assert self.wanted is not None, "the request does not say what it wants"
        events, burst, pause = self.wanted.groups()
        self.write(pieces(int(events), int(burst)), 0, float(pause), self.loop.time())

    def write(self, stored: list[bytes], number: int, pause: float, begun: float) -> None:
        self.transport.write(stored[number])
        number += 1
        self.begun = number < len(stored)
        if self.begun:
            at = begun + number * pause
            self.timer = self.loop.call_at(at, self.write, stored, number, pause, begun)


async def main(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(
        Connection, "127.0.0.1", 0, ssl=context, backlog=2048
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1]))
