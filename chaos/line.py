"""A connection that goes wrong: a proxy before the simulated services, which spoils answers at a byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

from chaos.plan import LineFault

_LINGER: tuple[int, int, bytes] = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
"""With it a closed connection is reset."""


class Line:
    """See the module.  `faults` are used up by the answers to the requests they are for, in their order."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.faults: list[LineFault] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        """The port that it listens at."""
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """End all connections, as when a network changes."""
        for task in self._tasks:
            task.cancel()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                to, back = await asyncio.open_connection("127.0.0.1", self._port)
                await _Exchange(self, reader, writer, to, back).run()
        finally:
            self._tasks.discard(task)

    def next_fault(self, sent: bytes) -> LineFault | None:
        """The fault for the answer to the request that begins with these bytes."""
        fault = next((fault for fault in self.faults if fault.of in sent), None)
        if fault is not None:
            self.faults.remove(fault)
        return fault


class _Exchange:
    """One connection: its requests go on as they are, its answers maybe not."""

    def __init__(
        self,
        line: Line,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        service: asyncio.StreamReader,
        to_service: asyncio.StreamWriter,
    ) -> None:
        self._line = line
        self._reader, self._writer = reader, writer
        self._service, self._to_service = service, to_service
        self._fault: LineFault | None = None
        self._count = 0

    async def run(self) -> None:
        forth = asyncio.create_task(self._forth())
        back = asyncio.create_task(self._back())
        try:
            await asyncio.wait([forth, back], return_when=asyncio.FIRST_COMPLETED)
            if not back.done():
                await asyncio.wait([back], timeout=0.05)
        finally:
            for task in (forth, back):
                task.cancel()
            await asyncio.gather(forth, back, return_exceptions=True)
            for writer in (self._writer, self._to_service):
                writer.close()

    async def _forth(self) -> None:
        while data := await self._reader.read(65536):
            if data.startswith((b"POST ", b"GET ")):
                self._fault, self._count = self._line.next_fault(data), 0
            self._to_service.write(data)
            await self._to_service.drain()

    async def _back(self) -> None:
        while data := await self._service.read(65536):
            fault, at = self._fault, self._count
            self._count += len(data)
            if fault is None or (self._count <= fault.at and fault.kind != "trickle"):
                self._writer.write(data)
            elif not await self._spoilt(fault, data, max(0, fault.at - at)):
                return
            await self._writer.drain()

    async def _spoilt(self, fault: LineFault, data: bytes, at: int) -> bool:
        """Whether the connection goes on."""
        if fault.kind == "trickle":
            await self._piecemeal(data, 7)
            return True
        self._fault = None
        if fault.kind == "flip":
            self._writer.write(data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :])
            return True
        self._writer.write(data[:at])
        await asyncio.sleep(0.002)  # so that what came before is there
        if fault.kind == "drip":
            await self._piecemeal(data[at:], 1)
            return True
        if fault.kind == "stall":
            await asyncio.sleep(3600)
        if fault.kind == "reset":
            self._writer.get_extra_info("socket").setsockopt(*_LINGER)
            self._writer.transport.abort()
        return False

    async def _piecemeal(self, data: bytes, size: int) -> None:
        for start in range(0, min(len(data), 200 * size), size):
            if self._writer.is_closing():
                return
            self._writer.write(data[start : start + size])
            await asyncio.sleep(0.001)
        self._writer.write(data[200 * size :])
