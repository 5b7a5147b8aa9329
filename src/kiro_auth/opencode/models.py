"""The model list as OpenCode's configuration wants it, in the file that the shim reads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec


class Listed(Protocol):
    """What is needed of a model."""

    @property
    def id(self) -> str:
        """As clients name it."""

    @property
    def name(self) -> str:
        """As people read it."""

    @property
    def context_window(self) -> int:
        """Tokens."""

    @property
    def max_output(self) -> int:
        """Tokens."""

    @property
    def inputs(self) -> Collection[str]:
        """Of `text`, `image`, `document`."""

    @property
    def thinks(self) -> bool:
        """Whether reasoning can be asked for."""


MODALITIES = {"text": "text", "image": "image", "document": "pdf"}
BUDGETS = {"low": 8192, "medium": 16384, "max": 32768}
"""The original's variants, in tokens of thinking."""


def opencode_model(model: Listed) -> dict[str, Any]:
    """One entry of `provider.kiro.models`.

    Costs stay 0, because Kiro counts credits.  Haiku is declared without reasoning and with its family, so
    that OpenCode gives it the titles and asks for no thinking there.
    """
    haiku = "haiku" in model.id
    entry: dict[str, Any] = {
        "name": model.name,
        "limit": {"context": model.context_window, "output": model.max_output},
        "attachment": "image" in model.inputs,
        "reasoning": model.thinks and not haiku,
        "tool_call": True,
        "temperature": True,
        "modalities": {
            "input": [MODALITIES[kind] for kind in MODALITIES if kind in model.inputs],
            "output": ["text"],
        },
        "cost": {"input": 0, "output": 0},
    }
    if haiku:
        entry["family"] = "claude-haiku"
    elif model.thinks:
        entry["variants"] = {
            name: {"thinking": {"type": "enabled", "budgetTokens": budget}}
            for name, budget in BUDGETS.items()
        }
    return entry


def write_models(path: Path, models: Iterable[Listed]) -> None:
    """Replace the shim's list.  The old file stays when the new one cannot be written: it is only a copy."""
    body = msgspec.json.encode({model.id: opencode_model(model) for model in models})
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "wb") as file:
            file.write(body)
        os.replace(name, path)
    except OSError:
        return
