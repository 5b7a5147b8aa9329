"""What a person can do next, by what is installed here."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec import Struct

from kiro_auth.clients.setups import CLIENTS, Name

PROGRAM: Final = "kiro-auth"
_TITLES: Final = {Name.CLAUDE: "Claude Code", Name.CODEX: "Codex"}


class NextStep(Struct, frozen=True):
    """A command, and what it is for."""

    command: str
    purpose: str


def next_steps(
    on_path: Collection[str], *, signed_in: bool, has_plugin: bool, clone: str | None = None
) -> list[NextStep]:
    """The commands in the order in which they are typed.

    `on_path` are the programs there are, of those named here; `has_plugin` says that OpenCode has ours;
    `clone` is the folder of the source that this runs from, if it runs from there.
    """
    steps = []
    if PROGRAM not in on_path and clone is not None:
        steps.append(NextStep(f"pipx install {clone}", "put kiro-auth on your PATH"))
    if not signed_in:
        steps.append(NextStep("kiro-auth login", "sign in with your own account"))
    steps += _of_clients(on_path, has_plugin=has_plugin)
    steps.append(NextStep("kiro-auth usage", "what is left of your plan"))
    return steps


def _of_clients(on_path: Collection[str], *, has_plugin: bool) -> list[NextStep]:
    steps = []
    if Name.OPENCODE in on_path:
        if has_plugin:
            steps.append(NextStep("opencode", "pick a model under Kiro (/models)"))
        else:
            steps.append(NextStep("kiro-auth install opencode", "Kiro's models in OpenCode"))
    steps += [
        NextStep(f"kiro-auth run {client}", f"{title} on your Kiro accounts")
        for client, title in _TITLES.items()
        if client in on_path
    ]
    if not steps:
        package = CLIENTS[Name.OPENCODE].package
        steps.append(NextStep(f"npm install -g {package}", "OpenCode, as no coding agent is on your PATH"))
        steps.append(NextStep("kiro-auth install opencode", "Kiro's models in it"))
    return steps
