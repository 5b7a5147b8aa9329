"""A gateway that is reached by a Unix socket as well."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from support.programs import KEY, Home, Simulator
from system.test_drain import asked, ready

__all__ = ["ready"]

pytestmark = pytest.mark.timeout(60)


class Connection(http.client.HTTPConnection):
    """To a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def listening(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert "Listening" in process.stdout.readline()


def test_it_is_for_this_user_alone_takes_the_key_and_is_gone_with_the_gateway(
    ready: tuple[Home, Simulator],
) -> None:
    home, _ = ready
    path = home.folder / "kiro.sock"
    home.environment["KIRO_GATEWAY_KEY"] = KEY
    with home.started("serve", "--port", "0", "--unix", str(path)) as process:
        listening(process)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with contextlib.closing(Connection(path)) as connection:
            answer = asked(connection)
            assert answer.status == 200
            assert json.loads(answer.read())["content"]
            connection.request("GET", "/v1/models")
            assert connection.getresponse().status == 401
        done = home.run("serve", "--port", "1", "--unix", str(path), check=False)
        assert "another program listens there" in " ".join(done.stderr.split())
        assert home.run("status").returncode == 0
    assert not path.exists()


def test_one_that_was_left_behind_is_replaced_and_nothing_else_is(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    path = home.folder / "kiro.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    with home.started("serve", "--port", "0", "--unix", str(path)) as process:
        listening(process)
        with contextlib.closing(Connection(path)) as connection:
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200

    path.write_text("mine")
    open_folder = home.folder / "open"
    open_folder.mkdir()
    os.chmod(open_folder, 0o777)
    for refused, words in (
        (path, "something else is there"),
        (open_folder / "kiro.sock", "others may write into"),
        (home.folder / ("x" * 200), "cannot be used"),
    ):
        done = home.run("serve", "--port", "0", "--unix", str(refused), check=False)
        assert done.returncode == 1
        assert words in " ".join(done.stderr.split())
    assert path.read_text() == "mine"
