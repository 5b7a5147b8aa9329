"""The model list in OpenCode's words, ready to use, in the file that the plugin reads.

OpenCode 1.x wants entries of its configuration, 2.x wants records of its `Model.Info`; the file holds both.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from kiro_auth.atomic import clear_leftovers, replace_file
from kiro_auth.json_values import NotJson, decoded_as
from kiro_auth.regular_files import make_folder, read_file


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

    @property
    def rate(self) -> float | None:
        """Credits for a unit of work, if that is known."""

    @property
    def default(self) -> bool:
        """Whether the service names it as the one to begin with."""


class _Known(Struct, frozen=True):
    id: str
    name: str
    context_window: int = 200_000
    max_output: int = 64_000
    inputs: tuple[str, ...] = ("text", "image", "document")
    thinks: bool = True
    efforts: tuple[str, ...] = ()
    rate: float | None = None
    default: bool = False


class Wish(Struct, frozen=True):
    """What people may want: `rates` behind the models' names, and that the plugin tells its `projects`."""

    rates: bool = False
    projects: bool = False


NO_WISH: Final = Wish()


FILE: Final = "models.json"
"""The list that the plugin reads, in the state folder."""
AUTO: Final = "auto"
"""The name by which Kiro chooses the model itself."""
MODALITIES: Final = {"text": "text", "image": "image", "document": "pdf"}
BUDGETS: Final = {"low": 8192, "medium": 16384, "high": 24576, "max": 32768}
"""Variants of a model without an effort setting, in tokens of thinking; `high` is not of the original."""
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
"""The words that OpenCode lets through; with another one it sends no request at all."""
WITH_TWIN: Final = ("claude-sonnet-4-5",)
"""Models with a twin `…-thinking`, by whose name the gateway decides."""
_VERSION: Final = re.compile(r"claude-(?P<family>[a-z]+)-(?P<version>\d+(?:-\d+)?)")
_FAMILY: Final = re.compile(r"claude-(?:haiku|sonnet|opus)")


class Models(Struct, frozen=True, omit_defaults=True):
    """The list: entries of `provider.kiro.models` by id for 1.x, `Model.Info` records for 2.x.

    `default` is the id of the model that the service names as the one to begin with.  With `projects` the
    plugin tells the gateway the name of the folder that OpenCode works in.
    """

    opencode1: dict[str, dict[str, Any]]
    opencode2: list[dict[str, Any]]
    default: str | None = None
    projects: bool = False

    @property
    def usual(self) -> str:
        """The model to begin with where none is asked for: the service's, else the newest Sonnet, or any."""
        return self.default or self.newest("sonnet") or next(iter(self.opencode1), AUTO)

    def newest(self, family: str) -> str | None:
        """The newest model of a family such as `sonnet`."""
        versions = {id_: match for id_ in self.opencode1 if (match := _VERSION.fullmatch(id_))}
        of_it = [id_ for id_, match in versions.items() if match["family"] == family]
        return max(of_it, key=lambda id_: _numbers(versions[id_]["version"]), default=None)


def opencode_models(models: Iterable[Listed], wish: Wish = NO_WISH) -> Models:
    """All models, twins beside theirs."""
    one: dict[str, dict[str, Any]] = {}
    two: list[dict[str, Any]] = []
    default: str | None = None
    for model in models:
        default = default or (model.id if model.default else None)
        rate = f" · {model.rate:g}×" if wish.rates and model.rate is not None else ""
        name = model.name + rate
        one[model.id] = _entry(model, name)
        two.append(_record(model, model.id, name))
        if model.id in WITH_TWIN:
            twin, name = f"{model.id}-thinking", f"{model.name} Thinking{rate}"
            # Without reasoning of OpenCode's own: the id itself asks for it, and a variant for how much.
            one[twin] = {**one[model.id], "name": name, "reasoning": False}
            two.append(_record(model, twin, name))
    return Models(one, two, default, wish.projects)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split("-")]


def _entry(model: Listed, name: str) -> dict[str, Any]:
    """One model for OpenCode 1.x.

    Costs stay 0, because Kiro counts credits.  Haiku is declared without reasoning and with its family, so
    that OpenCode gives it the titles and asks for no thinking there.
    """
    entry: dict[str, Any] = {
        "name": name,
        "limit": {"context": model.context_window, "output": model.max_output},
        "attachment": "image" in model.inputs,
        "reasoning": _thinks(model),
        "tool_call": True,
        "temperature": True,
        "modalities": _modalities(model),
        "cost": {"input": 0, "output": 0},
    }
    if _is_haiku(model):
        entry["family"] = "claude-haiku"
    if _thinks(model):
        # What OpenCode itself guesses by the name is switched off.
        own = _variants(model)
        entry["variants"] = {effort: own.get(effort, {"disabled": True}) for effort in EFFORTS}
    return entry


def _record(model: Listed, id_: str, name: str) -> dict[str, Any]:
    """One model for OpenCode 2.x.

    The service tells no date of a model, so none is claimed.  Effort changes in the middle of a talk and
    thinking bound to its block are Anthropic's own service's; Kiro has neither.
    """
    family = _FAMILY.match(model.id)
    return {
        "id": id_,
        "modelID": id_,
        "providerID": "kiro",
        "name": name,
        **({"family": family[0]} if family else {}),
        "capabilities": {"tools": True, **_modalities(model)},
        "limit": {"context": model.context_window, "output": model.max_output},
        "variants": [{"id": word, "settings": settings} for word, settings in _variants(model).items()]
        if _thinks(model)
        else [],
        "cost": [],
        "status": "active",
        "enabled": True,
        "time": {"released": 0},
        "compatibility": {"supportsEffortUpdates": False, "supportsThinkingBlockBinding": False},
    }


def _is_haiku(model: Listed) -> bool:
    return "haiku" in model.id


def _thinks(model: Listed) -> bool:
    return model.thinks and not _is_haiku(model)


def _modalities(model: Listed) -> dict[str, list[str]]:
    return {
        "input": [MODALITIES[kind] for kind in MODALITIES if kind in model.inputs],
        "output": ["text"],
    }


def _variants(model: Listed) -> dict[str, Any]:
    """How much the model can be asked to think, in the words of Anthropic's package of either generation."""
    if model.efforts:
        return {
            effort: {"thinking": {"type": "adaptive"}, "effort": effort}
            for effort in EFFORTS
            if effort in model.efforts
        }
    return {
        word: {"thinking": {"type": "enabled", "budgetTokens": budget}} for word, budget in BUDGETS.items()
    }


USUAL_MODELS: Final = opencode_models(
    (
        _Known(AUTO, "Auto", thinks=False, default=True),
        _Known("claude-sonnet-4-5", "Claude Sonnet 4.5"),
        _Known("claude-haiku-4-5", "Claude Haiku 4.5", inputs=("text", "image")),
    )
)
"""What OpenCode shows until the plan's own list is known: Kiro's own choice, and the original's models, which
stand in their users' files.
"""


def read_models(path: Path) -> Models:
    """The list as it was written last; `USUAL_MODELS` where there is none."""
    try:
        models: Models = decoded_as(read_file(path), Models)
    except (OSError, NotJson):
        return USUAL_MODELS
    return models


def write_models(path: Path, models: Iterable[Listed], *, complete: bool, wish: Wish = NO_WISH) -> None:
    """Replace the plugin's list, or add to it what is known when that is not `complete`.

    The old file stays when the new one cannot be written: it is only a copy.
    """
    new = opencode_models(models, wish)
    if not complete:
        new = _added(read_models(path), new)
    try:
        make_folder(path.parent)
        clear_leftovers(path)  # only the one gateway writes it
        replace_file(path, msgspec.json.encode(new))
    except OSError:
        return


def _added(before: Models, new: Models) -> Models:
    kept = [record for record in before.opencode2 if record.get("id") not in new.opencode1]
    return Models(
        {**before.opencode1, **new.opencode1},
        [*kept, *new.opencode2],
        new.default or before.default,
        new.projects,
    )
