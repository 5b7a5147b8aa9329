"""A server that asks for new keys in the middle, which Python's own TLS cannot do: the one of OpenSSL."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO

import pytest
import trustme

from kiro_auth.kiro.edge.secured import Buffers, Secured

_COMMAND = ("stdbuf", "-oL", "openssl", "s_server", "-accept", "127.0.0.1:0", "-tls1_3", "-cert")


class Above(asyncio.Protocol):
    """What uses the connection."""

    def __init__(self) -> None:
        self.heard = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.heard.set_result(data)


class Server:
    """It asks for new keys when told so, and sends what it is told."""

    def __init__(self, told: IO[bytes], says: IO[bytes]) -> None:
        self._told, self._says = told, says
        self.port = int(self._line(b"ACCEPT ").rpartition(b":")[2])

    def ask_for_new_keys(self) -> None:
        self.send(b"K\n")
        self._line(b"SSL_do_handshake -> 1")

    def send(self, line: bytes) -> None:
        self._told.write(line)
        self._told.flush()

    def _line(self, beginning: bytes) -> bytes:
        return next(line for line in self._says if line.startswith(beginning))


@contextmanager
def serving(folder: Path, authority: trustme.CA) -> Iterator[Server]:
    pem = folder / "server.pem"
    authority.issue_cert("service.example").private_key_and_cert_chain_pem.write_to_path(pem)
    with Popen([*_COMMAND, str(pem)], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Server(process.stdin, process.stdout)
        finally:
            process.kill()


@pytest.mark.outside
async def test_the_answer_to_a_request_for_new_keys_goes_where_it_belongs(tmp_path: Path) -> None:
    authority, buffers, above = trustme.CA(), Buffers(), Above()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    secured = Secured(above, partial(context.wrap_bio, server_hostname="service.example"), buffers)
    with serving(tmp_path, authority) as server:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: secured, "127.0.0.1", server.port)
        await secured.ready()
        server.ask_for_new_keys()
        server.send(b"an event\n")
        async with asyncio.timeout(10):
            assert await above.heard == b"an event\n"
        secured.abort()

    assert buffers.outgoing.pending == 0
