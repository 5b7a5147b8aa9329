"""The model list as OpenCode's configuration wants it, in the file that the shim reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from kiro_auth.atomic import replace_file


class Listed(Protocol):
    """What is needed of a model; limits are tokens, `inputs` are of `text`, `image`, `document`."""

    @property
    def id(self) -> str:
        """As clients name it."""

    @property
    def name(self) -> str:
        """As people read it."""

    @property
    def context_window(self) -> int:
        """Tokens in all."""

    @property
    def max_output(self) -> int:
        """Tokens of a reply."""

    @property
    def inputs(self) -> Collection[str]:
        """What may be sent."""

    @property
    def thinks(self) -> bool:
        """Whether reasoning can be asked for."""

    @property
    def efforts(self) -> Collection[str]:
        """The words of its effort setting; none for a model that has none."""


class _Known(Struct, frozen=True):
    id: str
    name: str
    context_window: int = 200_000
    max_output: int = 64_000
    inputs: tuple[str, ...] = ("text", "image", "document")
    thinks: bool = True
    efforts: tuple[str, ...] = ()


FILE: Final = "models.json"
"""The list that the shim reads, in the state folder."""
MODALITIES: Final = {"text": "text", "image": "image", "document": "pdf"}
BUDGETS: Final = {"low": 8192, "medium": 16384, "high": 24576, "max": 32768}
"""Variants of a model without an effort setting, in tokens of thinking; `high` is not of the original."""
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
"""The words that OpenCode lets through; with another one it sends no request at all."""
WITH_TWIN: Final = ("claude-sonnet-4-5",)
"""Models with a twin `…-thinking`, by whose name the gateway decides."""


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
    if entry["reasoning"]:
        entry["variants"] = _variants(model)
    return entry


def _variants(model: Listed) -> dict[str, Any]:
    """How much the model can be asked to think; what OpenCode itself guesses by the name is switched off."""
    own: dict[str, Any]
    if model.efforts:
        own = {
            effort: {"thinking": {"type": "adaptive"}, "effort": effort}
            for effort in EFFORTS
            if effort in model.efforts
        }
    else:
        own = {
            name: {"thinking": {"type": "enabled", "budgetTokens": budget}}
            for name, budget in BUDGETS.items()
        }
    return {effort: own.get(effort, {"disabled": True}) for effort in EFFORTS}


def opencode_models(models: Iterable[Listed]) -> dict[str, Any]:
    """All entries by id, twins beside their models."""
    entries: dict[str, Any] = {}
    for model in models:
        entry = entries[model.id] = opencode_model(model)
        if model.id in WITH_TWIN:
            # Without reasoning of OpenCode's own: the name itself asks for it, and a variant for how much.
            entries[f"{model.id}-thinking"] = {
                **entry,
                "name": f"{model.name} Thinking",
                "reasoning": False,
            }
    return entries


KNOWN_MODELS: Final = opencode_models(
    (
        _Known("claude-sonnet-4-5", "Claude Sonnet 4.5"),
        _Known("claude-haiku-4-5", "Claude Haiku 4.5", inputs=("text", "image")),
    )
)
"""The original's models: what OpenCode shows until the plan's own list is known."""


def read_models(path: Path) -> Mapping[str, Any]:
    """The list as it was written last; the original's models where there is none."""
    return _written(path) or KNOWN_MODELS


def _written(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError):
        return {}


def write_models(path: Path, models: Iterable[Listed], *, complete: bool) -> None:
    """Replace the shim's list, or add to it what is known when that is not `complete`.

    The old file stays when the new one cannot be written: it is only a copy.
    """
    entries = opencode_models(models)
    body = msgspec.json.encode(entries if complete else {**_written(path), **entries})
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, body)
    except OSError:
        return
