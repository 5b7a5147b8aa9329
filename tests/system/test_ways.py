"""The ways to AWS: proxies, of everybody and of one account, and certificates of a company's own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from support.programs import Home, Simulator


class Proxy:
    """An HTTP proxy of this machine that notes for which hosts it was asked."""

    def __init__(self, target: int) -> None:
        self.hosts: list[str] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _one(self, client: socket.socket) -> None:
        """Whatever host is asked for, the simulator answers."""
        with client, socket.create_connection(("127.0.0.1", self._target)) as service:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            line, _, rest = head.partition(b"\r\n")
            method, url, version = line.split()
            host, _, path = url.partition(b"://")[2].partition(b"/")
            self.hosts.append(host.decode())
            service.sendall(b" ".join((method, b"/" + path, version)) + b"\r\n" + rest)
            threading.Thread(target=_copy, args=(client, service), daemon=True).start()
            _copy(service, client)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


@contextlib.contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    made = Proxy(target)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join(10)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        home.environment.pop(name, None)
    return home


@pytest.fixture
def simulator(home: Home) -> Iterator[Simulator]:
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        yield simulator


def port_of(simulator: Simulator) -> int:
    return int(simulator.url.rpartition(":")[2])


def test_an_account_s_own_proxy_carries_its_calls_and_nobody_else_s(home: Home, simulator: Simulator) -> None:
    home.run("login", "--builder-id", "--no-browser")
    names = [account["name"] for account in home.json("accounts")["accounts"]]
    with proxy(port_of(simulator)) as own:
        told = home.json("accounts", "set", names[0], "--proxy", own.url)
        home.run("usage")

        assert told["proxy"] == own.url
        assert own.hosts == [f"127.0.0.1:{port_of(simulator)}"]
        assert home.json("accounts", "set", names[0], "--proxy", "")["proxy"] is None
        home.run("usage")
        assert len(own.hosts) == 1


def test_a_proxy_s_password_is_not_shown_and_a_wrong_address_is_refused(
    home: Home, simulator: Simulator
) -> None:
    [account] = home.json("accounts")["accounts"]
    told = home.run("accounts", "set", account["name"], "--proxy", "http://ada:secret@proxy.example:3128")
    shown = home.run("accounts", "show", account["name"])
    wrong = home.run("accounts", "set", account["name"], "--proxy", "proxy.example", check=False)

    assert "secret" not in told.stdout + shown.stdout
    assert "http://…@proxy.example:3128" in shown.stdout
    assert wrong.returncode == 2


def test_a_profile_s_region_can_be_overruled(home: Home, simulator: Simulator) -> None:
    [account] = home.json("accounts")["accounts"]
    told = home.json(
        "accounts", "set", account["name"], "--profile-region", "eu-central-1", "--label", "Mine"
    )

    assert (told["name"], told["serviceRegion"]) == ("Mine", "eu-central-1")
    done = home.run("usage", "--json")
    assert "Mine: " in done.stderr  # Builder ID is not served there
    assert [call["region"] for call in simulator.calls("GetUsageLimits")][-1] == "eu-central-1"
    assert home.run("accounts", "set", "Mine", "--profile-region", "moon", check=False).returncode == 1


@contextlib.contextmanager
def encrypted(target: int, authority: trustme.CA) -> Iterator[int]:
    """A port that speaks TLS, in front of the simulator."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def one(plain: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(plain, server_side=True) as client,
            socket.create_connection(("127.0.0.1", target)) as service,
        ):
            threading.Thread(target=_copy, args=(client, service), daemon=True).start()
            _copy(service, client)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_a_company_s_own_certificates_are_trusted_when_they_are_named_and_only_then(
    home: Home, simulator: Simulator
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(home.folder / "company.pem"))
    with encrypted(port_of(simulator), authority) as port:
        home.environment["KIRO_ENDPOINT_MANAGEMENT"] = f"https://localhost:{port}/{{region}}"

        # As processes: certificates are read once in the life of one.
        refused = home.process("accounts", "verify", check=False)
        home.environment["SSL_CERT_FILE"] = str(home.folder / "company.pem")
        accepted = home.process("accounts", "verify")

    assert refused.returncode == 1
    assert "The certificate of localhost is not trusted" in refused.stderr
    assert "SSL_CERT_FILE" in refused.stderr
    assert "works and is in use" in accepted.stdout
