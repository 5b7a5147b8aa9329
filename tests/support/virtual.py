"""A gateway and the simulated services in a time of their own, which passes only when it is told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from support.programs import KEY, Home, Simulator, as_usual

SHIFTED = Path(__file__).with_name("shifted.py")


class VirtualTime:
    """Both clocks, and the gateway for as long as the block lasts; `start` is epoch seconds."""

    def __init__(self, home: Home, simulator: Simulator, start: float) -> None:
        self._home = home
        self._simulator = simulator
        self._path = home.folder / "clock"
        self._file = self._path.open("wb")
        self._ahead = 0.0
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.advance(start - time.time())

    @property
    def now(self) -> float:
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds
        # In place: a file that is empty for a moment is no time.
        os.pwrite(self._file.fileno(), f"{self._ahead:<32.3f}".encode(), 0)
        self._simulator.ask("advance", {"seconds": seconds})

    def __enter__(self) -> VirtualTime:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._file.close()

    def start(self) -> None:
        command = [sys.executable, "-P", str(SHIFTED), str(self._path), "serve", "--port", "0"]
        self._process = subprocess.Popen(
            as_usual(*command),
            env={**self._home.environment, "KIRO_GATEWAY_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split()[2].rstrip(";")

    def end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._ended()

    def kill(self) -> None:
        """As the system does it: without a word before."""
        assert self._process is not None
        self._process.kill()
        self._ended()

    def _ended(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.wait(30)
        self._process.stdout.close()

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], str]:
        """Status, headers by their names in lower case, and body of one answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"x-api-key": KEY, "content-type": "application/json", **named},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, _lower(answer.headers), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, _lower(error.headers), error.read().decode()


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


APIS = ("/v1/messages", "/v1/chat/completions", "/v1/responses")


def body_for(path: str, words: str, model: str = "claude-sonnet-4-5", *, stream: bool = False) -> Any:
    """A request of that API."""
    if path == "/v1/responses":
        return {"model": model, "input": words, "stream": stream}
    body = {"model": model, "messages": [{"role": "user", "content": words}], "stream": stream}
    return body | ({"max_tokens": 4000} if path == "/v1/messages" else {})
