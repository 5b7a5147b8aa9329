"""Clients that read streams to their end and count events."""

from __future__ import annotations

import asyncio
import json

BODY = json.dumps(
    {
        "model": "claude-sonnet-4-5",
        "max_tokens": 1_000_000,  # more than comes: the gateway keeps to it
        "stream": True,
        "messages": [{"role": "user", "content": "Tell me about the fox."}],
    }
).encode()


async def run_streams(port: int, key: str, streams: int) -> int:
    """Read that many streams at once; the number of pieces of text received in all."""
    return sum(await asyncio.gather(*(_read_stream(port, key) for _ in range(streams))))


async def _read_stream(port: int, key: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nx-api-key: " + key.encode() + b"\r\n"
        b"Content-Length: " + str(len(BODY)).encode() + b"\r\n\r\n" + BODY
    )
    words = 0
    async with asyncio.timeout(120):
        while data := await reader.read(1 << 16):
            words += data.count(b" ")
            # The pass-through relays a connection that stays open; its last frame is the metering one.
            if b"unitPlural" in data:
                break
    writer.close()
    return words
