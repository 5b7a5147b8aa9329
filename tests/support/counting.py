"""Counts what a client asks of the gateway, from between the two."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.programs import Home

TURN = b"POST /v1/messages "
TURN_WITH_QUERY = b"POST /v1/messages?"


class Counter:
    """Passes bytes through to the gateway of a home, and counts the turns in them.

    `began` is when the first of them came, in seconds of the monotonic clock.
    """

    def __init__(self, port: int) -> None:
        self.began: float | None = None
        self.turns = 0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        """Where clients reach the gateway through it."""
        return int(self._listener.getsockname()[1])

    def serve(self) -> None:
        """Take connections until closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            gateway = socket.create_connection(("127.0.0.1", self._port))
            for source, sink, counted in ((client, gateway, True), (gateway, client, False)):
                threading.Thread(target=self._pass_on, args=(source, sink, counted), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        tail = b""
        with source, sink:
            try:
                while data := source.recv(65536):
                    if counted:
                        seen = tail + data
                        turns = seen.count(TURN) + seen.count(TURN_WITH_QUERY)
                        if turns and not self.turns:
                            self.began = time.monotonic()
                        self.turns += turns
                        tail = seen[-len(TURN) + 1 :]
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                return  # one of the two left


@contextmanager
def counted(home: Home) -> Iterator[Counter]:
    """The gateway of this home, announced at a counter's port."""
    path: Path = home.state / "gateway.json"
    with home.started("serve") as process:
        assert process.stdout is not None
        process.stdout.readline()
        announced = json.loads(path.read_text())
        counter = Counter(announced["port"])
        path.write_text(json.dumps({**announced, "port": counter.port}))
        thread = threading.Thread(target=counter.serve, daemon=True)
        thread.start()
        try:
            yield counter
        finally:
            counter.close()
            thread.join(10)
