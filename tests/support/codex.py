"""The real Codex in a project of its own, with a running gateway as its provider."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from support.npm import npm_package
from support.opencode import NO_WAY_OUT
from support.programs import Home

CODEX = "0.169.0"
UNASKED = ("--dangerously-bypass-approvals-and-sandbox",)
"""Nobody is asked, and nothing is fenced off."""


class Codex:
    """The program; `settings` are those of its configuration file."""

    def __init__(self, home: Home, url: str, **settings: Any) -> None:
        self._home = home
        self.project = home.folder / "project"
        self.project.mkdir()
        vendor = npm_package("@openai/codex", CODEX).parent / "codex-linux-x64" / "vendor"
        self._binary = str(vendor / "x86_64-unknown-linux-musl" / "bin" / "codex")
        self._settings = {
            "model_provider": "kiro",
            "model_providers.kiro.name": "Kiro",
            "model_providers.kiro.base_url": f"{url}/v1",
            "model_providers.kiro.env_key": "KIRO_GATEWAY_KEY",
            "model_providers.kiro.wire_api": "responses",
            **settings,
        }

    def run(self, prompt: str, *options: str) -> subprocess.CompletedProcess[str]:
        """One task, to its end; it does as it likes, unless the `options` say otherwise."""
        settings = (
            word for name, value in self._settings.items() for word in ("-c", f"{name}={json.dumps(value)}")
        )
        usual = ("--skip-git-repo-check", "-m", "claude-sonnet-4-5")
        return subprocess.run(
            [self._binary, "exec", *usual, *(options or UNASKED), *settings, prompt],
            cwd=self.project,
            env={**self._home.environment, **NO_WAY_OUT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
        )
