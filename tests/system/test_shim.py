"""The plugin inside the real OpenCode, in front of a gateway that only follows a script."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kiro_auth import __version__
from kiro_auth.opencode.install import install_shim
from support.opencode import VERSIONS, OpenCode, written_under
from support.programs import Home
from support.proving import answer_to, is_caller

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

SECRET = "the-secret-of-the-scripted-gateway"
START_URL = "https://d-1234567890.awsapps.com/start"
BUILDER_ID = "AWS Builder ID (IDC)"
ORGANISATION = "AWS SSO (IAM Identity Center)"
ANSWER = "Seventeen."
PAUSE = 0.3
"""Seconds between parts of a stream: OpenCode 1.14 prints nothing of a reply that comes in one burst."""

STREAM: tuple[dict[str, Any], ...] = (
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 5},
    },
    {"type": "message_stop"},
)


class Gateway:
    """Answers like ours, remembers what it was asked, and is found only when it is announced."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.asked: list[tuple[str, str, Any]] = []
        self.unproved: list[str] = []
        self.sign_in: list[dict[str, Any]] = [{"status": "pending"}, {"status": "done"}]
        self.notice: str | None = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.state: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.server.server_port,
            "secret": SECRET,
            "pid": 1,
            "version": __version__,
        }

    def announce(self, **instead: Any) -> None:
        """Write the state file, right or wrong."""
        self.home.state.mkdir(parents=True, exist_ok=True)
        (self.home.state / "gateway.json").write_text(json.dumps({**self.state, **instead}))

    def start_command(self) -> list[str]:
        """A command that announces this gateway, and keeps count of how often it ran."""
        program = (
            "import pathlib, sys; state = pathlib.Path(sys.argv[1]);"
            "state.mkdir(parents=True, exist_ok=True);"
            "(state / 'started').open('a').write('x');"
            "(state / 'new').write_text(sys.argv[2]); (state / 'new').rename(state / 'gateway.json')"
        )
        return [sys.executable, "-c", program, str(self.home.state), json.dumps(self.state)]

    def starts(self) -> int:
        """How often the start command ran."""
        marks = self.home.state / "started"
        return len(marks.read_text()) if marks.exists() else 0

    def bodies(self, path: str) -> list[Any]:
        """What was posted there, oldest first."""
        return [body for _, asked, body in self.asked if asked == path]

    def turns(self) -> list[Any]:
        """The requests of the conversation: those with tools; the title's has none."""
        return [body for body in self.bodies("/v1/messages") if body.get("tools")]

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        """Status and body of everything but a streamed reply."""
        if (method, path) == ("POST", "/kiro/login"):
            prompt = {"id": "one", "url": "https://device.example.test/?code=ABCD", "code": "ABCD-EFGH"}
            return 200, prompt | {"notice": self.notice}
        if path == "/kiro/login/one":
            return 200, self.sign_in.pop(0) if len(self.sign_in) > 1 else self.sign_in[0]
        return 404, {}

    def _handler(gateway) -> type[BaseHTTPRequestHandler]:  # noqa: N805, the handler below needs `self`
        class Handler(BaseHTTPRequestHandler):
            # Bun takes a connection of HTTP/1.0 for one that stays, and sends into it as it closes.
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.respond(None)

            def do_POST(self) -> None:
                length = int(self.headers["content-length"] or 0)
                self.respond(json.loads(self.rfile.read(length) or b"{}"))

            def respond(self, body: Any) -> None:
                path = self.path.partition("?")[0]
                at = f"127.0.0.1:{gateway.server.server_port}"
                if path == "/kiro/proof":
                    return self.send_proof(answer_to(self.headers["x-kiro-nonce"], SECRET, at))
                if not is_caller(self.headers["authorization"], SECRET, at):
                    gateway.unproved.append(f"{self.headers}{body}")
                    return self.send_json(401, {})
                gateway.asked.append((self.command, path, body))
                if path != "/v1/messages":
                    return self.send_json(*gateway.answer(self.command, path))
                return self.send_stream()

            def send_proof(self, headers: dict[str, str]) -> None:
                self.send_response(204)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def send_json(self, status: int, body: Any) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def send_stream(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                for event in STREAM:
                    self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
                    self.wfile.flush()
                    time.sleep(PAUSE)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


@pytest.fixture(params=VERSIONS)
def opencode(request: pytest.FixtureRequest, tmp_path: Path) -> OpenCode:
    return OpenCode(request.param, Home(tmp_path))


@pytest.fixture
def newest(tmp_path: Path) -> OpenCode:
    """For what does not depend on the release."""
    return OpenCode(VERSIONS[0], Home(tmp_path))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    scripted = Gateway(Home(tmp_path))
    thread = threading.Thread(target=scripted.server.serve_forever, daemon=True)
    thread.start()
    yield scripted
    scripted.server.shutdown()
    scripted.server.server_close()
    thread.join(10)


def with_account(home: Home) -> None:
    home.config.mkdir(parents=True, exist_ok=True)
    (home.config / "kiro-accounts.json").write_text('{"version": 1, "accounts": [{"id": "a"}]}')


def test_models_are_listed_without_a_gateway(opencode: OpenCode, gateway: Gateway):
    with_account(opencode.home)
    install_shim(opencode.home.config, gateway.start_command())
    done = opencode.run("models", "kiro")
    assert done.stdout.split() == [
        "kiro/claude-haiku-4-5",
        "kiro/claude-sonnet-4-5",
        "kiro/claude-sonnet-4-5-thinking",
    ], done.stderr
    assert (gateway.starts(), gateway.asked) == (0, [])


def test_the_models_that_the_gateway_wrote_down_are_listed(newest: OpenCode, gateway: Gateway):
    with_account(newest.home)
    install_shim(newest.home.config, gateway.start_command())
    newest.home.state.mkdir(parents=True)
    models = {"opencode1": {"claude-opus-4-6": {"name": "Claude Opus 4.6"}}, "opencode2": []}
    (newest.home.state / "models.json").write_text(json.dumps(models))
    assert newest.run("models", "kiro").stdout.split() == ["kiro/claude-opus-4-6"]


def test_the_first_request_starts_the_gateway_once(opencode: OpenCode, gateway: Gateway):
    with_account(opencode.home)
    install_shim(opencode.home.config, gateway.start_command())
    done = opencode.ask("How many?")
    assert ANSWER in done.stdout, done.stderr
    assert done.returncode == 0
    assert gateway.starts() == 1
    assert [turn["model"] for turn in gateway.turns()] == ["claude-sonnet-4-5"]
    titles = [body for body in gateway.bodies("/v1/messages") if not body.get("tools")]
    assert {title["model"] for title in titles} == {"claude-haiku-4-5"}
    assert not any("thinking" in title for title in titles)


def test_a_running_gateway_is_used_and_without_a_window_nothing_else_is_asked(
    newest: OpenCode, gateway: Gateway
):
    with_account(newest.home)
    gateway.announce()
    install_shim(newest.home.config, gateway.start_command())
    done = newest.ask("How many?")
    assert ANSWER in done.stdout, done.stderr
    assert gateway.starts() == 0
    assert not any(path.startswith("/kiro/") for _, path, _ in gateway.asked)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"port": 9}, id="nobody-listens"),
        pytest.param({"secret": "the-secret-before"}, id="another-secret"),
        pytest.param({"secret": None}, id="no-secret"),
        pytest.param({"port": None}, id="no-port"),
        pytest.param({"version": "0.0.1"}, id="an-older-version"),
    ],
)
def test_a_stale_state_file_leads_to_one_start(newest: OpenCode, gateway: Gateway, wrong: dict[str, Any]):
    with_account(newest.home)
    gateway.announce(**wrong)
    install_shim(newest.home.config, gateway.start_command())
    done = newest.ask("How many?")
    assert ANSWER in done.stdout, done.stderr
    assert gateway.starts() == 1
    assert gateway.unproved == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        pytest.param(["/nowhere/python"], "Run again: kiro-auth install opencode", id="missing"),
        pytest.param([sys.executable, "-c", "raise SystemExit(3)"], "exit code 3 (see ", id="silent"),
        pytest.param(["/bin/sh", "-c", "kill -9 $$"], "exit code SIGKILL (see ", id="killed"),
        pytest.param(
            [sys.executable, "-m", "a_package_of_before"],
            "No module named a_package_of_before (see ",
            id="environment-rebuilt",
        ),
        pytest.param(
            [sys.executable, "-m", "kiro_auth", "serve", "--quiet", "--host", "0.0.0.0"],
            "start: Other machines could reach 0.0.0.0,",
            id="refused",
        ),
    ],
)
def test_a_gateway_that_cannot_start_is_one_clear_error(newest: OpenCode, command: list[str], reason: str):
    with_account(newest.home)
    install_shim(newest.home.config, command)
    begun = time.monotonic()
    done = newest.ask("How many?")
    assert "Error: The Kiro gateway did not start: " in done.stderr
    assert reason in done.stderr
    assert done.returncode == 1
    assert time.monotonic() - begun < 30  # repeating it would take 70 seconds
    assert (newest.home.state / "gateway.log").stat().st_mode & 0o777 == 0o600


def test_a_gateway_that_does_not_answer_is_not_waited_for_long(newest: OpenCode):
    with_account(newest.home)
    install_shim(newest.home.config, ["/bin/sleep", "25"])
    assert "did not start: no answer in 20 seconds (see " in newest.ask("How many?", seconds=90).stderr


def test_a_reason_of_before_is_not_told_again(newest: OpenCode):
    with_account(newest.home)
    newest.home.state.mkdir(parents=True)
    (newest.home.state / "gateway.log").write_text("error: of yesterday\n")
    install_shim(newest.home.config, [sys.executable, "-c", "raise SystemExit(3)"])
    assert "did not start: exit code 3 (see " in newest.ask("How many?").stderr


def test_a_state_folder_that_cannot_be_used_is_named(newest: OpenCode, gateway: Gateway):
    with_account(newest.home)
    newest.home.state.parent.mkdir(parents=True)
    newest.home.state.write_text("a file in its place")
    install_shim(newest.home.config, gateway.start_command())
    done = newest.ask("How many?")
    assert "Error: The Kiro gateway did not start: " in done.stderr
    assert str(newest.home.state) in done.stderr
    assert gateway.starts() == 0


def test_the_gateway_may_still_speak_when_opencode_has_ended(newest: OpenCode, gateway: Gateway):
    with_account(newest.home)
    then = "; import time; time.sleep(8); print('still here', file=sys.stderr)"
    python, option, program, *words = gateway.start_command()
    install_shim(newest.home.config, [python, option, program + then, *words])
    assert ANSWER in newest.ask("How many?").stdout
    log = newest.home.state / "gateway.log"
    end = time.monotonic() + 20
    while log.read_text() != "still here\n" and time.monotonic() < end:
        time.sleep(0.2)
    assert log.read_text() == "still here\n"


def test_what_the_user_configured_counts(opencode: OpenCode, gateway: Gateway):
    with_account(opencode.home)
    gateway.announce()
    install_shim(opencode.home.config, gateway.start_command())
    opencode.configure("""{
        // as the original plugin's manual has it
        "provider": {"kiro": {"models": {
            "claude-sonnet-4-5-thinking": {
                "limit": {"context": 100000, "output": 20000},
                "variants": {"low": {"thinkingConfig": {"thinkingBudget": 8192}}},
            },
            "my-own": {"name": "Mine", "limit": {"context": 1000, "output": 1000}},
        }}},
    }""")
    done = opencode.ask("How many?", "--variant", "low", model="claude-sonnet-4-5-thinking")
    assert ANSWER in done.stdout, done.stderr
    (turn,) = gateway.turns()
    assert turn["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    assert turn["max_tokens"] == 20000 + 8192
    assert "kiro/my-own" in opencode.run("models", "kiro").stdout


def test_nothing_happens_for_people_without_an_account(opencode: OpenCode, gateway: Gateway):
    install_shim(opencode.home.config, gateway.start_command())
    gateway.announce()  # even one that runs is not asked
    done = opencode.run("models")
    assert "kiro" not in done.stdout + done.stderr
    assert (gateway.starts(), gateway.asked) == (0, [])
    ours = {path for path in written_under(opencode.home.folder) if "kiro" in path}
    installed = {"plugin/kiro.js", "plugins/kiro-auth/index.js", "plugins/kiro-auth/tui.js"}
    assert ours == {
        *(f".config/opencode/{file}" for file in installed),
        ".local/state/kiro-auth/gateway.json",
    }


def test_the_sign_in_is_found_by_its_name(opencode: OpenCode, gateway: Gateway):
    install_shim(opencode.home.config, gateway.start_command())
    with opencode.terminal("auth", "login") as terminal:
        terminal.expect_exact("Select provider")
        terminal.send("kiro")
        terminal.expect_exact("(1 match)")
        terminal.send("\r")
        terminal.expect_exact(BUILDER_ID)
        terminal.expect_exact(ORGANISATION)


def test_sign_in_with_builder_id(opencode: OpenCode, gateway: Gateway):
    install_shim(opencode.home.config, gateway.start_command())
    with opencode.terminal("auth", "login", "-p", "kiro", "-m", BUILDER_ID) as terminal:
        terminal.expect_exact("https://device.example.test/?code=ABCD")
        terminal.expect_exact("ABCD-EFGH")
        terminal.expect_exact("Login successful")
    assert gateway.bodies("/kiro/login") == [{"method": "builder-id"}]
    assert opencode.signed_in()["kiro"] == {"type": "api", "key": "kept-by-the-gateway"}


@pytest.mark.parametrize("given", [(START_URL, "eu-central-1"), ("", "")], ids=["typed", "as-configured"])
def test_sign_in_with_an_organisation(newest: OpenCode, gateway: Gateway, given: tuple[str, str]):
    install_shim(newest.home.config, gateway.start_command())
    with newest.terminal("auth", "login", "-p", "kiro", "-m", ORGANISATION) as terminal:
        terminal.expect_exact("Start URL of your organisation")
        terminal.send(given[0] + "\r")
        terminal.expect_exact("AWS region of your IAM Identity Center")
        terminal.send(given[1] + "\r")
        terminal.expect_exact("Login successful")
    assert gateway.bodies("/kiro/login") == [{"method": "idc", "startUrl": given[0], "region": given[1]}]


def test_what_there_is_to_say_of_a_sign_in_is_said(opencode: OpenCode, gateway: Gateway):
    install_shim(opencode.home.config, gateway.start_command())
    gateway.notice = "The start URL is known in eu-north-1."
    gateway.sign_in = [{"status": "done", "notices": ["2 Kiro profiles are assigned; A is used."]}]
    with opencode.terminal("auth", "login", "-p", "kiro", "-m", BUILDER_ID) as terminal:
        terminal.expect_exact("The start URL is known in eu-north-1.")
        terminal.expect_exact("2 Kiro profiles are assigned; A is used.")
        terminal.expect_exact("Login successful")


@pytest.mark.parametrize("command", ["auth", "providers"])  # two names of one
def test_a_failed_sign_in_says_why(opencode: OpenCode, gateway: Gateway, command: str):
    install_shim(opencode.home.config, gateway.start_command())
    gateway.sign_in = [{"status": "failed", "message": "The code has expired."}]
    with opencode.terminal(command, "login", "-p", "kiro", "-m", BUILDER_ID) as terminal:
        terminal.expect_exact("The code has expired.")
        terminal.expect_exact("Failed to authorize")
    assert opencode.signed_in() == {}
