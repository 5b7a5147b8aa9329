"""The notice of a newer release: when an index is asked, and that nothing else ever happens because of it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pexpect
import pytest

from kiro_auth import __version__
from kiro_auth.updates import newest_release
from support.programs import KEY, Home


class Index:
    """An index of packages on this machine; `asked` are the paths."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: object = release("99.1.0")
        self.pause = 0.0
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                time.sleep(index.pause)
                body = index.answer if isinstance(index.answer, bytes) else json.dumps(index.answer).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:  # a program that did not wait has gone
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/pypi/opencode-kiro-auth/json"


def release(version: object, name: str = "opencode-kiro-auth", **more: object) -> dict[str, object]:
    return {"info": {"name": name, "version": version, **more}}


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index()
    thread = threading.Thread(target=index.server.serve_forever)
    thread.start()
    yield index
    index.server.shutdown()
    thread.join()
    index.server.server_close()


@pytest.fixture
def home(tmp_path: Path, index: Index) -> Home:
    home = Home(tmp_path)
    home.environment["KIRO_UPDATE_INDEX"] = index.url
    del home.environment["CI"]
    return home


def seen(home: Home, *arguments: str) -> str:
    """What a person sees in a terminal."""
    terminal = home.terminal(*arguments)
    terminal.expect(pexpect.EOF)
    terminal.close()
    return str(terminal.before)


NOTICE = f"kiro-auth 99.1.0 is there; this is {__version__}."


def test_a_person_is_told_once_a_day(home: Home, index: Index) -> None:
    assert NOTICE in seen(home, "config", "path")
    assert NOTICE not in seen(home, "config", "path")
    assert index.asked == ["/pypi/opencode-kiro-auth/json"]

    stamp = home.state / "update-check"
    assert stamp.stat().st_mode & 0o777 == 0o600
    yesterday = time.time() - 86_500
    os.utime(stamp, (yesterday, yesterday))
    assert NOTICE in seen(home, "config", "path")
    assert len(index.asked) == 2


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("config", "path"), {"CI": "true"}),
        (("config", "path"), {"KIRO_UPDATE_CHECK": "false"}),
        pytest.param(("config", "path"), {"KIRO_UPDATE_INDEX": ""}, marks=pytest.mark.clients),
        (("config", "show", "--json"), {}),
        pytest.param(("--version",), {}, marks=pytest.mark.clients),
        pytest.param(("run", "claude", "--version"), {"PATH": "/nowhere"}, marks=pytest.mark.clients),
    ],
    ids=["in CI", "switched off", "no index", "for programs", "no verb", "for another program"],
)
def test_nothing_is_asked(
    home: Home, index: Index, arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    home.environment |= environment

    assert "is there; this is" not in seen(home, *arguments)
    assert index.asked == []
    assert not (home.state / "update-check").exists()


def test_nothing_is_asked_in_a_pipe_and_never_by_a_gateway(home: Home, index: Index) -> None:
    home.process("config", "path")
    home.environment["KIRO_GATEWAY_KEY"] = KEY
    terminal = home.terminal("serve", "--idle-minutes", "0.01")
    terminal.expect("has ended", timeout=30)
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert index.asked == []


def test_without_an_index_that_somebody_named_no_address_is_known() -> None:
    from kiro_auth.options import OPTIONS

    assert {option.name: option.default for option in OPTIONS if option.name.startswith("update_")} == {
        "update_check": True,
        "update_index": None,
    }


@pytest.mark.parametrize(
    "answer",
    [
        release(__version__),
        release("99.0.0rc1"),
        *(
            pytest.param(answer, marks=pytest.mark.clients)
            for answer in (
                release("0.0.1"),
                release("99.0.0", name="somebody-elses"),
                release("99.0.0", yanked=True),
                release("99.0.0\x1b[31m"),
                release(["99"]),
                b"<html>not here</html>",
                b"",
                [],
            )
        ),
    ],
    ids=str,
)
def test_what_is_no_newer_release_of_ours_is_not_told(home: Home, index: Index, answer: object) -> None:
    index.answer = answer

    assert "is there; this is" not in seen(home, "config", "path")
    assert len(index.asked) == 1


@pytest.mark.clients
def test_an_index_that_hangs_or_is_gone_holds_up_no_command_and_says_nothing(
    home: Home, index: Index
) -> None:
    index.pause = 30.0
    began = time.monotonic()
    text = seen(home, "config", "path")
    assert time.monotonic() - began < 15, "after two seconds, and what a busy machine adds"
    assert text.strip() == str(home.config / "kiro.json")

    (home.state / "update-check").unlink()
    home.environment["KIRO_UPDATE_INDEX"] = "http://127.0.0.1:9/json"
    assert seen(home, "config", "path").strip() == str(home.config / "kiro.json")


def test_a_state_folder_that_cannot_be_written_means_that_nothing_is_asked(home: Home, index: Index) -> None:
    home.state.parent.mkdir(parents=True)
    home.state.write_text("a file in its place")

    assert seen(home, "config", "path").strip() == str(home.config / "kiro.json")
    assert index.asked == []


def test_a_proxy_of_the_environment_is_used(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", index.url.partition("/pypi")[0])
    monkeypatch.setenv("no_proxy", "")

    assert newest_release("http://packages.example/json") == "99.1.0"
    assert index.asked == ["http://packages.example/json"]
