"""A program of another user, or of nobody in particular, that listens where the gateway was."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

NOBODY = 65534
"""The user id of the system's user for programs that may do nothing."""

LISTENER = r"""
import socket, sys, threading, time
host, port, manner = sys.argv[1], int(sys.argv[2]), sys.argv[3]
try:
    listener = socket.create_server((host, port))
except OSError as error:
    sys.exit(f"cannot listen: {error}")
print("listens", listener.getsockname()[1], flush=True)

def passed_on(client, target):
    def pump():
        while data := target.recv(65536):
            client.sendall(data)
    threading.Thread(target=pump, daemon=True).start()

def serve(client):
    target = None
    if manner.startswith("relay:"):
        target = socket.create_connection(("127.0.0.1", int(manner[6:])))
        passed_on(client, target)
    while data := client.recv(65536):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        if target:
            target.sendall(data)
        elif manner == "polite":
            client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        elif manner == "claims":
            head = "HTTP/1.1 204 No Content\r\nx-kiro-nonce: 5." + "0" * 32 + "\r\nx-kiro-proof: " + "0" * 64
            client.sendall(head.encode() + b"\r\n\r\n")
        elif manner == "garbage":
            client.sendall(b"\x00\xffSSH-2.0-stranger\r\n" * 9)
        elif manner == "endless head":
            client.sendall(b"HTTP/1.1 204 No Content\r\n")
            while True:
                client.sendall(b"a: b\r\n")
                time.sleep(0.2)
        elif manner == "endless continue":
            while True:
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                time.sleep(0.01)
        elif manner == "hangs up":
            client.close()
            return

def guarded(client):
    try:
        serve(client)
    except OSError:
        pass

while True:
    threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()
"""


FETCHER = r"""
import http.client, sys
from urllib.parse import urlsplit
method, url, *headers = sys.argv[1:]
there = urlsplit(url)
connection = http.client.HTTPConnection(there.netloc, timeout=30)
path = there.path + "?" * bool(there.query) + there.query
connection.request(method, path, headers=dict(header.split("=", 1) for header in headers))
answer = connection.getresponse()
print(answer.status, answer.getheaders(), answer.read().decode(), sep="\0")
"""


class Stranger:
    """What listens; `heard` is every byte that was sent to it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        first = process.stdout.readline().split()
        assert first[:1] == [b"listens"], f"it cannot listen: {first}"
        self.port = int(first[1])
        self.heard = b""
        self._output = process.stdout
        threading.Thread(target=self._listen, daemon=True).start()

    def hears(self, words: bytes) -> None:
        """Wait until it has heard them, before anything else."""
        end = time.monotonic() + 30
        while len(self.heard) < len(words):
            assert time.monotonic() < end, self.heard
            time.sleep(0.01)
        assert self.heard.startswith(words)

    def _listen(self) -> None:
        with contextlib.suppress(ValueError, OSError):  # closed
            while data := os.read(self._output.fileno(), 65536):
                self.heard += data


def listener_process(
    port: int, manner: str = "polite", *, user: int | None = None
) -> subprocess.Popen[bytes]:
    """The program itself; its first line says `listens PORT`, unless it cannot."""
    # The system's own Python: the tests' may lie where another user cannot read.
    python = sys.executable if user is None else str(Path("/usr/bin/python3"))
    return subprocess.Popen(
        [python, "-I", "-c", LISTENER, "127.0.0.1", str(port), manner],
        cwd="/",
        env={},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        user=user,
    )


@contextlib.contextmanager
def stranger(port: int = 0, manner: str = "polite", *, user: int | None = None) -> Iterator[Stranger]:
    """It listens at the port (0: any) for as long as the block lasts."""
    with listener_process(port, manner, user=user) as process:
        try:
            yield Stranger(process)
        finally:
            process.kill()


def fetched(
    url: str, user: int, method: str = "GET", headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, str, str]:
    """Status, headers and text of what a program of this user gets, which follows no redirect."""
    given = {"accept": "text/html", **headers}
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", FETCHER, method, url, *map("=".join, given.items())],
        cwd="/", env={}, user=user, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    status, head, text = done.stdout.split("\0")
    return int(status), head, text


def other_user() -> int:
    """The id of another user; only root may start programs as one, which CI must be."""
    if os.geteuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("CI must run these tests as root: they start a program as another user")
        pytest.skip("only root can start a program as another user")
    return NOBODY
