"""The models as Codex lists them, where it asks for its list with `client_version`.

Seen with Codex 0.169.0 and 0.171.0: one row that it cannot read costs the whole list; what a row must have
was found by leaving out one field after the other.  A model of the list has its instructions from the list
alone, so each row brings some: Codex's own are for models that it knows, or that no list has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kiro_auth.surfaces.surface import ModelCard

_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""The words for effort that Codex reads."""
_OF_TAGS: Final = ("low", "medium", "high", "max")
"""How much a model without an effort setting can be asked to think."""
_TWIN: Final = "-thinking"

INSTRUCTIONS: Final = """\
You are a coding agent. You work in the terminal of a person's machine, inside the program Codex, \
together with that person. Be accurate, friendly and brief.

# How to work
- Go on until the task is done. Hand back only when it is, or when you need a decision that is not \
yours.
- Look before you change: read the files that matter, follow the conventions of the project, and solve \
the cause of a problem instead of its symptom. Change nothing that the task does not need.
- Files named AGENTS.md hold instructions for the folder in which they stand and all below it. The one \
nearest to a file counts most; what the person says counts more.
- Say in one short sentence what you are about to do before a group of tool calls. For a task of \
several steps keep a plan, with the tool for it if there is one, and bring it up to date as you go.
- The person may have changed files meanwhile. Never take such changes back. Use no destructive \
command (git reset --hard, git checkout --, rm -rf) and make no commit or branch unless you were asked \
to.

# Tools
- Run commands through the tool for the shell, and edit files with it too unless there is a tool for \
patches. Prefer rg to grep and find. Read large files in parts.
- Independent calls may be made at the same time.
- What the sandbox and the approvals allow is said in the messages of the developer. Ask for approval \
when a command needs it, with the reason.
- Use only the tools that you were given, and state as done only what you have seen the result of.

# Checking
- Where the project has tests, a linter or a build, run those that concern your change, the narrow \
ones first. If you could not check something, say so.

# Answers
- End with what you did, where, and what is left, as short as the task allows. Name files as paths, \
with a line number where it helps (src/app.py:42), and put names of code into backticks.
- Do not print whole files that you wrote: the person has them. In a review name defects first, each \
with its place, the gravest first.
"""


def codex_rows(cards: Sequence[ModelCard]) -> list[dict[str, Any]]:
    """The rows, the default model first.

    Without the twins that ask a model to think, for which Codex has a setting.
    """
    ids = {card.id for card in cards}
    shown = [card for card in cards if card.id.removesuffix(_TWIN) not in ids - {card.id}]
    return [_row(card, place) for place, card in enumerate(sorted(shown, key=lambda card: not card.default))]


def _row(card: ModelCard, place: int) -> dict[str, Any]:
    """One model.

    Without the free-form tool `apply_patch`, which Codex offers to no model that it does not know.
    """
    words = card.efforts or (_OF_TAGS if card.thinks else ())
    return {
        "slug": card.id,
        "display_name": card.name,
        "description": None,
        "priority": place,
        "visibility": "list",
        "supported_in_api": True,
        "base_instructions": INSTRUCTIONS,
        "include_skills_usage_instructions": True,
        "include_plugin_usage_instructions": True,
        "supported_reasoning_levels": [
            {"effort": word, "description": ""} for word in words if word in _EFFORTS
        ],
        "supports_reasoning_summaries": card.thinks,
        "supports_reasoning_summary_parameter": card.thinks,
        "support_verbosity": False,
        "shell_type": "shell_command",
        "supports_parallel_tool_calls": True,
        "experimental_supported_tools": [],
        "truncation_policy": {"mode": "tokens", "limit": 10_000},
        "context_window": card.context_window,
        "input_modalities": [kind for kind in ("text", "image") if kind in card.inputs],
    }
