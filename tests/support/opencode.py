"""The real OpenCode, in a home of its own, with no way to the outside."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.npm import npm_package
from support.programs import Home, Terminal

VERSIONS = ("1.18.34", "1.17.19", "1.14.48")
SECONDS = 200
COLOUR = re.compile(r"\x1b\[[0-9;]*m")

NOWHERE = "http://127.0.0.1:9"
NO_WAY_OUT = {
    "HTTP_PROXY": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
    "http_proxy": NOWHERE,
    "https_proxy": NOWHERE,
    "npm_config_fetch_retries": "0",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
"""Clients ask several hosts when they start; a proxy that nobody serves keeps them on this machine.
With retries the npm in OpenCode would hold up every command for minutes."""
OFFLINE = {
    **NO_WAY_OUT,
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_MODELS_URL": NOWHERE,
    "OPENCODE_MODELS_PATH": str(Path(__file__).with_name("no_models.json")),
}
"""Reading the list of every provider's models that OpenCode brings along takes half of a start."""
FIRST_START = ("OPENCODE_MODELS_PATH",)
"""What somebody who has just downloaded it does not have."""


class OpenCode:
    """One release in one home.  A command takes about as long as two seconds of one processor.

    It is settled: it has installed the package that it wants beside any plugin.  `first_start` is as
    downloaded: a command then takes twice as long, and tries that in vain, as no way leads to the outside.
    """

    def __init__(self, version: str, home: Home, *, first_start: bool = False) -> None:
        self.home = home
        self._unset = FIRST_START if first_start else ()
        self.binary = npm_package("opencode-linux-x64", version) / "bin" / "opencode"
        self.binary.chmod(0o755)
        self.project = home.folder / "project"
        self.project.mkdir(exist_ok=True)
        if not first_start:
            settle(home.config, version)

    @property
    def environment(self) -> dict[str, str]:
        """What it sees: what the home's programs see, and the switches that keep it offline."""
        # OpenCode works in $PWD, whatever folder it is started in.
        seen = {**self.home.environment, **OFFLINE, "PWD": str(self.project)}
        return {name: value for name, value in seen.items() if name not in self._unset}

    def configure(self, text: str) -> None:
        """Write the user's `opencode.jsonc`."""
        self.home.config.mkdir(parents=True, exist_ok=True)
        (self.home.config / "opencode.jsonc").write_text(text)

    def command(self, *arguments: str) -> list[str]:
        """What to execute, for a test that starts it in its own way."""
        return [str(self.binary), *arguments]

    def run(self, *arguments: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """One command, without a terminal; its output without colours, which it writes all the same."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        done.stdout, done.stderr = (COLOUR.sub("", text) for text in (done.stdout, done.stderr))
        return done

    def ask(
        self, prompt: str, *arguments: str, model: str = "claude-sonnet-4-5", seconds: float = SECONDS
    ) -> Any:
        """One prompt: `opencode run`."""
        return self.run("run", "-m", f"kiro/{model}", *arguments, prompt, seconds=seconds)

    @contextmanager
    def terminal(self, *arguments: str) -> Iterator[Terminal]:
        """One command as a person sees it; ended with the block."""
        child = Terminal(
            str(self.binary),
            list(arguments),
            cwd=str(self.project),
            env={**self.environment, "TERM": "xterm"},
            encoding="utf-8",
            timeout=SECONDS,
            dimensions=(40, 140),
        )
        try:
            yield child
        finally:
            child.close(force=True)

    @contextmanager
    def serving(self) -> Iterator[Served]:
        """`opencode serve`, at a port of its own: what a window talks to, and stays; ended with the block."""
        with subprocess.Popen(
            self.command("serve", "--hostname", "127.0.0.1", "--port", "0"),
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                url = next(found[0] for line in process.stdout if (found := re.findall(r"http://\S+", line)))
                yield Served(url)
            finally:
                process.terminate()

    def kept(self) -> list[str]:
        """What it keeps of its replies and shows in its window: words and errors, oldest first.

        Older releases do not print all of it when `run` ends quickly.
        """
        path = self.home.folder / ".local" / "share" / "opencode" / "opencode.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            messages = database.execute("select id, data from message order by id").fetchall()
            parts = database.execute("select message_id, data from part order by id").fetchall()
        found = []
        for message_id, data in messages:
            message = json.loads(data)
            if message["role"] != "assistant":
                continue
            words = [json.loads(part) for owner, part in parts if owner == message_id]
            found += [part["text"] for part in words if part["type"] == "text"]
            if "error" in message:
                found.append(message["error"]["data"]["message"])
        return found

    def signed_in(self) -> dict[str, Any]:
        """What OpenCode itself remembers of sign-ins."""
        path: Path = self.home.folder / ".local" / "share" / "opencode" / "auth.json"
        return json.loads(path.read_text()) if path.exists() else {}


class Served:
    """An OpenCode that stays, driven as its windows do: its start costs as much as ten of its answers.

    Not with `opencode run --attach`, which ends with 0 whatever happened (seen with 1.18.34).
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, prompt: str, model: str = "claude-sonnet-4-5", *, variant: str | None = None) -> str:
        """The words of an answer, or of its error, in a session of its own."""
        session = self._call("/session", {"title": "A title"})["id"]
        asked = {
            "model": {"providerID": "kiro", "modelID": model},
            "parts": [{"type": "text", "text": prompt}],
            **({"variant": variant} if variant else {}),
        }
        reply = self._call(f"/session/{session}/message", asked)
        if "error" in reply["info"]:
            return str(reply["info"]["error"])
        return " ".join(part["text"] for part in reply["parts"] if part["type"] == "text")

    def _call(self, path: str, body: Any) -> Any:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)


def settle(folder: Path, version: str) -> None:
    """Leave in a folder of configuration what OpenCode's own installation leaves, but for the package."""
    wants = {"dependencies": {"@opencode-ai/plugin": version}}
    (folder / "node_modules").mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps(wants))
    (folder / "package-lock.json").write_text(json.dumps({"packages": {"": wants}}))


def written_under(folder: Path) -> set[str]:
    """The files there, by their paths in it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
