"""OpenCode's real window, looked at through tmux."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from support.opencode import OpenCode


class Window:
    """OpenCode in a terminal of that many columns and lines, with a model by its id."""

    def __init__(self, tmux: str, opencode: OpenCode, model: str, columns: int, lines: int) -> None:
        self._tmux = [tmux, "-f", "/dev/null", "-S", str(opencode.home.folder / "tmux.socket")]
        command = opencode.command("-m", f"kiro/{model}")
        environment = {**opencode.environment, "TERM": "xterm-256color"}
        size = ("-x", str(columns), "-y", str(lines))
        self._call("new-session", "-d", *size, *command, env=environment, cwd=opencode.project)

    def _call(self, *arguments: str, **more: object) -> str:
        done = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, timeout=120, **more)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def shows(self) -> str:
        """The screen, its lines joined by spaces, so that wrapped words are found."""
        lines = self._call("capture-pane", "-p").splitlines()
        return " ".join(" ".join(line.strip("│┃ ") for line in lines).split())

    def screen(self) -> list[str]:
        """The lines as they are, with their colours."""
        return self._call("capture-pane", "-p", "-e").splitlines()

    def wait_for(self, what: str, seconds: float = 60) -> str:
        return self.wait_until(lambda shown: what in shown, seconds)

    def wait_until(self, right: Callable[[str], bool], seconds: float = 60) -> str:
        end = time.monotonic() + seconds
        while not right(shown := self.shows()):
            assert time.monotonic() < end, shown
            time.sleep(0.2)
        return shown

    def say(self, words: str) -> None:
        self._call("send-keys", "-l", words)
        self.wait_for(words)
        time.sleep(0.5)  # what comes in one read with them would be a line of them
        self._call("send-keys", "Enter")

    def close(self) -> None:
        self._call("kill-server")


@contextmanager
def opened(
    opencode: OpenCode, model: str = "Claude Sonnet 4.5", columns: int = 140, lines: int = 45
) -> Iterator[Window]:
    """The window, once it shows the model; closed with the block.  Skips without tmux, but fails in CI."""
    tmux = shutil.which("tmux")
    if tmux is None:
        if os.environ.get("CI"):
            raise RuntimeError("tmux is needed; .ci/run installs it")
        pytest.skip("tmux is not installed")
    opencode.run("models")  # the first start of a release takes longer
    window = Window(tmux, opencode, re.sub(r"[ .]", "-", model.lower()), columns, lines)
    try:
        window.wait_until(lambda shown: model in shown)
        yield window
    finally:
        window.close()
