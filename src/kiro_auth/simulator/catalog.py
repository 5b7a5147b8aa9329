"""The simulated models, in the shape of ListAvailableModels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict


class TokenLimits(TypedDict):
    """The window, and the longest answer, in tokens."""

    maxInputTokens: int
    maxOutputTokens: int


class _ModelRow(TypedDict):
    modelId: str
    modelName: str
    description: str
    rateMultiplier: float
    rateUnit: str
    supportedInputTypes: list[str]
    tokenLimits: TokenLimits
    promptCaching: dict[str, Any]


class ModelRow(_ModelRow, total=False):
    """One row of the list.  The schema says which additional fields a request for that model may have."""

    additionalModelRequestFieldsSchema: dict[str, Any]


def _row(
    id_: str,
    name: str,
    window: int,
    rate: float,
    fields: dict[str, Any] | None = None,
    inputs: tuple[str, ...] = ("TEXT", "IMAGE"),
    output: int = 64_000,
) -> ModelRow:
    row: ModelRow = {
        "modelId": id_,
        "modelName": name,
        "description": f"{name}, simulated",
        "rateMultiplier": rate,
        "rateUnit": "Credit",
        "supportedInputTypes": list(inputs),
        "tokenLimits": {"maxInputTokens": window, "maxOutputTokens": output},
        "promptCaching": {
            "supportsPromptCaching": True,
            "minimumTokensPerCacheCheckpoint": 1024,
            "maximumCacheCheckpointsPerRequest": 4,
        },
    }
    if fields is not None:
        row["additionalModelRequestFieldsSchema"] = {
            "type": "object",
            "properties": fields,
            "additionalProperties": False,
        }
    return row


def _words(**properties: list[str]) -> dict[str, Any]:
    """The schema of an object whose members are each one of a few words."""
    members = {name: {"type": "string", "enum": words} for name, words in properties.items()}
    return {"type": "object", "properties": members}


def _tokens(most: int) -> dict[str, Any]:
    """The schema of a limit of output tokens."""
    return {"type": "integer", "minimum": 1024, "maximum": most}


_CLAUDE_EFFORT: Final = _words(effort=["low", "medium", "high", "max"])

MODELS: Final[dict[str, ModelRow]] = {
    row["modelId"]: row
    for row in (
        _row("auto", "Auto", 200_000, 1.0),
        _row("claude-sonnet-4.5", "Claude Sonnet 4.5", 200_000, 1.3),
        _row("claude-haiku-4.5", "Claude Haiku 4.5", 200_000, 0.4),
        _row("claude-opus-4.5", "Claude Opus 4.5", 200_000, 2.2),
        _row(
            "claude-sonnet-4.6",
            "Claude Sonnet 4.6",
            1_000_000,
            1.3,
            {
                "output_config": _CLAUDE_EFFORT,
                "thinking": _words(type=["adaptive", "disabled"]),
                "max_tokens": _tokens(64_000),
            },
        ),
        _row(
            "claude-opus-4.6",
            "Claude Opus 4.6",
            1_000_000,
            2.2,
            {
                "output_config": _CLAUDE_EFFORT,
                "thinking": _words(type=["adaptive", "disabled"], display=["summarized", "omitted"]),
                "max_tokens": _tokens(128_000),
            },
            output=128_000,
        ),
        _row(
            "gpt-5.6-sol",
            "GPT 5.6 Sol",
            272_000,
            1.5,
            {"reasoning": _words(effort=["none", "low", "medium", "high", "xhigh", "max"])},
        ),
        _row("qwen3-coder-480b", "Qwen3 Coder 480B", 256_000, 0.2, inputs=("TEXT",)),
    )
}
"""The rows by model id."""


def listed(ids: Sequence[str] | None) -> Mapping[str, ModelRow]:
    """The rows of these models by id, all where none are named; what is not simulated gets a plain row."""
    if ids is None:
        return MODELS
    return {id_: MODELS.get(id_) or _row(id_, id_, 200_000, 1.0) for id_ in ids}


def list_available_models(ids: Sequence[str] | None = None, default: str | None = "auto") -> dict[str, Any]:
    """The rows of these models, and the default one if it is among them."""
    rows = listed(ids)
    named = {"defaultModel": rows[default]} if default is not None and default in rows else {}
    return {"models": list(rows.values()), **named}
