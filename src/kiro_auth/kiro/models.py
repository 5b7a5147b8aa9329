"""The models: what the service lists, what clients call them, and how each is asked to think.

The live list counts; the table below stands in until it was asked, and fills what the list leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from kiro_auth.conversation import Thinking

DEFAULT_BUDGET: Final = 16384
"""Tokens of thinking for a `-thinking` name that says no budget."""
NEUTRAL_CONTEXT: Final = 200_000
NEUTRAL_OUTPUT: Final = 64_000

_CLAUDE_INPUTS: Final = frozenset({"text", "image", "document"})


class Model(Struct, frozen=True, kw_only=True):
    """One model.  `id` is the service's own name for it; limits are tokens.

    `efforts` are the words of its effort setting, in ascending order, and `effort_field` says where the
    setting stands (`output_config` or `reasoning`); both empty when it has none.  `tags` says that it
    thinks when the prompt asks for it (Claude 4.5 and older).  `rate` is credits per unit of work.
    """

    id: str
    name: str
    context_window: int = NEUTRAL_CONTEXT
    max_output: int = NEUTRAL_OUTPUT
    inputs: frozenset[str] = frozenset({"text"})
    efforts: tuple[str, ...] = ()
    effort_field: str = ""
    adaptive: bool = False
    tags: bool = False
    rate: float | None = None

    @property
    def thinks(self) -> bool:
        """Whether reasoning can be asked for."""
        return bool(self.efforts) or self.tags


class Choice(Struct, frozen=True):
    """A model, and the thinking that its name asks for (`…-thinking`), if it does."""

    model: Model
    thinking: Thinking | None = None


def _claude(id_: str, name: str, **more: Any) -> Model:
    return Model(id=id_, name=name, inputs=_CLAUDE_INPUTS, **more)


_EFFORTS: Final = ("low", "medium", "high", "max")
_TAGGED: Final[dict[str, Any]] = {"tags": True}
_ADAPTIVE: Final[dict[str, Any]] = {
    "context_window": 1_000_000,
    "efforts": _EFFORTS,
    "effort_field": "output_config",
    "adaptive": True,
}

BUILTIN: Final[tuple[Model, ...]] = (
    _claude("auto", "Auto"),
    _claude("claude-sonnet-4.5", "Claude Sonnet 4.5", **_TAGGED),
    _claude("claude-haiku-4.5", "Claude Haiku 4.5", **_TAGGED),
    _claude("claude-opus-4.5", "Claude Opus 4.5", **_TAGGED),
    _claude("claude-sonnet-4", "Claude Sonnet 4", **_TAGGED),
    _claude("claude-sonnet-4.6", "Claude Sonnet 4.6", **_ADAPTIVE),
    _claude("claude-opus-4.6", "Claude Opus 4.6", **_ADAPTIVE),
)
"""What is known without asking, for the time before the first list."""

_KNOWN: Final = {model.id: model for model in BUILTIN}


def client_id(model: Model) -> str:
    """The name for clients: `claude-sonnet-4-5`, as the original plugin and Anthropic write it."""
    return model.id.replace(".", "-")


def parse(answer: Mapping[str, Any]) -> tuple[Model, ...]:
    """The models of a ListAvailableModels answer; rows without an id are left out."""
    rows = answer.get("models") or ()
    return tuple(_model(row) for row in rows if isinstance(row, dict) and isinstance(row.get("modelId"), str))


def _model(row: Mapping[str, Any]) -> Model:
    id_ = row["modelId"]
    known = _KNOWN.get(id_)
    limits = row.get("tokenLimits") or {}
    field, efforts, adaptive = _effort(row.get("additionalModelRequestFieldsSchema"))
    return Model(
        id=id_,
        name=row.get("modelName") or (known.name if known else id_),
        context_window=_positive(limits.get("maxInputTokens"))
        or (known.context_window if known else NEUTRAL_CONTEXT),
        max_output=_positive(limits.get("maxOutputTokens"))
        or (known.max_output if known else NEUTRAL_OUTPUT),
        inputs=_inputs(id_, row.get("supportedInputTypes") or ()),
        efforts=efforts,
        effort_field=field,
        adaptive=adaptive,
        tags=not efforts and bool(_TAG_MODELS.match(id_)),
        rate=row.get("rateMultiplier") if isinstance(row.get("rateMultiplier"), int | float) else None,
    )


_TAG_MODELS: Final = re.compile(r"claude-(?:\w+-)?(?:3\.\d|4|4\.[015])(?:$|-)")
"""Claude models from before the effort setting; they think when the prompt asks them to."""


def _inputs(id_: str, listed: Iterable[Any]) -> frozenset[str]:
    inputs = {str(kind).lower() for kind in listed} | {"text"}
    # The list never names documents; Claude models that see images take them.
    if "image" in inputs and (id_.startswith("claude") or id_ == "auto"):
        inputs.add("document")
    return frozenset(inputs)


def _effort(schema: Any) -> tuple[str, tuple[str, ...], bool]:
    """Where the model's own schema has an effort setting, its words, and whether thinking is adaptive."""
    properties = _properties(schema)
    for field in ("output_config", "reasoning"):
        effort = _properties(properties.get(field)).get("effort")
        words = effort.get("enum") if isinstance(effort, dict) else None
        if isinstance(words, list) and words:
            return field, tuple(str(word) for word in words), "thinking" in properties
    return "", (), False


def _properties(schema: Any) -> Mapping[str, Any]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def _positive(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None


# ------------------------------------------------------------------------------------------- names

_LONG_FORM: Final = re.compile(r"claude_(sonnet|opus|haiku)_(\d)(?:_(\d))?_\d{8}_v\d+_\d+")
_PREFIXES: Final = ("kiro/", "kiro-", "amazonq-")
_AUTO: Final = frozenset({"auto", "default", "auto-kiro"})


def resolve(name: str, listed: Sequence[Model]) -> Choice:
    """The model a client means.  An unknown name goes to the service as it is: never another model."""
    exact = {model.id: model for model in (*BUILTIN, *listed)}
    if name in exact:
        return Choice(exact[name])
    plain, thinking = _normalised(name)
    model = exact.get(plain) or Model(id=name.removesuffix("-thinking"), name=name, inputs=_CLAUDE_INPUTS)
    return Choice(model, Thinking(budget=DEFAULT_BUDGET) if thinking else None)


def _normalised(name: str) -> tuple[str, bool]:
    """The service's spelling of a client's name, and whether it asks for thinking."""
    name = name.strip().lower()
    if long := _LONG_FORM.fullmatch(name):
        family, major, minor = long.groups()
        return f"claude-{family}-{major}" + (f".{minor}" if minor else ""), False
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    name = name.removesuffix("[1m]").removesuffix("-agentic")
    thinking = name.endswith("-thinking")
    name = re.sub(r"-\d{8}$", "", name.removesuffix("-thinking"))
    name = re.sub(r"(?<=\d)-(?=\d)", ".", name)
    name = re.sub(r"^claude-(\d(?:\.\d)?)-(sonnet|opus|haiku)$", r"claude-\2-\1", name)
    return ("auto" if name in _AUTO else name.replace("-4.0", "-4")), thinking
