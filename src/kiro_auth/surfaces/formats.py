"""The form that a client wants the answer in, in the words of any of the three APIs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kiro_auth.conversation import AnswerFormat
from kiro_auth.surfaces.decoding import refused


def answer_format(given: Any, where: str) -> AnswerFormat | None:
    """The format that stands in the field `where`: JSON, or None for plain text.

    What says more of a schema stands beside it (Responses, Messages) or around it (Chat Completions).
    Raises TurnFailed (KA-REQUEST) naming the field for a format that is neither text nor JSON.
    """
    match given:
        case None | {"type": None | "text"}:
            return None
        case {"type": "json_schema", "json_schema": {} as inner}:
            return _json(inner)
        case {"type": "json_schema" | "json_object"}:
            return _json(given)
    raise refused(f"`{where}` must be of the type text, json_object or json_schema.")


def _json(given: Mapping[str, Any]) -> AnswerFormat:
    return AnswerFormat(given.get("schema"), _text(given.get("name")), _text(given.get("description")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
