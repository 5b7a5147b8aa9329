"""A bare pass-through: a TCP relay that looks at nothing.  `python -m bench.relay PORT`."""

from __future__ import annotations

import asyncio
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
    def __init__(self, port: int) -> None:
        self.port = port
        self.early: list[bytes] = []
        self.upstream: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self.task = asyncio.ensure_future(self.connect())

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        self.upstream, _ = await loop.create_connection(
            lambda: Upstream(self.transport), "127.0.0.1", self.port
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


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Client(port), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1])))
