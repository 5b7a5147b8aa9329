"""`kiro-auth dashboard`: the link that it opens or prints, and the gateway that it starts for that."""

from __future__ import annotations

import http.cookiejar
import stat
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro_auth import __version__
from kiro_auth.gateway.discovery import Seat
from support.programs import KEY, Home, Services
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


# ------------------------------------------------------------------------------ a gateway that gives none


class Odd(Gateway):
    """A gateway that is well, but for what it says to whoever asks it for a link."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.seat = Seat(home.state)
        self.wait = 0.0
        self.says: tuple[int, Any] = (200, {"path": "/dashboard/open/abc", "seconds": 120})
        self.on_asked: Callable[[], None] = lambda: None

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        if path == "/health":
            return 200, {"status": "ok"}
        self.on_asked()
        time.sleep(self.wait)
        return self.says


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Odd]:
    with scripted_gateway(Home(tmp_path), Odd) as odd:
        assert odd.seat.take()
        odd.announce(key=KEY)
        yield odd
        odd.seat.leave()


def refused(odd: Odd) -> str:
    done = odd.home.run("dashboard", "--no-browser", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return " ".join(done.stderr.split())


def test_a_gateway_that_takes_its_time_still_gives_the_link(odd: Odd) -> None:
    """What serves the page is imported for the first who asks, which takes seconds on a busy machine."""
    odd.wait = 3.0

    done = odd.home.run("dashboard", "--no-browser")

    assert done.stdout == f"http://127.0.0.1:{odd.server.server_port}/dashboard/open/abc\n"


def test_one_that_is_too_slow_is_said_to_be_slow_and_to_wait_is_advised(
    odd: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiro_auth.cli.dashboard._SECONDS", 0.2)
    monkeypatch.setattr("kiro_auth.gateway.calls.BEGIN_SECONDS", 0.1)
    odd.wait = 1.0

    said = refused(odd)

    assert "runs, but it does not answer (KA-GATEWAY). Wait a moment." in said


def test_one_that_ends_while_it_is_asked_is_said_to_be_gone(odd: Odd) -> None:
    def end() -> None:
        (odd.home.state / "gateway.json").unlink()
        odd.seat.leave()
        raise ConnectionAbortedError

    odd.on_asked = end

    assert "has ended before it answered (KA-GATEWAY). Give the command again." in refused(odd)


def test_one_that_refuses_is_quoted_with_its_own_code_and_next_step(odd: Odd) -> None:
    words = "The database cannot be reached (KA-DATABASE). Start it."
    odd.says = 503, {"type": "error", "error": {"type": "api_error", "message": words}}

    assert refused(odd) == f"error: {words}"


def test_one_that_refuses_without_a_word_is_named_with_the_status(odd: Odd) -> None:
    odd.says = 500, []

    assert "has refused this, with status 500 and no word (KA-INTERNAL)." in refused(odd)
    assert "kiro-auth logs" in refused(odd)


def test_one_of_an_older_release_is_said_to_be_older_and_how_it_is_replaced(odd: Odd) -> None:
    odd.says = 404, {}

    said = refused(odd)

    assert f"The gateway is of version {__version__}, which cannot do this (KA-CONFIG)." in said
    assert "End it with kiro-auth stop." in said


def test_one_that_was_replaced_by_a_stranger_is_said_to_be_a_stranger(odd: Odd) -> None:
    odd.announce(key=KEY, secret="another")

    assert "(KA-STRANGER)" in refused(odd)
