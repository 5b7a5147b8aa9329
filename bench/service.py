"""A stand-in for the service that replays stored frames: `python -m bench.service EVENTS BURST`."""

from __future__ import annotations

import asyncio
import sys

from kiro_auth.kiro.reply.eventstream import encode_frame

WORDS = ["The ", "quick ", "brown ", "fox ", "jumps ", "over ", "the ", "lazy ", "dog. ", "Then "]


def frame(name: str, payload: str) -> bytes:
    headers = {":message-type": "event", ":event-type": name, ":content-type": "application/json"}
    return encode_frame(headers, payload.encode())


def frames(events: int) -> list[bytes]:
    return [frame("assistantResponseEvent", f'{{"content":"{WORDS[n % 10]}"}}') for n in range(events)]


TAIL = frame("contextUsageEvent", '{"contextUsagePercentage":1.5}') + frame(
    "meteringEvent", '{"usage":0.05,"unit":"credit","unitPlural":"credits"}'
)


async def main(events: int, burst: int) -> None:
    stored = frames(events)
    pieces = [b"".join(stored[at : at + burst]) for at in range(0, events, burst)]
    size = sum(map(len, pieces)) + len(TAIL)
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in request.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                await reader.readexactly(length)
                writer.write(head)
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0.002)  # so that each piece is a read of its own
                writer.write(TAIL)
        except (asyncio.IncompleteReadError, ConnectionError, StopIteration):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
