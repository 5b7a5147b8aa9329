"""How much the model is to think, in the words that it has for that: tags, or fields of its own schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kiro_auth.conversation import Reasoning, Thinking
from kiro_auth.kiro.models import DEFAULT_BUDGET, HIDDEN_SIGNATURE, HIDDEN_TEXT, Model

_ORDER: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# The original plugin has low 8192, medium 16384 and max 32768; those between are ours.
_BUDGETS: Final = {"minimal": 1024, "low": 8192, "medium": 16384, "high": 24576, "xhigh": 32768, "max": 32768}


def asks_for_tags(thinking: Thinking | None, model: Model) -> bool:
    """Whether the model is asked to put its reasoning into tags."""
    return _enabled(thinking) is not None and model.tags


def tags(thinking: Thinking | None, model: Model, limit: int | None = None) -> tuple[str, ...]:
    """What stands before the instructions for a model that thinks in tags.

    A quarter of the client's `limit` of output tokens, if it has one, is left for the answer.
    """
    wanted = _enabled(thinking)
    if wanted is None or not model.tags:
        return ()
    budget = wanted.budget or _BUDGETS.get(wanted.effort or "", DEFAULT_BUDGET)
    if limit is not None:
        budget = min(budget, limit * 3 // 4)
    length = f"<max_thinking_length>{max(1024, budget)}</max_thinking_length>"
    return ("<thinking_mode>enabled</thinking_mode>" + length,)


def model_fields(thinking: Thinking | None, model: Model) -> dict[str, Any]:
    """Only what the model's own schema knows; the service refuses anything else.

    Thinking that is switched off is said to be off where that can be said: left out, it is the service's
    default, which users report to be high (November 2026).
    """
    if thinking is None:
        return {}
    fields: dict[str, Any] = {}
    if effort := _nearest(_word(thinking), model.efforts):
        fields[model.effort_field] = {"effort": effort}
    if not thinking.enabled and model.can_rest:
        fields["thinking"] = {"type": "disabled"}
    elif thinking.enabled and model.adaptive:
        fields["thinking"] = {"type": "adaptive"}
        display = "summarized" if thinking.visible else "omitted"
        if display in model.displays:
            fields["thinking"]["display"] = display
    return fields


def output_fields(limit: int | None, model: Model) -> dict[str, int]:
    """The client's limit of output tokens, within the bounds of the model's own setting, if it has one."""
    if limit is None or model.output_limits is None:
        return {}
    least, most = model.output_limits
    return {"max_tokens": max(least, min(limit, most))}


def signed_text(reasoning: Reasoning) -> str:
    """The text of signed reasoning, as the service gave it.

    That of GPT models is hidden; what stands for it is not given to clients, but belongs to the signature.
    """
    hidden = reasoning.signature.startswith(HIDDEN_SIGNATURE)
    return HIDDEN_TEXT if hidden and not reasoning.text else reasoning.text


def _word(thinking: Thinking) -> str:
    """The effort that is asked for: the client's word, that of its budget, or `none` for thinking off."""
    if thinking.effort:
        return thinking.effort
    if not thinking.enabled:
        return "none"
    return _effort_of(thinking.budget) if thinking.budget else ""


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

    None for a word of unknown strength, and for `none` where that is no word of the model's: it decides.
    """
    if word in words:
        return word
    if word == "none":
        return None
    ranked = sorted((w for w in words if w in _ORDER), key=_ORDER.index)
    if word not in _ORDER or not ranked:
        return None
    return next((w for w in ranked if _ORDER.index(w) > _ORDER.index(word)), ranked[-1])
