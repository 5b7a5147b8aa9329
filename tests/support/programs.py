"""Our own programs, started as a user starts them, each test in a home of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KIRO_AUTH = [sys.executable, "-P", "-m", "kiro_auth"]
KEY = "a-test-key-of-thirty-two-characters"
SECONDS = 60


class Home:
    """A fresh home; `environment` is what programs see there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / ".config" / "opencode"
        self.state = folder / ".local" / "state" / "kiro-auth"
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("KIRO_", "XDG_", "OPENCODE_", "COV_"))
        }
        self.environment = {**kept, "HOME": str(folder), "PYTHONUNBUFFERED": "1", "CI": "1", "NO_COLOR": "1"}

    def run(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command of ours."""
        done = subprocess.run(
            [*KIRO_AUTH, *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def accounts(self) -> list[dict[str, Any]]:
        """What is stored."""
        return json.loads((self.config / "kiro-accounts.json").read_text())["accounts"]

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command of ours that stays; ended with the block."""
        process = subprocess.Popen(
            [*KIRO_AUTH, *arguments], env=self.environment, stdout=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()

    @contextlib.contextmanager
    def simulator(self, *arguments: str) -> Iterator[Simulator]:
        """A simulated AWS that this home's programs ask from now on."""
        with self.started("simulate", "--port", "0", "--json", *arguments) as process:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            self.environment |= said["environment"]
            yield Simulator(said["url"])

    @contextlib.contextmanager
    def gateway(self, **environment: str) -> Iterator[str]:
        """A gateway at a port of its own; its address.  The key is KEY."""
        self.environment |= {"KIRO_GATEWAY_KEY": KEY, **environment}
        with self.started("serve", "--port", "0") as process:
            assert process.stdout is not None
            yield process.stdout.readline().split()[2].rstrip(";")

    def stop_gateway(self) -> None:
        """End the one that OpenCode started, if there is one."""
        self.run("stop")


class Simulator:
    """The control side of a running simulator."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, body: Any = None) -> Any:
        """One control call."""
        request = urllib.request.Request(
            f"{self.url}/_control/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def calls(self, operation: str = "GenerateAssistantResponse") -> list[dict[str, Any]]:
        """The calls of one operation, oldest first."""
        return [call for call in self.ask("calls")["calls"] if call["operation"] == operation]

    def script(self, *replies: Any) -> None:
        """What the next chat calls are answered with."""
        self.ask("script", list(replies))
