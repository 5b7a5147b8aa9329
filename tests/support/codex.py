"""The real Codex in a project of its own, with a running gateway as its provider."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from support.npm import npm_package
from support.opencode import NO_WAY_OUT
from support.programs import Home

CODEX = "0.171.0"
UNASKED = ("--dangerously-bypass-approvals-and-sandbox",)
"""Nobody is asked, and nothing is fenced off."""


class Codex:
    """The program; `settings` are those of its configuration file."""

    def __init__(self, home: Home, url: str, **settings: Any) -> None:
        self.home = home
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
        self.its_own_provider = {"openai_base_url": f"{url}/v1"}
        """As a person has it who gives Codex's own provider another address, and signs in with the key."""

    def run(
        self,
        prompt: str,
        *options: str,
        settings: Mapping[str, Any] | None = None,
        model: str = "claude-sonnet-4-5",
    ) -> subprocess.CompletedProcess[str]:
        """One task, to its end; it does as it likes, unless the `options` say otherwise."""
        usual = ("--skip-git-repo-check", "-m", model)
        return self.command("exec", *usual, *(options or UNASKED), prompt, settings=settings)

    def command(
        self, *words: str, settings: Mapping[str, Any] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """One of its commands; what it logs is on stderr, warnings and errors of the model list included.

        `settings` are instead of those that it was made with.
        """
        counting = self._settings if settings is None else settings
        given = (word for name, value in counting.items() for word in ("-c", f"{name}={json.dumps(value)}"))
        return subprocess.run(
            [self._binary, *given, *words],
            cwd=self.project,
            env={**self.home.environment, **NO_WAY_OUT, "RUST_LOG": "error,codex_models_manager=error"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
        )
