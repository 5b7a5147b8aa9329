"""What is next after `login` and `demo`, by what is installed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.clients.next_steps import next_steps

INSTALL = "kiro-auth install opencode"
USAGE = "kiro-auth usage"


@pytest.mark.parametrize(
    ("on_path", "has_plugin", "commands"),
    [
        ({"opencode"}, False, [INSTALL, USAGE]),
        ({"opencode"}, True, ["opencode", USAGE]),
        ({"claude"}, False, ["kiro-auth run claude", USAGE]),
        ({"codex", "claude"}, False, ["kiro-auth run claude", "kiro-auth run codex", USAGE]),
        (
            {"opencode", "codex", "claude"},
            True,
            ["opencode", "kiro-auth run claude", "kiro-auth run codex", USAGE],
        ),
        (set(), False, ["npm install -g opencode-ai", INSTALL, USAGE]),
    ],
    ids=["OpenCode", "with the plugin", "Claude Code", "two", "all", "none"],
)
def test_the_next_commands_are_for_the_programs_that_are_there(
    on_path: set[str], has_plugin: bool, commands: list[str]
) -> None:
    steps = next_steps({*on_path, "kiro-auth"}, signed_in=True, has_plugin=has_plugin)

    assert [step.command for step in steps] == commands


@given(st.sets(st.sampled_from(["kiro-auth", "opencode", "claude", "codex"])), st.booleans(), st.booleans())
def test_the_program_comes_first_then_the_sign_in_then_the_rest(
    on_path: set[str], signed_in: bool, has_plugin: bool
) -> None:
    steps = next_steps(on_path, signed_in=signed_in, has_plugin=has_plugin, clone="/src/clone")
    commands = [step.command for step in steps]

    first = ["pipx install /src/clone"] if "kiro-auth" not in on_path else []
    first += [] if signed_in else ["kiro-auth login"]
    assert commands[: len(first)] == first
    assert commands.count("kiro-auth login") == (0 if signed_in else 1)
    assert all(step.purpose for step in steps)
