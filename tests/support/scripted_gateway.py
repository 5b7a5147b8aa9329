"""A gateway that proves itself and follows a script, for what the plugin does in front of it."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from kiro_auth import __version__
from support.programs import Home
from support.proving import answer_to, is_caller

SECRET = "the-secret-of-the-scripted-gateway"
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


class Server(ThreadingHTTPServer):
    """One that says nothing of programs which did not wait."""

    def handle_error(self, *_: object) -> None: ...


class Gateway:
    """Answers like ours, remembers what it was asked, and is found only when it is announced."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.asked: list[tuple[str, str, Any]] = []
        self.unproved: list[str] = []
        self.sign_in: list[dict[str, Any]] = [{"status": "pending"}, {"status": "done"}]
        self.notice: str | None = None
        self.server = Server(("127.0.0.1", 0), self._handler())
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


_G = TypeVar("_G", bound=Gateway)


@contextmanager
def scripted_gateway(home: Home, kind: type[_G] = Gateway) -> Iterator[_G]:  # type: ignore[assignment]
    """One that listens for as long as the block lasts; nobody knows of it before it is announced."""
    gateway = kind(home)
    thread = threading.Thread(target=gateway.server.serve_forever, daemon=True)
    thread.start()
    yield gateway
    gateway.server.shutdown()
    gateway.server.server_close()
    thread.join(10)


def with_account(home: Home) -> None:
    """An account, as far as the plugin can see."""
    home.config.mkdir(parents=True, exist_ok=True)
    (home.config / "kiro-accounts.json").write_text('{"version": 1, "accounts": [{"id": "a"}]}')
