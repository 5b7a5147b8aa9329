"""`thinkingConfig`, by which variants that people wrote in `opencode.json` say how much the model thinks.

OpenCode puts a variant's own fields into the request's body, whichever API it speaks.
"""

from __future__ import annotations

from msgspec import Struct

from kiro_auth.conversation import Thinking


class ThinkingConfig(Struct, rename="camel"):
    """The fields by Google's names.  A budget is tokens: 0 is none, below it the model chooses."""

    thinking_budget: int | None = None
    thinking_level: str | None = None
    include_thoughts: bool | None = None


def thinking_of(config: ThinkingConfig | None, usual: Thinking | None) -> Thinking | None:
    """What the config asks for; where it says nothing, the `usual`, which the API's own fields ask for.

    It counts before those, as a person wrote it while programs fill them in by themselves.
    """
    if config is None or config == ThinkingConfig():
        return usual
    visible = usual is None or usual.visible
    if config.include_thoughts is not None:
        visible = config.include_thoughts
    if config.thinking_budget == 0:
        return Thinking(enabled=False, visible=visible)
    budget = config.thinking_budget if (config.thinking_budget or 0) > 0 else None
    level = config.thinking_level.lower() if config.thinking_level else None
    effort = None if budget else level or (usual.effort if usual else None)
    return Thinking(budget=budget, effort=effort, visible=visible)
