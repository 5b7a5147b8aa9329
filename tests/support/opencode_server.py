"""One OpenCode that stays, for tests that ask many times: its start costs as much as ten of its answers.

Not `opencode run --attach`: that ends with 0 whatever happened (seen with 1.18.34).
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

from support.opencode import OpenCode

SECONDS = 60


class Server:
    """`opencode serve`, with its own HTTP API."""

    def __init__(self, opencode: OpenCode, url: str) -> None:
        self.opencode = opencode
        self.url = url

    def ask(self, prompt: str, *, model: str = "claude-sonnet-4-5", variant: str | None = None) -> str:
        """What a new conversation's first answer says; of one that fails, the error."""
        session = self._post("/session", {"title": "A title"})
        asked = {
            "model": {"providerID": "kiro", "modelID": model},
            "parts": [{"type": "text", "text": prompt}],
            **({"variant": variant} if variant else {}),
        }
        answer = self._post(f"/session/{session['id']}/message", asked)
        if "error" in answer["info"]:
            return str(answer["info"]["error"]["data"]["message"])
        return "".join(part["text"] for part in answer["parts"] if part["type"] == "text")

    def _post(self, path: str, body: Any) -> Any:
        data, headers = json.dumps(body).encode(), {"content-type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(self.url + path, data, headers), timeout=SECONDS
        ) as answer:
            return json.load(answer)


@contextlib.contextmanager
def serving(opencode: OpenCode) -> Iterator[Server]:
    """The server, at a port of its own, until the end of the block."""
    with subprocess.Popen(
        opencode.command("serve", "--hostname", "127.0.0.1", "--port", "0"),
        cwd=opencode.project,
        env=opencode.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = next(found[0] for line in process.stdout if (found := re.findall(r"http://\S+", line)))
            yield Server(opencode, url)
        finally:
            process.terminate()
