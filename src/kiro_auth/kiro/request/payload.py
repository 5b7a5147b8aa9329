"""Build the service's body for one turn.

The service has no system field, no tool choice, no form of answers and no sampling settings.  The system
prompt is put before the first user's words, byte for byte the same in every turn of a conversation: the
service caches by prefix, and binds the signatures of reasoning to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from kiro_auth.conversation import (
    Conversation,
    Text,
    Thinking,
)
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro.models import Model
from kiro_auth.kiro.request.attachments import Attachments
from kiro_auth.kiro.request.demands import calls_in_words, choice_in_words, form_in_words
from kiro_auth.kiro.request.entries import Entries
from kiro_auth.kiro.request.estimate import input_parts
from kiro_auth.kiro.request.repair import GO_ON, Repair, repaired
from kiro_auth.kiro.request.replays import Part
from kiro_auth.kiro.request.thinking import (
    asks_for_tags,
    model_fields,
    output_fields,
    tags,
)
from kiro_auth.kiro.request.tools import Tools
from kiro_auth.kiro.uuids import uuid_of, uuid_of_session
from kiro_auth.reply_usage import InputParts

_NOTHING: Final[frozenset[Part]] = frozenset()


class Options(Struct, frozen=True, kw_only=True):
    """What the body depends on besides the conversation: the model, the endpoint, the account's profile.

    `without` names what is left out, after the service refused it.
    """

    model: Model
    protocol: str
    origin: str
    profile_arn: str | None
    thinking: Thinking | None = None
    without: frozenset[Part] = frozenset()
    cache_points: bool = False
    """Whether to mark up to where the service may cache: behind the first and the last message of the
    history, as is reported of the official CLI (2026)."""


class Payload(Struct, frozen=True):
    """The body, and what is needed to read the answer.

    `tool_names` maps names as sent to the client's own where they differ.  `input_tokens` is an estimate,
    and so are its `input_parts`.
    `tag_reasoning` says that the model was asked to put its reasoning into tags.  `prefill` are the words of
    the model's own that it was asked to go on from.  `output_limit` is where the answer has to be cut here,
    in tokens, as Kiro was not told of the client's limit or has a higher one.  `held` are the parts that the
    body could do without.
    """

    body: bytes
    tool_names: Mapping[str, str]
    repairs: tuple[Repair, ...]
    input_tokens: int
    tag_reasoning: bool
    input_parts: InputParts = InputParts(0, 0, 0, 0)
    prefill: str = ""
    output_limit: int | None = None
    held: frozenset[Part] = _NOTHING


class Place(Protocol):
    """What a body depends on of where it is sent to: the dialect, and what is said of the client."""

    @property
    def protocol(self) -> str:
        """`rest` or `rpc`."""

    @property
    def origin(self) -> str:
        """The kind of client that the service wants to be told."""


def builder(
    conversation: Conversation,
    *,
    model: Model,
    profile_arn: str | None,
    thinking: Thinking | None,
    without: frozenset[Part],
    cache_points: bool = False,
) -> Callable[[Place], Payload]:
    """How to build the body for whichever place it is sent to."""

    def build_for(place: Place) -> Payload:
        options = Options(
            model=model,
            protocol=place.protocol,
            origin=place.origin,
            profile_arn=profile_arn,
            thinking=thinking,
            without=without,
            cache_points=cache_points,
        )
        return build(conversation, options)

    return build_for


def build(conversation: Conversation, options: Options) -> Payload:
    """The body for any conversation; the input is not changed.

    Raises TurnFailed (KA-REQUEST) if its JSON is nested too deeply to be gone through, or written: what could
    be read may be, as that was done with fewer calls under way.
    """
    try:
        return _Builder(conversation, options).build()
    except RecursionError as error:
        message = "The request is nested too deeply."
        raise TurnFailed(Failure(code="KA-REQUEST", message=message)) from error


class _Builder:
    def __init__(self, conversation: Conversation, options: Options) -> None:
        self._conversation = conversation
        self._options = options
        self._messages, repairs = repaired(conversation.messages)
        self._repairs = list(repairs)
        self._tools = Tools(self._repairs.append)
        self._attachments = Attachments(
            self._messages, options.model.inputs, options.without, self._repairs.append
        )
        self._entries = Entries(
            options.model,
            options.origin,
            options.without,
            self._tools,
            self._attachments,
            self._repairs.append,
        )
        self._held: set[Part] = set()

    def build(self) -> Payload:
        model, thinking = self._options.model, self._options.thinking
        specifications, moved = self._tools.declared(self._conversation, self._messages)
        form = form_in_words(self._conversation.answer_format)
        calls = calls_in_words(self._conversation)
        limit = self._conversation.max_output
        system = [*tags(thinking, model, limit), *self._conversation.system, *moved, *form, *calls]
        entries = self._entries.of(self._messages)
        first = entries[0]["userInputMessage"]
        instructions = "\n\n".join(system)
        if system:
            first["content"] = f"{instructions}\n\n{first['content']}"
        current = entries[-1]["userInputMessage"]
        if demand := choice_in_words(self._conversation, self._tools.alias):
            current["content"] = f"{current['content']}\n\n{demand}" if current["content"] else demand
        tools = _encoded(specifications) if specifications else b""
        if specifications:
            current.setdefault("userInputMessageContext", {})["tools"] = msgspec.Raw(tools)
        if self._options.cache_points:
            _mark_for_cache(entries)
        body: dict[str, Any] = {"conversationState": self._state(entries)}
        if self._options.profile_arn:
            body["profileArn"] = self._options.profile_arn
        if self._options.protocol == "rpc":
            body["agentMode"] = "vibe"
        fields = self._fields()
        if fields:
            body["additionalModelRequestFields"] = fields
        encoded = _encoded(body)
        text = len(encoded) - self._attachments.characters
        parts = input_parts(text, len(tools), len(instructions), self._attachments.tokens)
        return Payload(
            body=encoded,
            tool_names=self._tools.client_names,
            repairs=tuple(self._repairs),
            input_tokens=sum(msgspec.structs.astuple(parts)),
            input_parts=parts,
            tag_reasoning=asks_for_tags(thinking, model),
            prefill=self._prefill(),
            output_limit=None if limit is None or fields.get("max_tokens", limit + 1) <= limit else limit,
            held=frozenset(self._held | self._entries.held | self._attachments.held) or _NOTHING,
        )

    def _state(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        id_ = self._conversation_id()
        return {
            "conversationId": id_,
            "agentContinuationId": id_,
            "agentTaskType": "vibe",
            "chatTriggerType": "MANUAL",
            "currentMessage": entries[-1],
            "history": entries[:-1],
        }

    def _fields(self) -> dict[str, Any]:
        """The settings that the model's own schema has, unless it refused to take any."""
        model = self._options.model
        thinking = model_fields(self._options.thinking, model)
        fields = {**thinking, **output_fields(self._conversation.max_output, model)}
        if fields and "fields" in self._options.without:
            self._repair("the settings of thinking and length were left out", "request", "Kiro refused them")
            return {}
        if fields:
            self._held.add("fields")
        return fields

    def _prefill(self) -> str:
        """The words at the end that are the model's own, and unfinished."""
        if len(self._messages) == 1 or self._messages[-1].content != (Text(GO_ON),):
            return ""
        return "\n\n".join(block.text for block in self._messages[-2].content if isinstance(block, Text))

    def _conversation_id(self) -> str:
        """The same for every turn: from the client's session, else from how the conversation begins."""
        if self._conversation.session is not None:
            return uuid_of_session(self._conversation.session)
        first = [block.text for block in self._messages[0].content if isinstance(block, Text)]
        return uuid_of("\n".join([*self._conversation.system, *first]))

    def _repair(self, what: str, where: str, why: str) -> None:
        self._repairs.append(Repair(what, where, why))


def _mark_for_cache(entries: list[dict[str, Any]]) -> None:
    for entry in (entries[0], *entries[-2:-1]):
        for message in entry.values():
            message["cachePoint"] = {"type": "default"}


# ----------------------------------------------------------------------------------------- encoding


def _encoded(body: Any) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # lone surrogates, which the service refuses too
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=msgspec.json.decode)
        return text.encode("utf-8", "ignore")
