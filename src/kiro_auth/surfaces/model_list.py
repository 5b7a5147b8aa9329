"""The list of models, in one shape that clients of Anthropic, of OpenAI, and Codex read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kiro_auth.surfaces.codex_list import codex_rows
from kiro_auth.surfaces.surface import ModelCard


def encode_models(cards: Sequence[ModelCard], *, codex: bool = False) -> bytes:
    """The answer to `GET /v1/models`, whole: there are no further pages.  With `codex` its list is beside."""
    rows = [_row(card) for card in cards]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": rows,
            "has_more": False,
            "first_id": rows[0]["id"] if rows else None,
            "last_id": rows[-1]["id"] if rows else None,
            **({"models": codex_rows(cards)} if codex else {}),
        }
    )


def encode_model(card: ModelCard) -> bytes:
    """The answer to `GET /v1/models/<id>`."""
    return msgspec.json.encode(_row(card))


def _row(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.id,
        "object": "model",
        "type": "model",
        "display_name": card.name,
        "owned_by": "kiro",
        # The service does not say when a model came; clients want some time here.
        "created": 0,
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "context_window": card.context_window,
        "max_input_tokens": card.context_window,
        "max_output_tokens": card.max_output,
        "max_tokens": card.max_output,
        "input_modalities": sorted(card.inputs),
        "reasoning": card.thinks,
    }
