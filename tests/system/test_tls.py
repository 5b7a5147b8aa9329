"""A gateway that other machines reach: under TLS, by its own certificate, and never in clear by accident."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from kiro_auth.gateway.http.limits import HEAD_SECONDS, MOST_OF_ONE
from support.programs import KEY, Home, Simulator
from system.test_behind_proxies import is_closed, own_address
from system.test_drain import asked, ready
from system.test_reload import until

__all__ = ["ready"]

pytestmark = pytest.mark.timeout(120)

NAME = "kiro.example.com"


class Outside:
    """The address under TLS, as other machines see it, who trust one authority."""

    def __init__(self, process: subprocess.Popen[str], authority: trustme.CA) -> None:
        self.process = process
        assert process.stdout is not None
        self.said = process.stdout.readline()
        found = re.search(r"https://[^ ;,]*:(\d+)", self.said)
        assert found, self.said
        self.port = int(found[1])
        self.trusting = ssl.create_default_context()
        authority.configure_trust(self.trusting)

    def connection(self, context: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
        return Connection("127.0.0.1", self.port, timeout=20, context=context or self.trusting)

    def shown(self) -> bytes:
        """The certificate that a new connection is shown."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain,
            self.trusting.wrap_socket(plain, server_hostname=NAME) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
            assert shown
            return shown


class Connection(http.client.HTTPSConnection):
    """To the gateway by the name that its certificate is for."""

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), self.timeout)
        self.sock = self._context.wrap_socket(plain, server_hostname=NAME)  # type: ignore[attr-defined]


AUTHORITY = trustme.CA()


def write_certificate(folder: Path, authority: trustme.CA = AUTHORITY, name: str = NAME) -> tuple[str, str]:
    """A new certificate and its key at the same paths each time, put there as tools do."""
    made = authority.issue_cert(name)
    for file, body in (
        ("tls.crt", b"".join(blob.bytes() for blob in made.cert_chain_pems)),
        ("tls.key", made.private_key_pem.bytes()),
    ):
        (folder / f"{file}.new").write_bytes(body)
        os.replace(folder / f"{file}.new", folder / file)
    return str(folder / "tls.crt"), str(folder / "tls.key")


@contextlib.contextmanager
def outside(home: Home, *options: str) -> Iterator[Outside]:
    certificate, key = write_certificate(home.folder)
    arguments = ("serve", "--host", "0.0.0.0", "--port", "0", "--tls-cert", certificate, "--tls-key", key)
    home.environment["KIRO_GATEWAY_KEY"] = KEY
    with home.started(*arguments, *options) as process:
        yield Outside(process, AUTHORITY)


def test_others_are_served_under_tls_and_programs_of_this_machine_as_ever(
    ready: tuple[Home, Simulator],
) -> None:
    home, simulator = ready
    simulator.script({"steps": [{"text": "word " * 2000}]})
    with outside(home) as gateway, contextlib.closing(gateway.connection()) as connection:
        connection.connect()
        assert connection.sock.version() in ("TLSv1.2", "TLSv1.3")
        for stream in (True, False):  # on one connection
            answer = asked(connection, stream=stream, max_tokens=9000)
            text = answer.read().decode()
            assert answer.status == 200
            assert ("message_stop" in text) if stream else ("simulated model" in text)
            assert not stream or "".join(re.findall(r'"text":"([^"]*)"', text)).split() == ["word"] * 2000
        connection.request("GET", "/v1/models")
        assert connection.getresponse().status == 401, "without the key"
        assert home.json("status")["url"].startswith("http://127.0.0.1:")
        assert "Changed" not in home.run("reload").stdout


def test_a_large_request_and_a_page_of_the_dashboard_come_through(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    with outside(home) as gateway, contextlib.closing(gateway.connection()) as connection:
        answer = asked(connection, messages=[{"role": "user", "content": "x" * 3_000_000}])
        assert answer.status in (200, 400), answer.read()
        answer.read()
        connection.request("POST", "/kiro/dashboard", headers={"x-api-key": KEY})
        path = json.loads(connection.getresponse().read())["path"]
        connection.request("GET", path)
        followed = connection.getresponse()
        assert followed.status == 303
        assert "Secure" in str(followed.getheader("set-cookie"))


def test_old_tls_and_plain_http_are_not_answered(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    with outside(home) as gateway:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with contextlib.closing(gateway.connection(old)) as connection, pytest.raises(ssl.SSLError):
            connection.connect()
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as plain:
            plain.sendall(f"GET /v1/models HTTP/1.1\r\nHost: {NAME}\r\nx-api-key: {KEY}\r\n\r\n".encode())
            assert b"HTTP" not in plain.recv(1000)
        with contextlib.closing(gateway.connection()) as connection:
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200


@pytest.mark.clients
def test_who_does_not_shake_hands_is_hung_up_on(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    with outside(home) as gateway:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as silent:
            assert silent.recv(1) == b""
        assert 3 < time.monotonic() - began < 15, "after five seconds, and what a busy machine adds"
        many = [socket.create_connection(("127.0.0.1", gateway.port), timeout=20) for _ in range(300)]
        with contextlib.closing(gateway.connection()) as connection:
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200, "they shut nobody out"
        for each in many:
            each.close()


def test_one_address_takes_no_handshakes_place_that_another_needs(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    with outside(home) as gateway, contextlib.ExitStack() as opened:
        began = time.monotonic()
        slow = opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=20))
        place = own_address(), gateway.port
        many = [opened.enter_context(socket.create_connection(place, timeout=20)) for _ in range(300)]
        with contextlib.closing(gateway.connection()) as connection:
            connection.host = place[0]
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200, "it came behind them, from there"

        try:
            secured = opened.enter_context(gateway.trusting.wrap_socket(slow, server_hostname=NAME))
            secured.sendall(f"GET /health HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            assert secured.recv(100).startswith(b"HTTP/1.1 200 ")
        except OSError:
            assert time.monotonic() - began > HEAD_SECONDS, "no place was left, though it had time"
        time.sleep(0.6)  # longer than they have to begin
        began = time.monotonic()
        many.append(opened.enter_context(socket.create_connection(place, timeout=20)))
        until(lambda: sum(map(is_closed, many)) >= len(many) - MOST_OF_ONE)
        assert not is_closed(many[-1]) or time.monotonic() - began > HEAD_SECONDS


@pytest.mark.clients
def test_a_new_certificate_is_shown_without_a_restart_and_a_wrong_one_is_not_taken(
    ready: tuple[Home, Simulator],
) -> None:
    home, simulator = ready
    simulator.script({"steps": [{"text": "One "}, {"pause": 3}, {"text": "two."}]})
    with outside(home) as gateway, contextlib.closing(gateway.connection()) as connection:
        first = gateway.shown()
        stream = asked(connection, stream=True)
        write_certificate(home.folder)
        assert home.run("reload").returncode == 0
        second = gateway.shown()
        assert second != first, "at once with a reload"
        assert "two." in stream.read().decode(), "under the certificate before"

        (home.folder / "tls.key").write_text("no key")
        done = home.run("reload", check=False)
        assert done.returncode == 1
        assert "tls.key" in done.stderr
        assert gateway.shown() == second
        write_certificate(home.folder)
        end = time.monotonic() + 15
        while gateway.shown() == second:
            assert time.monotonic() < end, "by itself, within seconds"
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "0.0.0.0"), "Other machines could reach 0.0.0.0"),
        (("--host", "0.0.0.0", "--tls-cert", "CERT", "--tls-key", "KEY"), "too few to be public"),
        pytest.param(("--tls-cert", "CERT"), "tls_key", marks=pytest.mark.clients),
        (("--tls-cert", "CERT", "--tls-key", "CERT"), "no certificate and its private key"),
        pytest.param(
            ("--tls-cert", "CERT", "--tls-key", "/nowhere"),
            "/nowhere that tls_key names cannot be read",
            marks=pytest.mark.clients,
        ),
        (("--tls-cert", "CERT", "--tls-key", "OTHER"), "is not the one of the certificate"),
        pytest.param(("--tls-cert", "CERT", "--tls-key", "PIPE"), "a named pipe", marks=pytest.mark.clients),
    ],
    ids=["in clear", "a short key", "half", "no key", "no file", "another's key", "a pipe"],
)
def test_what_is_not_safe_is_refused(home: Home, options: tuple[str, ...], words: str) -> None:
    certificate, key = write_certificate(home.folder)
    (home.folder / "other").mkdir()
    os.mkfifo(home.folder / "pipe")
    paths = {"CERT": certificate, "KEY": key, "OTHER": write_certificate(home.folder / "other")[1]}
    paths["PIPE"] = str(home.folder / "pipe")
    home.environment["KIRO_GATEWAY_KEY"] = "short"
    done = home.run("serve", "--port", "0", *(paths.get(word, word) for word in options), check=False)
    assert done.returncode == 1
    assert words in " ".join(done.stderr.split())
