"""Read requests of the OpenAI Responses API.

This gateway keeps no conversations: a request must bring its whole history.  What is not known is
ignored; what would change the answer and cannot be done is refused by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from kiro_auth.conversation import (
    Block,
    Conversation,
    Message,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    WebSearch,
)
from kiro_auth.surfaces.decoding import json_value, read, refused, token_limit
from kiro_auth.surfaces.formats import answer_format
from kiro_auth.surfaces.headers import kind_of, session_of
from kiro_auth.surfaces.history import message, without_instructions
from kiro_auth.surfaces.openai.responses_compaction import TRIGGER, summary_of, wants_compaction, with_request
from kiro_auth.surfaces.openai.responses_items import plain, reference
from kiro_auth.surfaces.openai.responses_own_calls import own_call
from kiro_auth.surfaces.openai.responses_reasoning import opened
from kiro_auth.surfaces.openai.responses_searches import search_of
from kiro_auth.surfaces.openai.responses_tools import (
    entries_of,
    entries_within,
    names_of,
    qualified,
    tool_choice,
)
from kiro_auth.surfaces.parts import call, result
from kiro_auth.surfaces.prefixes import Listed, Prefixes
from kiro_auth.surfaces.thinking import ThinkingConfig, thinking_of
from kiro_auth.surfaces.tools.choice import wants_one_call
from kiro_auth.surfaces.tools.offered import offered

_TURNS: Final = (
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
)
"""The types of items that are nothing but a part of a turn."""
_KEPT_NOWHERE: Final = "is not supported: nothing is kept here. Send the whole history."


class _Reasoning(Struct):
    effort: str | None = None


class _TextOptions(Struct):
    format: Any = None


class _Request(Struct):
    model: str
    input: str | list[Any] | None = None
    messages: Any = None
    instructions: str | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: Any = None
    reasoning: _Reasoning | None = None
    thinking_config: ThinkingConfig | None = field(default=None, name="thinkingConfig")
    max_output_tokens: Any = None
    text: _TextOptions | None = None
    stream: bool | None = None
    prompt_cache_key: str | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    max_tool_calls: Any = None
    top_logprobs: int | None = None
    prompt: Any = None
    n: int | None = None


class _Pieces(_Request):
    input: str | list[msgspec.Raw] | None = None


_fields: Final = msgspec.json.Decoder(_Request).decode


def decode(body: bytes, headers: Mapping[str, str], prefixes: Prefixes | None = None) -> Conversation:
    """Read a request.  Header names are lower-case.  Raises TurnFailed (KA-REQUEST) naming the field."""

    def fields(body: bytes) -> _Request:
        return prefixes.read(body, _fields, _LISTED) if prefixes else _fields(body)

    return read(body, fields, lambda request: _conversation(request, headers))


def decode_compaction(
    body: bytes, headers: Mapping[str, str], prefixes: Prefixes | None = None
) -> Conversation:
    """Read a request of the address that compacts a history.  Raises TurnFailed as `decode` does."""
    del prefixes  # a history that is compacted does not come again
    return read(body, _fields, lambda request: _conversation(request, headers, sealed=True))


def _conversation(request: _Request, headers: Mapping[str, str], *, sealed: bool = False) -> Conversation:
    _check(request)
    items = request.input or ""
    system, turns = without_instructions(list(_messages(items)))
    instructions = (request.instructions,) if request.instructions and request.instructions.strip() else ()
    entries = itertools.chain(entries_of(request.tools or (), "tools"), entries_within(items))
    offer, sealed = offered(entries), sealed or wants_compaction(items)
    choice = tool_choice(request.tool_choice, offer.tools)
    form = answer_format(request.text and request.text.format, "text.format")
    if sealed:  # the summary is no answer: what the client asks of those is not asked of it
        choice, form = ToolChoice("none"), None
    return Conversation(
        model=request.model,
        system=(*instructions, *system, *offer.notes()),
        messages=with_request(turns) if sealed else turns,
        tools=offer.tools,
        tool_choice=choice,
        one_call=wants_one_call(request.tool_choice, request.parallel_tool_calls),
        web_search=_bounded(offer.search_for(choice), request.max_tool_calls),
        not_offered=offer.missing,
        sealed=sealed,
        answer_format=form,
        thinking=thinking_of(request.thinking_config, _thinking(request.reasoning)),
        max_output=token_limit(request.max_output_tokens, "max_output_tokens"),
        session=session_of(headers, request.prompt_cache_key),
        kind="compaction" if sealed else kind_of(headers),
        stream=bool(request.stream),
    )


def _bounded(search: WebSearch | None, calls: Any) -> WebSearch | None:
    """The search within the calls that the client allows of tools which the server runs."""
    if search is None or not isinstance(calls, int) or calls < 1:
        return search
    return msgspec.structs.replace(search, max_uses=calls)


def _check(request: _Request) -> None:
    if request.previous_response_id is not None:
        raise refused(f"`previous_response_id` {_KEPT_NOWHERE}")
    if request.conversation is not None:
        raise refused(f"`conversation` {_KEPT_NOWHERE}")
    if request.prompt is not None:
        raise refused("`prompt` is not supported: nothing is kept here. Send `instructions` and `input`.")
    if request.n not in (None, 1):
        raise refused("`n` must be 1: Kiro gives one answer to a request.")
    if request.background:
        raise refused("`background` is not supported; ask for a stream instead.")
    if request.top_logprobs:
        raise refused("`top_logprobs` cannot be had: Kiro does not send them.")
    if request.messages is not None:
        raise refused("`messages` is a field of Chat Completions: send it to /v1/chat/completions.")
    if not request.input:
        raise refused("`input` is empty; it needs at least one item.")


def _thinking(reasoning: _Reasoning | None) -> Thinking | None:
    effort = reasoning.effort if reasoning else None
    if effort is None:
        return None
    return Thinking(enabled=False) if effort == "none" else Thinking(effort=effort)


# ------------------------------------------------------------------------------------------- items


def _messages(given: str | list[Any]) -> Iterator[Message]:
    """The items as turns; neighbours of one side are one turn, as the model said or was told them."""
    if isinstance(given, str):
        yield Message("user", (Text(given),))
        return
    role: Role | None = None
    blocks: list[Block] = []
    for number, item in enumerate(given):
        side, item_blocks = _item(item, f"input.{number}")
        if not item_blocks:
            continue
        # Two messages of a person stay two; what the model said in several items was one turn.
        if side != role or side != "assistant":
            if role is not None:
                yield Message(role, tuple(blocks))
            role, blocks = side, []
        blocks += item_blocks
    if role is not None:
        yield Message(role, tuple(blocks))


def _kept_for(written: msgspec.Raw) -> Any:
    """What of an item is kept for later requests: itself, where it may be more than a turn of one side."""
    item = json_value(written)
    if not isinstance(item, dict) or item.get("type", "message") not in _TURNS:
        return item
    side, blocks = _item(item, "input")
    return Message(side, tuple(blocks)) if blocks and side != "system" else item


_LISTED: Final = Listed("input", msgspec.json.Decoder(_Pieces).decode, _kept_for)


def _item(item: Any, where: str) -> tuple[Role, list[Block]]:
    if isinstance(item, Message):  # it was read before
        return item.role, [*item.content]
    if isinstance(item, dict):
        if (own := own_call(item)) is not None:
            return own
        if (searched := search_of(item)) is not None:
            return "assistant", searched
        if (summary := summary_of(item)) is not None:
            return "user", [summary]
    match item:
        case {"type": "function_call" | "custom_tool_call"}:
            return "assistant", [_call(item)]
        case {"type": "function_call_output" | "custom_tool_call_output"}:
            return "user", [result(item)]
        case {"type": "reasoning"}:
            return "assistant", [*opened(item.get("encrypted_content"))]
        case {"type": "item_reference"}:
            return "assistant", [*reference(item)]
        case {"type": kind} if kind == TRIGGER:
            return "user", []
        case {"type": "additional_tools" | "tool_search_output" as kind, "tools": list(tools)}:
            news = [Text(f"The tool {name} is available.") for name in names_of(tools)]
            return "system" if kind == "additional_tools" else "user", [*news]
        case {"type": str(kind)} if kind != "message":
            side, plain_blocks = plain(kind, item, where)
            return side, [*plain_blocks]
        case {"id": str()} if not {"type", "role", "content"} & item.keys():
            return "assistant", [*reference(item)]  # one may have no type
    turn = message(item, where)
    return turn.role, [*turn.content]


def _call(item: Mapping[str, Any]) -> Block:
    """A call by the name that is unique among all tools."""
    tool_call, namespace = call(item), item.get("namespace")
    if not isinstance(tool_call, ToolCall) or not isinstance(namespace, str):
        return tool_call
    return msgspec.structs.replace(tool_call, name=qualified(tool_call.name, namespace))
