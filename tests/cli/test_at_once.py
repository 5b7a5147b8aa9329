"""Commands that ask for every account ask for all of them at once."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cli.conftest import Stage

ANSWER = json.dumps({"models": [{"modelId": "claude-sonnet-4.5"}]}).encode()


@contextlib.contextmanager
def service_that_waits_for_two() -> Iterator[str]:
    """Answers when two requests are there, and refuses when only one is for a second."""
    both = threading.Barrier(2)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            try:
                both.wait(40)
                status = 200
            except threading.BrokenBarrierError:
                status = 403
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{{region}}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("verb", [("usage",), ("models",), ("accounts", "verify")])
def test_all_accounts_are_asked_at_once_and_told_in_their_order(
    stage: Stage, verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with service_that_waits_for_two() as url:
        monkeypatch.setitem(stage.home.environment, "KIRO_ENDPOINT_MANAGEMENT", url)
        done = stage.home.run(*verb)

    assert done.stderr == ""
    assert done.stdout.index(stage.names[0]) < done.stdout.index(stage.names[1])
