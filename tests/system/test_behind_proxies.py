"""Clients from other machines: who was refused is in the log, and one of them shuts nobody out."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kiro_auth.gateway.log_lines import LOG_FILE
from support.programs import KEY, Home, Simulator
from system.test_drain import Gateway, ready
from system.test_reload import until

__all__ = ["ready"]

pytestmark = pytest.mark.timeout(60)


def own_address() -> str:
    """An address of this machine that is not loopback; a client there is as one of another machine."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("192.0.2.1", 9))  # sends nothing
        return str(asking.getsockname()[0])
    assert "CI" not in os.environ, "CI has a network"
    pytest.skip("this machine has no network")


@contextmanager
def gateway(home: Home, **variables: str) -> Iterator[Gateway]:
    home.environment |= {"KIRO_GATEWAY_KEY": KEY, **variables}
    with home.started("serve", "--host", "0.0.0.0", "--port", "0", "--allow-public") as process:
        yield Gateway(process)


def status(place: tuple[str, int], path: str = "/v1/models", **headers: str) -> http.client.HTTPResponse:
    with contextlib.closing(http.client.HTTPConnection(*place, timeout=20)) as connection:
        connection.request("GET", path, headers={name.replace("_", "-"): v for name, v in headers.items()})
        answer = connection.getresponse()
        answer.read()
        return answer


def refused(home: Home) -> list[str]:
    lines = map(json.loads, (home.state / LOG_FILE).read_text().splitlines())
    return [line["address"] for line in lines if line.get("event") == "refused"]


def test_a_refused_request_is_logged_by_its_address_few_times_and_never_by_what_it_claims(
    ready: tuple[Home, Simulator],
) -> None:
    home, _ = ready
    with gateway(home) as running:
        place = own_address(), running.place[1]
        for _ in range(5):
            assert status(place, x_forwarded_for="203.0.113.9").status == 401
        assert status(("127.0.0.1", place[1])).status == 401
        until(lambda: refused(home) == [place[0]])
        assert "203.0.113.9" not in (home.state / LOG_FILE).read_text()


def test_behind_a_trusted_proxy_the_client_is_named_and_its_tls_is_believed(
    ready: tuple[Home, Simulator],
) -> None:
    home, _ = ready
    with gateway(home, KIRO_TRUSTED_PROXIES=own_address()) as running:
        place = own_address(), running.place[1]
        assert status(place, x_forwarded_for="1.2.3.4, 203.0.113.9").status == 401
        until(lambda: refused(home) == ["203.0.113.9"])
        for proto, is_secure in (("https", True), ("http", False)):
            with contextlib.closing(http.client.HTTPConnection(*place, timeout=20)) as connection:
                connection.request("POST", "/kiro/dashboard", headers={"x-api-key": KEY})
                path = json.loads(connection.getresponse().read())["path"]
            followed = status(place, path, x_forwarded_proto=proto)
            assert followed.status == 303
            assert ("Secure" in str(followed.getheader("set-cookie"))) is is_secure


def test_one_address_with_many_silent_connections_leaves_room_for_the_others(
    ready: tuple[Home, Simulator],
) -> None:
    home, _ = ready
    with gateway(home) as running:
        place = own_address(), running.place[1]
        silent: list[socket.socket] = []
        end = 120
        try:
            for _ in range(end):
                silent.append(socket.create_connection(place, timeout=5))
                if len(silent) == 40:
                    assert status(place).status == 401  # which came behind them
                    time.sleep(0.7)  # as long as they have to ask
            until(lambda: sum(map(is_closed, silent)) >= 40)
        finally:
            for each in silent:
                each.close()


def is_closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        said = sock.recv(10_000)
    except BlockingIOError:
        return False
    except OSError:
        return True
    assert not said or said.startswith(b"HTTP/1.1 503 "), said
    return True
