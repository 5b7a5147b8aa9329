"""`kiro-auth service` from outside, on a Linux whose `systemctl` a program of the tests stands in for."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.store.sealed import Sealer
from kiro_auth.store.sqlite import SqliteStore
from kiro_auth.store.written import Writing
from support import systemctl
from support.processes import gone
from support.programs import Home
from support.storing import at_once

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's"),
]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """With a systemd that takes services."""
    home = Home(tmp_path / "my $home 100%")
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    home.folder.mkdir()
    home.keep_address()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {systemctl.__file__} "$@"\n')
    program.chmod(0o700)
    home.environment["PATH"] = f"{program.parent}{os.pathsep}{home.environment['PATH']}"
    try:
        yield home
    finally:
        home.run("service", "uninstall")
        home.run("stop")


def unit(home: Home) -> Path:
    return home.folder / ".config" / "systemd" / "user" / "kiro-auth.service"


def announced(home: Home) -> dict[str, Any]:
    return dict(json.loads((home.state / "gateway.json").read_text()))


def test_the_service_takes_the_kept_address_from_a_gateway_that_runs_and_stays(home: Home) -> None:
    home.environment["KIRO_TOAST_LEVEL"] = "none"
    told = home.json("env", "claude")["variables"]
    before = announced(home)
    done = home.run("service", "install")
    after = announced(home)

    assert (
        f"The gateway runs at http://127.0.0.1:{before['port']}, now and whenever you log in." in done.stdout
    )
    assert f"Installed: {unit(home)}\n" in done.stdout
    assert "loginctl enable-linger" in done.stderr
    assert (after["port"], after["key"]) == (before["port"], told["ANTHROPIC_AUTH_TOKEN"])
    assert after["pid"] != before["pid"]
    assert home.json("status")["otherOptions"] is False, "it has the variables of now"
    command = Path(f"/proc/{after['pid']}/cmdline").read_bytes()
    assert b"--idle-minutes" not in command
    assert home.json("service", "status") == {"installed": True, "running": True, "place": str(unit(home))}
    assert after["key"] not in unit(home).read_text()


def test_a_gateway_finds_the_files_that_relative_paths_named_where_it_was_started_from(
    home: Home, tmp_path: Path
) -> None:
    """One that a command starts, and the service: both run in another folder than the shell."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "store.key").write_text(base64.b64encode(bytes(range(32))).decode())
    home.environment |= {"KIRO_STORE": "sqlite", "KIRO_STORE_KEY_FILE": "store.key"}
    store = SqliteStore(home.config, home.state / "locks", Writing(Sealer([bytes(range(32))])))
    at_once(store.add({"id": "ada", "label": "Ada's", "refreshToken": "r"}))
    store.close()

    for command in (("env", "claude"), ("service", "install")):
        home.run(*command, folder=work)
        running = announced(home)
        assert Path(f"/proc/{running['pid']}/cwd").readlink() != work
        assert [account["name"] for account in accounts_of(running)] == ["Ada's"]
    assert f"KIRO_STORE_KEY_FILE={work / 'store.key'}" in unit(home).read_text()


def accounts_of(gateway: dict[str, Any]) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{gateway['port']}/kiro/accounts"
    asked = urllib.request.Request(url, headers={"x-api-key": gateway["key"]})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return list(json.load(answer)["accounts"])


@pytest.mark.clients
def test_it_starts_again_what_stop_has_ended_and_says_so(home: Home) -> None:
    home.run("service", "install")
    before = announced(home)
    stopped = home.run("stop")
    end = time.monotonic() + 120
    while home.run("status", check=False).returncode:
        assert time.monotonic() < end
        time.sleep(0.2)

    assert "The service starts it again in a few seconds." in stopped.stderr
    assert announced(home)["port"] == before["port"]
    assert announced(home)["pid"] != before["pid"]


@pytest.mark.clients
def test_installed_again_it_has_the_variables_of_now(home: Home) -> None:
    home.run("service", "install")
    home.environment["KIRO_TOAST_LEVEL"] = "warnings"
    assert home.json("status")["otherOptions"] is True
    home.run("service", "install")

    assert home.json("status")["otherOptions"] is False


def test_nothing_is_left_of_it(home: Home) -> None:
    home.run("service", "install")
    gateway = announced(home)
    done = home.run("service", "uninstall")

    assert done.stdout.startswith("Removed.")
    assert [path for path in unit(home).parent.rglob("*") if not path.is_dir()] == []
    assert gone(gateway["pid"])
    assert home.run("service", "uninstall").stdout == "Not installed.\n"
    told = home.run("service", "status", check=False)
    assert (told.returncode, told.stdout.startswith("Not installed.")) == (1, True)


def test_a_secret_in_a_variable_is_refused_and_nothing_is_written(home: Home) -> None:
    home.environment["KIRO_GATEWAY_KEY"] = "a-key-of-my-own"
    refused = home.run("service", "install", check=False)
    del home.environment["KIRO_GATEWAY_KEY"]

    assert refused.returncode == 1
    assert refused.stderr.startswith("error: KIRO_GATEWAY_KEY is set, ")
    assert "a-key-of-my-own" not in refused.stderr
    assert not unit(home).exists()


@pytest.mark.parametrize("way", ["no systemctl", "no systemd that runs"])
def test_without_systemd_the_remedy_is_said_and_nothing_is_written(tmp_path: Path, way: str) -> None:
    home = Home(tmp_path)
    folder = tmp_path / "bin"
    folder.mkdir()
    if way == "no systemd that runs":
        program = folder / "systemctl"
        program.write_text("#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n")
        program.chmod(0o700)
    home.environment["PATH"] = str(folder) + (":/bin" if way == "no systemd that runs" else "")
    refused = home.run("service", "install", check=False)

    reason = "systemctl is not on your PATH" if way == "no systemctl" else "No medium found"
    assert refused.returncode == 1
    assert reason in refused.stderr
    assert "`kiro-auth serve --quiet`, such as a line `@reboot` of crontab -e" in refused.stderr
    assert not unit(home).parent.exists()
