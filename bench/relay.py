"""A bare pass-through to a TLS service that looks at nothing: `python -m bench.relay PORT AUTHORITY`."""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import cast


class Upstream(asyncio.Protocol):
    def __init__(self, client: asyncio.Transport) -> None:
        self.client = client

    def data_received(self, data: bytes) -> None:
        self.client.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        self.client.close()


class Client(asyncio.Protocol):
    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.port = port
        self.context = context
        self.early: list[bytes] = []
        self.upstream: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self.task = asyncio.ensure_future(self.connect())

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        self.upstream, _ = await loop.create_connection(
            lambda: Upstream(self.transport), "127.0.0.1", self.port, ssl=self.context
        )
        self.upstream.write(b"".join(self.early))

    def data_received(self, data: bytes) -> None:
        if self.upstream:
            self.upstream.write(data)
        else:
            self.early.append(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self.upstream:
            self.upstream.close()


async def main(port: int, authority: str) -> None:
    context = ssl.create_default_context(cafile=authority)
    server = await asyncio.get_running_loop().create_server(
        lambda: Client(port, context), "127.0.0.1", 0, backlog=2048
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
