"""The simulated models, in the shape of ListAvailableModels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final


def _row(
    id_: str, name: str, window: int, rate: float, fields: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "modelId": id_,
        "modelName": name,
        "description": f"{name}, simulated",
        "rateMultiplier": rate,
        "rateUnit": "Credit",
        "supportedInputTypes": ["TEXT", "IMAGE"],
        "tokenLimits": {"maxInputTokens": window, "maxOutputTokens": 64_000},
        "promptCaching": {"supportsPromptCaching": True},
    }
    if fields is not None:
        row["additionalModelRequestFieldsSchema"] = {"type": "object", "properties": fields}
    return row


def _effort(*words: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"effort": {"type": "string", "enum": list(words)}}}


_CLAUDE_FIELDS: Final = {
    "output_config": _effort("low", "medium", "high", "max"),
    "thinking": {"type": "object", "properties": {"type": {"type": "string", "enum": ["adaptive"]}}},
}

MODELS: Final[dict[str, dict[str, Any]]] = {
    row["modelId"]: row
    for row in (
        _row("auto", "Auto", 200_000, 1.0),
        _row("claude-sonnet-4.5", "Claude Sonnet 4.5", 200_000, 1.3),
        _row("claude-haiku-4.5", "Claude Haiku 4.5", 200_000, 0.4),
        _row("claude-opus-4.5", "Claude Opus 4.5", 200_000, 2.2),
        _row("claude-sonnet-4.6", "Claude Sonnet 4.6", 1_000_000, 1.3, _CLAUDE_FIELDS),
        _row("claude-opus-4.6", "Claude Opus 4.6", 1_000_000, 2.2, _CLAUDE_FIELDS),
        _row(
            "gpt-5.6-sol",
            "GPT 5.6 Sol",
            272_000,
            1.5,
            {"reasoning": _effort("none", "low", "medium", "high")},
        ),
    )
}


def list_available_models() -> dict[str, Any]:
    """All rows, and the default one."""
    return {"models": list(MODELS.values()), "defaultModel": {"modelId": "auto"}}
