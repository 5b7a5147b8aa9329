"""How much the model is to think, in the words that it has for that: tags, or fields of its own schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kiro_auth.conversation import Thinking
from kiro_auth.kiro.models import DEFAULT_BUDGET, Model

_ORDER: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# The original plugin has low 8192, medium 16384 and max 32768; those between are ours.
_BUDGETS: Final = {"minimal": 1024, "low": 8192, "medium": 16384, "high": 24576, "xhigh": 32768, "max": 32768}


def asks_for_tags(thinking: Thinking | None, model: Model) -> bool:
    """Whether the model is asked to put its reasoning into tags."""
    return _enabled(thinking) is not None and model.tags


def tags(thinking: Thinking | None, model: Model) -> tuple[str, ...]:
    """What stands before the instructions for a model that thinks in tags."""
    wanted = _enabled(thinking)
    if wanted is None or not model.tags:
        return ()
    budget = wanted.budget or _BUDGETS.get(wanted.effort or "", DEFAULT_BUDGET)
    length = f"<max_thinking_length>{max(1024, budget)}</max_thinking_length>"
    return ("<thinking_mode>enabled</thinking_mode>" + length,)


def model_fields(thinking: Thinking | None, model: Model) -> dict[str, Any]:
    """Only what the model's own schema knows; the service refuses anything else."""
    wanted = _enabled(thinking)
    if wanted is None or not model.efforts:
        return {}
    fields: dict[str, Any] = {}
    word = wanted.effort or (_effort_of(wanted.budget) if wanted.budget else "")
    if effort := _nearest(word, model.efforts):
        fields[model.effort_field] = {"effort": effort}
    if model.adaptive:
        fields["thinking"] = {"type": "adaptive"}
        display = "summarized" if wanted.visible else "omitted"
        if display in model.displays:
            fields["thinking"]["display"] = display
    return fields


def _enabled(thinking: Thinking | None) -> Thinking | None:
    return thinking if thinking is not None and thinking.enabled else None


def _effort_of(budget: int) -> str:
    """The word for a budget, by the original's variants (low 8192, medium 16384, max 32768); OpenCode's own
    `max` is 31999.
    """
    if budget <= 8192:
        return "low"
    if budget <= 16384:
        return "medium"
    return "high" if budget < 31999 else "max"


def _nearest(word: str, words: Sequence[str]) -> str | None:
    """The word itself, else the next stronger one the model has, else the next weaker.

    None for a word of unknown strength: the model decides.
    """
    if word in words:
        return word
    ranked = sorted((w for w in words if w in _ORDER), key=_ORDER.index)
    if word not in _ORDER or not ranked:
        return None
    return next((w for w in ranked if _ORDER.index(w) > _ORDER.index(word)), ranked[-1])
