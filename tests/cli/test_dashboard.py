"""`kiro-auth dashboard`: the link that it opens or prints, and the gateway that it starts for that."""

from __future__ import annotations

import http.cookiejar
import stat
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.gateway.calls import CALL_SECONDS
from support.programs import Home, Services
from support.scripted_gateway import Gateway, scripted_gateway


@pytest.fixture
def home(tmp_path: Path, services: Services) -> Iterator[Home]:
    home = Home(tmp_path)
    services.begin(home, auto_approve=True)
    yield home
    home.stop_gateway()


def followed(address: str) -> str:
    """The page behind a link, as a browser with cookies gets it."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    browser.addheaders = [("Accept", "text/html")]
    with browser.open(address, timeout=60) as answer:
        return str(answer.read().decode())


def test_without_a_gateway_one_is_started_and_the_address_leads_to_the_page(home: Home) -> None:
    """On stdout is the address alone, for whoever opens it with a program of their own."""
    done = home.process("dashboard", "--no-browser")

    [address] = done.stdout.splitlines()
    assert "within 2 minutes; it is good once" in done.stderr
    assert home.run("key", "show").stdout.strip() not in address
    assert "No account is signed in" in followed(address)
    with pytest.raises(urllib.error.HTTPError) as refused:
        followed(address)
    assert refused.value.code == 410
    refused.value.close()


def test_where_no_window_is_seen_the_address_is_printed_with_what_to_do(home: Home) -> None:
    done = home.process("dashboard")

    assert "Open this address in a browser of this machine within 2 minutes" in done.stderr
    assert "<title>Kiro accounts</title>" in followed(done.stdout.strip())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems open pages by other programs")
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # it outlives us
def test_the_browser_is_given_the_link(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.process("dashboard", "--no-browser")
    monkeypatch.setattr("kiro_auth.login.browser._CONTAINER_FILES", ())
    given = home.folder / "given"
    opener = home.folder / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" > {given}.part\nmv {given}.part {given}\n')
    opener.chmod(opener.stat().st_mode | stat.S_IXUSR)
    home.environment["PATH"] = f"{opener.parent}:{home.environment['PATH']}"
    home.environment |= {"DISPLAY": ":0", "CI": ""}
    for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT", "CODESPACES", "REMOTE_CONTAINERS"):
        home.environment.pop(name, None)

    done = home.run("dashboard")

    assert "The dashboard opens in your browser." in done.stdout
    assert "http" not in done.stdout
    end = time.monotonic() + 60
    while not given.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert "<title>Kiro accounts</title>" in followed(given.read_text())


class Busy(Gateway):
    """Takes its time for a link."""

    pause = CALL_SECONDS + 2

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        if path != "/kiro/dashboard":
            return super().answer(method, path)
        time.sleep(self.pause)
        return 200, {"path": "/dashboard/open/it", "seconds": 120}


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    with scripted_gateway(Home(tmp_path), Busy) as gateway:
        gateway.announce(key="a-key-that-is-never-sent")
        yield gateway
        gateway.home.stop_gateway()


def test_a_gateway_that_loads_its_pages_for_the_first_time_is_waited_for(busy: Busy) -> None:
    done = busy.home.run("dashboard", "--no-browser")

    assert done.stdout == f"http://127.0.0.1:{busy.server.server_port}/dashboard/open/it\n"


def test_a_gateway_that_gives_no_link_in_time_is_not_said_to_have_no_dashboard(
    busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiro_auth.cli.dashboard.PAGES_SECONDS", 1.0)

    done = busy.home.run("dashboard", "--no-browser", check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert "runs, but it does not answer (KA-INTERNAL). Wait a moment." in done.stderr
    assert "no dashboard" not in done.stderr


def test_a_gateway_of_an_older_release_without_it_is_said_so(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.process("dashboard", "--no-browser")
    monkeypatch.setattr("kiro_auth.cli.dashboard._LINK", "/kiro/not-there")

    done = home.run("dashboard", "--no-browser", check=False)

    assert done.returncode == 1
    assert "The gateway that runs has no dashboard (KA-INTERNAL). End it with kiro-auth stop." in " ".join(
        done.stderr.split()
    )
