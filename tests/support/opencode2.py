"""OpenCode 2.x as far as it can be had: an imitation of its plugin host, driven from outside.

It runs on Node.js, or on the Bun that is inside the program of OpenCode 1.x, which 2.x is built on, too.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from support.npm import NODE, npm_package
from support.programs import Home

DRIVE = Path(__file__).parents[1] / "opencode2" / "drive.mjs"


class HostError(Exception):
    """What the host would show or log."""


class Host:
    """One service of OpenCode 2.x."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    def said(self) -> str:
        """What the plugin wrote into the service's log."""
        return self._log.read_text()

    def ask(self, call: str, **given: Any) -> Any:
        """One call of drive.mjs.  Raises HostError with its message."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"call": call, **given}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the host has ended"
        answer = json.loads(line)
        if "error" in answer:
            raise HostError(answer["error"])
        return answer.get("result")

    def turn(self, text: str, model: str = "claude-sonnet-4-5", **more: Any) -> Any:
        """One request with one message of the user's; `words` is the text of the answer in one piece."""
        messages = [{"role": "user", "content": text}]
        body = {"messages": messages, **more.pop("body", {})}
        answer = self.ask("request", model=model, body=body, **more)
        deltas = [event.get("delta", {}) for event in events_of(answer["text"])]
        return {**answer, "words": "".join(delta.get("text", "") for delta in deltas)}

    def models(self) -> list[str]:
        """The ids of the models under the provider kiro, empty when that is not there."""
        listed = [one for one in self.ask("available") if one["provider"]["id"] == "kiro"]
        return [model["id"] for one in listed for model in one["models"]]


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a streamed answer; none of any other."""
    return [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: ")]


@contextlib.contextmanager
def host(home: Home, *, runtime: str = "node", before: Sequence[str] = ()) -> Iterator[Host]:
    """A service in this home, with no plugin loaded yet; ended with the block."""
    command, environment = [NODE], home.environment
    if runtime == "bun":
        binary = npm_package("opencode-linux-x64", "1.18.34") / "bin" / "opencode"
        binary.chmod(0o755)
        command, environment = [str(binary)], {**environment, "BUN_BE_BUN": "1"}
    log = home.folder / "host.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*before, *command, str(DRIVE)],
            env=environment,
            cwd=home.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield Host(process, log)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


@contextlib.contextmanager
def opened(home: Home, **more: Any) -> Iterator[Host]:
    """A service that has loaded the plugin as it is installed in the home, in one location."""
    options = {name: more.pop(name) for name in ("runtime", "before") if name in more}
    with host(home, **options) as service:
        for file in service.ask("discover", root=str(home.config)):
            service.ask("load", file=file)
        service.ask("open", **more)
        yield service
