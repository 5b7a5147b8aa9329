"""The models: what the service lists, what clients call them, and how each is asked to think.

The live list counts; the table below stands in until it was asked, and fills what the list leaves out.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from kiro_auth.conversation import Thinking
from kiro_auth.failures import Failure
from kiro_auth.json_values import as_list, as_object, as_objects, as_words
from kiro_auth.kiro import checked

DEFAULT_BUDGET: Final = 16384
"""Tokens of thinking for a `-thinking` name that says no budget: `medium` of the original plugin."""
HIDDEN_TEXT: Final = "..."
HIDDEN_SIGNATURE: Final = ".KTR~~"
"""What stands in place of the reasoning of GPT models, and how the signature of such reasoning begins, which
is no base64 (reported in 2026)."""
NEUTRAL_CONTEXT: Final = 200_000
NEUTRAL_OUTPUT: Final = 64_000
"""Tokens, for a model whose row says none: what clients report of Claude 4.x (200k; 32k to 65k; 2026)."""

THINKING: Final = "-thinking"
"""The end of a name that asks a model to think, as the original plugin has it."""
_SHOWN: Final = 80
"""Characters of a name that is unknown."""

_CLAUDE_INPUTS: Final = frozenset({"text", "image", "document"})


class Model(Struct, frozen=True, kw_only=True):
    """One model.  `id` is the service's own name for it; limits are tokens.

    `efforts` are the words of its effort setting, in ascending order, and `effort_field` says where the
    setting stands (`output_config` or `reasoning`); both empty when it has none.  `adaptive` says that
    it takes `thinking.type: adaptive`, `can_rest` that it takes `disabled`; `displays` are the words of
    `thinking.display`.  `output_limits` are the least and the most that its setting `max_tokens` takes; None:
    it has none.  `tags` says that it thinks when the prompt asks for it (Claude 4.5 and older).  `rate` is
    credits per unit of work.  `default` says that the service names it as the one to begin with.
    """

    id: str
    name: str
    context_window: int = NEUTRAL_CONTEXT
    max_output: int = NEUTRAL_OUTPUT
    inputs: frozenset[str] = frozenset({"text"})
    efforts: tuple[str, ...] = ()
    effort_field: str = ""
    adaptive: bool = False
    can_rest: bool = False
    displays: tuple[str, ...] = ()
    output_limits: tuple[int, int] | None = None
    tags: bool = False
    rate: float | None = None
    default: bool = False

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
"""What is known without asking, for the time before the first list: ids, windows and efforts as open clients
reported them in 2026.  Claude 4.6 has a window of a million tokens since 2026-03-24."""

_KNOWN: Final = {model.id: model for model in BUILTIN}


def client_id(model: Model) -> str:
    """The name for clients: `claude-sonnet-4-5`, as the original plugin and Anthropic write it."""
    return model.id.replace(".", "-")


def parse(answer: Mapping[str, Any]) -> tuple[Model, ...]:
    """The models of a ListAvailableModels answer; rows without an id are left out."""
    rows = as_objects(answer.get("models"))[:_MOST]
    default = _default_id(answer)
    return tuple(_model(row, default) for row in rows if checked.identifier(row.get("modelId")))


def union(lists: Iterable[Iterable[Model]]) -> tuple[Model, ...]:
    """The models of several lists, first seen first; one that any list names as the default stays that."""
    found: dict[str, Model] = {}
    for model in itertools.chain.from_iterable(lists):
        if model.id not in found or model.default:
            found[model.id] = model
    return tuple(found.values())


def _default_id(answer: Mapping[str, Any]) -> str | None:
    """The id of the default model: the answer has it as a row or as the id, under one name or the other."""
    for name in ("defaultModel", "defaultModelId"):
        named = answer.get(name)
        if id_ := checked.identifier(as_object(named).get("modelId")) or checked.identifier(named):
            return id_
    return None


def _model(row: Mapping[str, Any], default: str | None) -> Model:
    id_ = row["modelId"]
    builtin = _KNOWN.get(id_) or Model(id=id_, name=id_)
    limits = as_object(row.get("tokenLimits"))
    fields = _properties(row.get("additionalModelRequestFieldsSchema"))
    thinking = _properties(fields.get("thinking"))
    effort_field, efforts = _efforts(fields)
    return Model(
        id=id_,
        name=checked.text(row.get("modelName")) or builtin.name,
        context_window=checked.count(limits.get("maxInputTokens")) or builtin.context_window,
        max_output=checked.count(limits.get("maxOutputTokens")) or builtin.max_output,
        inputs=_inputs(id_, as_list(row.get("supportedInputTypes"))) or builtin.inputs,
        efforts=efforts,
        effort_field=effort_field,
        adaptive="adaptive" in _words(thinking.get("type")),
        can_rest="disabled" in _words(thinking.get("type")),
        output_limits=_output_limits(fields.get("max_tokens")),
        displays=_words(thinking.get("display")),
        tags=not efforts and bool(_TAG_MODELS.match(id_)),
        rate=checked.amount(row.get("rateMultiplier")),
        default=id_ == default,
    )


_MOST: Final = 500
"""Models of a list, and words of a setting, that are read."""
_TAG_MODELS: Final = re.compile(r"claude-(?:\w+-)?(?:3\.\d|4|4\.[015])(?:$|-)")
"""Claude models from before the effort setting; they think when the prompt asks them to."""


def _inputs(id_: str, listed: Iterable[Any]) -> frozenset[str]:
    inputs = {kind.lower() for kind in listed if isinstance(kind, str)}
    if not inputs:
        return frozenset()
    inputs.add("text")
    # The list names TEXT and IMAGE only as far as seen (2026); which models take documents is
    # published nowhere.  That Claude models with images do is an assumption.
    if "image" in inputs and (id_.startswith("claude") or id_ == "auto"):
        inputs.add("document")
    return frozenset(inputs)


def _efforts(fields: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Where the model's own schema has an effort setting, and its words."""
    for field in ("output_config", "reasoning"):
        if words := _words(_properties(fields.get(field)).get("effort")):
            return field, words
    return "", ()


def _output_limits(schema: Any) -> tuple[int, int] | None:
    """The bounds of a `max_tokens` setting, as far as its schema names them."""
    if not isinstance(schema, dict):
        return None
    return checked.count(schema.get("minimum")) or 1, checked.count(schema.get("maximum")) or sys.maxsize


def _properties(schema: Any) -> Mapping[str, Any]:
    return as_object(as_object(schema).get("properties"))


def _words(schema: Any) -> tuple[str, ...]:
    return tuple(filter(checked.code, as_words(as_object(schema).get("enum"))[:_MOST]))


# ------------------------------------------------------------------------------------------- names

_LONG_FORM: Final = re.compile(r"claude_(sonnet|opus|haiku)_(\d)(?:_(\d))?_\d{8}_v\d+_\d+")
_OWN_PREFIXES: Final = ("kiro-", "amazonq-")
_BEDROCK: Final = re.compile(r"^(?:[a-z-]+\.){1,2}(?=[a-z])")
"""Region and maker before a model of Bedrock: `us.anthropic.claude-…`."""
_SUFFIX: Final = re.compile(
    r"(?:(?P<thinking>[-:]thinking)|\[1m\]|-1m|-agentic|[-@]\d{8}|[-@]latest|-v\d+:\d+"
    r"|-(?P<effort>minimal|low|medium|high|xhigh|max))$"
)
_MOST_SUFFIXES: Final = 5
_AUTO: Final = frozenset({"auto", "default", "auto-kiro"})


def resolve(name: str, listed: Sequence[Model]) -> Choice:
    """The model a client means.  An unknown name goes to the service as it is: never another model.

    The longest name that is known counts, so that a listed model named `…-max` stays itself; what is left of
    the client's name says how it is to think.
    """
    by_id = {model.id: model for model in (*BUILTIN, *listed)}
    by_name = {client_id(model): model for model in by_id.values()} | by_id
    if name in by_name:
        return Choice(by_name[name])
    lower = name.strip().lower()
    for written in dict.fromkeys((lower, _bare(lower))):
        for rest, thinking in _shorter(written):
            if model := by_name.get(rest) or by_id.get(_respelled(rest)):
                return Choice(model, thinking)
    return Choice(Model(id=name, name=name, inputs=_CLAUDE_INPUTS))


def unknown(name: str, listed: Sequence[Model]) -> Failure:
    """What to say of a name that means none of the models that are listed: the nearest one is told."""
    return Failure(
        code="KA-MODEL",
        message=f"The model {name[:_SHOWN]!r} is unknown, or not part of the account's plan or region.",
        next_step=f"The nearest that is listed is {_nearest(name, listed)}; `kiro-auth models` lists all.",
    )


def _nearest(name: str, listed: Sequence[Model]) -> str:
    import difflib  # for unknown ones alone

    *_, (wanted, _) = _shorter(_bare(name.strip().lower()))
    wanted = wanted.replace(".", "-")
    matcher = difflib.SequenceMatcher(b=wanted)

    def likeness(id_: str) -> tuple[float, list[int]]:
        matcher.set_seq1(id_)
        return matcher.ratio(), [int(number) for number in re.findall(r"\d+", id_)]  # the newest of several

    return max(map(client_id, listed), key=likeness)


def _bare(name: str) -> str:
    """A name without what says where it is from: a provider, an ARN, a region of Bedrock, an old prefix."""
    name = _BEDROCK.sub("", name.rpartition("/")[2])
    for prefix in _OWN_PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _shorter(name: str) -> Iterator[tuple[str, Thinking | None]]:
    """The name, then without each of its suffixes from the end on, and what those ask for."""
    thinking: Thinking | None = None
    yield name, thinking
    for _ in range(_MOST_SUFFIXES):
        suffix = _SUFFIX.search(name)
        if suffix is None:
            return
        name = name[: suffix.start()]
        thinking = _thinking(suffix, thinking)
        yield name, thinking


def _respelled(name: str) -> str:
    """A client's spelling as the service would have it."""
    if long := _LONG_FORM.fullmatch(name):
        family, major, minor = long.groups()
        return f"claude-{family}-{major}" + (f".{minor}" if minor else "")
    name = re.sub(r"(?<=\d)-(?=\d)", ".", name)
    name = re.sub(r"^claude-(\d(?:\.\d)?)-(sonnet|opus|haiku)$", r"claude-\2-\1", name)
    return "auto" if name in _AUTO else re.sub(r"-4\.0$", "-4", name)


def _thinking(suffix: re.Match[str], earlier: Thinking | None) -> Thinking | None:
    """What the suffix asks for; an effort says more than `-thinking`, and the last one counts."""
    if suffix["effort"] and not (earlier and earlier.effort):
        return Thinking(effort=suffix["effort"])
    return earlier or (Thinking(budget=DEFAULT_BUDGET) if suffix["thinking"] else None)
