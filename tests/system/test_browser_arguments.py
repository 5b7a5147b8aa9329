"""Another user reads the arguments of the program that opens the browser, is faster, and gets nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.programs import Home
from support.stranger import fetched, other_user

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose a connection is"),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),  # it outlives us
]

READER = r"""
import os, sys
for process in filter(str.isdigit, os.listdir("/proc")):
    try:
        arguments = open(f"/proc/{process}/cmdline").read().split("\0")
    except OSError:
        continue
    for argument in arguments:
        if argument.startswith("http://127.0.0.1:") and arguments[-3].endswith(sys.argv[1]):
            print(argument)
"""
"""Prints the addresses that programs of this path were given."""


class Desktop:
    """A home on a desktop, whose browser is slow to start."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.opener = home.folder / "bin" / "xdg-open"
        self._begun, self.over = home.folder / "begun", home.folder / "over"
        self.opener.parent.mkdir()
        wait = f"while [ ! -e {self.over} ]; do sleep 0.05; done"
        self.opener.write_text(f"#!/bin/sh\n: > {self._begun}\n{wait}\n")
        self.opener.chmod(0o755)
        for name in ("CI", "SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT", "CODESPACES", "REMOTE_CONTAINERS"):
            home.environment.pop(name, None)
        home.environment |= {"PATH": f"{self.opener.parent}:{home.environment['PATH']}", "DISPLAY": ":99"}

    def seen_by(self, user: int) -> str:
        """The address that the browser is being given, as that user sees it."""
        end = time.monotonic() + 60
        while not self._begun.exists():
            assert time.monotonic() < end, "no browser was opened"
            time.sleep(0.02)
        done = subprocess.run(
            ["/usr/bin/python3", "-I", "-c", READER, str(self.opener)],
            cwd="/", env={}, user=user, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        [url] = set(done.stdout.split())
        return url


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desktop]:
    monkeypatch.setattr("kiro_auth.login.browser._CONTAINER_FILES", ())  # these tests may run in one
    monkeypatch.setattr("platform.release", lambda: "6.8.0-45-generic")
    desktop = Desktop(Home(tmp_path))
    yield desktop
    desktop.over.touch()


def log_of(home: Home) -> str:
    return (home.state / "gateway.log").read_text()


def test_the_link_to_the_dashboard(desktop: Desktop) -> None:
    user, home = other_user(), desktop.home
    try:
        assert "opens in your browser" in home.run("dashboard").stdout
        url = desktop.seen_by(user)
        status, head, text = fetched(url, user)
        log = log_of(home)
        own = fetched(url, 0)
        printed = home.run("dashboard", "--no-browser").stdout.strip()
        by_any = fetched(printed, user)
    finally:
        home.stop_gateway()

    assert (status, "set-cookie" in head.lower()) == (403, False)
    assert "This link is for another user" in text
    assert f"(uid {user}) followed a link to the dashboard that is not for its user" in log
    assert (own[0], "set-cookie" in own[1].lower()) == (303, True)
    assert by_any[0] == 303, "it stands in no arguments"


def test_the_link_that_a_browser_of_windows_is_given_is_anybody_s(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What calls for it in WSL is a program of root's, or one that is not seen."""
    monkeypatch.setattr("platform.release", lambda: "5.15.153.1-microsoft-standard-WSL2")
    user, home = other_user(), desktop.home
    desktop.opener = desktop.opener.rename(desktop.opener.with_name("wslview"))
    try:
        home.run("dashboard")
        status, *_ = fetched(desktop.seen_by(user), user)
    finally:
        home.stop_gateway()

    assert status == 303


def test_the_page_of_a_sign_in(desktop: Desktop) -> None:
    user, home = other_user(), desktop.home
    with home.simulator() as simulator, ThreadPoolExecutor() as threads:
        login = threads.submit(home.run, "login", "--builder-id")
        url = desktop.seen_by(user)
        tried: list[Callable[[], tuple[int, str, str]]] = [
            lambda: fetched(url, user),
            lambda: fetched(f"{url}events", user),
            lambda: fetched(f"{url}renew", user, "POST"),
        ]
        answers = [attempt() for attempt in tried]
        own = fetched(url, 0)
        code = own[2].split('id="code"')[1].split(">")[1].split("<")[0]
        simulator.ask("approve", {"userCode": code, "user": "ada@example.com"})
        done = login.result(60)

    for status, _, text in answers:
        assert status == 403
        assert "This page is for the user who signs in" in text
        assert code not in text
    assert own[0] == 200
    assert "Signed in: a***@example.com" in done.stdout
    [told] = [line for line in done.stderr.splitlines() if "was asked for by" in line]
    assert "the user nobody" in told


def test_the_page_of_a_sign_in_that_no_browser_was_given_is_for_whoever_types_its_address(
    desktop: Desktop,
) -> None:
    """Over SSH, say, where some servers forward ports as root."""
    user, home = other_user(), desktop.home
    home.environment["SSH_CONNECTION"] = "203.0.113.7 50022 198.51.100.4 22"
    with home.simulator(), home.started("login", "--builder-id", "--browser") as process:
        assert process.stdout is not None
        url = next(line.split()[-1] for line in process.stdout if "This machine shows it too" in line)
        assert fetched(url, user)[0] == 200
