"""Read requests of the Anthropic Messages API.

What is not known is ignored: clients send new fields with every release, and a refusal costs them a repeat
of the whole request.  Only what would silently lose part of a conversation is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from kiro_auth.conversation import AnswerFormat, Conversation, Message, Text, Thinking
from kiro_auth.surfaces.anthropic.usual import UNUSUAL, UsualMessage, may_stay, usual_message
from kiro_auth.surfaces.decoding import read, refused, stop_sequences, token_limit
from kiro_auth.surfaces.formats import answer_format
from kiro_auth.surfaces.headers import kind_of, session_of
from kiro_auth.surfaces.history import kept_for, message
from kiro_auth.surfaces.parts import contents
from kiro_auth.surfaces.prefixes import LEAST_BYTES, Listed, Prefixes
from kiro_auth.surfaces.thinking import ThinkingConfig, thinking_of
from kiro_auth.surfaces.tools.choice import tool_choice, wants_one_call
from kiro_auth.surfaces.tools.offered import Entry, entries, offered

THREAD_REASON: Final = "thread_unsupported_request"
"""The word by which SDKs know to send the whole history instead."""

_BILLING: Final = "x-anthropic-billing-header:"
"""How Claude Code begins a system block of its own; it changes every turn and means nothing here."""
_DEFERRED: Final = "DeferredToolPlaceholder"
"""What Claude Code declares in place of tools that it has not loaded yet."""


class _Thinking(Struct):
    type: str = "disabled"
    budget_tokens: int | None = None
    display: str | None = None


class _OutputConfig(Struct):
    effort: str | None = None
    format: Any = None


class _Metadata(Struct):
    user_id: str | None = None


class _UserId(Struct):
    """What Claude Code writes as JSON into `metadata.user_id`."""

    session_id: str


class _Request(Struct):
    model: str
    messages: list[Any]
    system: Any = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    max_tokens: Any = None
    thinking: _Thinking | None = None
    thinking_config: ThinkingConfig | None = field(default=None, name="thinkingConfig")
    output_config: _OutputConfig | None = None
    output_format: Any = None
    stop_sequences: list[str] | None = None
    metadata: _Metadata | None = None
    stream: bool | None = None
    mcp_servers: Any = None
    thread: Any = None


class _Pieces(_Request):
    messages: list[msgspec.Raw]


class _Usual(_Request):
    messages: list[UsualMessage]


_decode_any: Final = msgspec.json.Decoder(_Request).decode
_decode_usual: Final = msgspec.json.Decoder(_Usual).decode


def _decode_request(body: bytes) -> _Request:
    if len(body) >= LEAST_BYTES and may_stay(body):
        with contextlib.suppress(*UNUSUAL):
            request = _decode_usual(body)
            return replace(request, messages=[each.read() for each in request.messages])
    return _decode_any(body)


def _kept_for(written: msgspec.Raw) -> Any:
    return usual_message(written) or kept_for(written)


_LISTED: Final = Listed("messages", msgspec.json.Decoder(_Pieces).decode, _kept_for)
_decode_user_id: Final = msgspec.json.Decoder(_UserId).decode


def decode(body: bytes, headers: Mapping[str, str], prefixes: Prefixes | None = None) -> Conversation:
    """Read a request.  Header names are lower-case.  Raises TurnFailed (KA-REQUEST) naming the field."""

    def fields(body: bytes) -> _Request:
        return prefixes.read(body, _decode_request, _LISTED) if prefixes else _decode_request(body)

    return read(body, fields, lambda request: _conversation(request, headers))


def decode_count(body: bytes, headers: Mapping[str, str]) -> Conversation:
    """Read a request to count tokens: the same, though it says nothing of the answer."""
    return decode(body, headers)


def encode_count(tokens: int) -> bytes:
    """The answer to a request to count tokens."""
    return msgspec.json.encode({"input_tokens": tokens})


# --------------------------------------------------------------------------------------- the parts


def _conversation(request: _Request, headers: Mapping[str, str]) -> Conversation:
    if request.thread is not None:
        raise refused("`thread` is not supported; send the whole history.", THREAD_REASON)
    if not request.messages:
        raise refused("`messages` is empty; it needs at least one message.")
    system, pictures = _system(request.system)
    offer = offered(_entries(request.tools or ()), _servers(request.mcp_servers))
    choice = tool_choice(request.tool_choice, offer.tools)
    return Conversation(
        model=request.model,
        messages=(*pictures, *_messages(request.messages)),
        system=(*system, *offer.notes()),
        tools=offer.tools,
        tool_choice=choice,
        one_call=wants_one_call(request.tool_choice),
        web_search=offer.search_for(choice),
        not_offered=offer.missing,
        answer_format=_format(request),
        thinking=thinking_of(request.thinking_config, _thinking(request.thinking, _effort(request))),
        max_output=token_limit(request.max_tokens, "max_tokens"),
        stop_sequences=stop_sequences(request.stop_sequences, "stop_sequences"),
        session=session_of(headers, _user_session(request.metadata)),
        kind=kind_of(headers),
        stream=bool(request.stream),
    )


def _system(system: Any) -> tuple[tuple[str, ...], list[Message]]:
    """The instructions, and a turn for what stands in them besides words."""
    blocks = [*contents(system)]
    words = [block.text for block in blocks if isinstance(block, Text)]
    more = tuple(block for block in blocks if not isinstance(block, Text))
    instructions = tuple(text for text in words if text.strip() and not text.startswith(_BILLING))
    return instructions, [Message("system", more)] if more else []


def _format(request: _Request) -> AnswerFormat | None:
    """The format of the answer; SDKs of 2025 send it in a field of its own."""
    config = request.output_config
    if config is not None and config.format is not None:
        return answer_format(config.format, "output_config.format")
    return answer_format(request.output_format, "output_format")


def _entries(tools: Iterable[Any]) -> Iterator[Entry]:
    for number, tool in enumerate(tools):
        match tool:
            case {"name": str(name)} if name == _DEFERRED:
                continue
            case _:
                yield from entries(tool, f"tools.{number}")


def _servers(servers: Any) -> Iterator[str]:
    """The servers that Anthropic's would ask for tools."""
    for server in servers if isinstance(servers, list) else ():
        match server:
            case {"name": str(name)}:
                yield f"the MCP server {name[:60]}"
            case _:
                yield "an MCP server"


def _effort(request: _Request) -> str | None:
    """The effort that counts now: the last one that an instruction between turns set, else the request's.

    A client that changes it in mid-talk keeps the request's own as it was, so that a cached prefix stays
    good, and marks the change with an instruction that may be empty; the last mark is the effort of today
    (OpenCode 2.x: packages/ai/src/effort-updates.ts, 5518ecca, and protocols/anthropic-messages.ts).
    """
    for given in reversed(request.messages):
        match given:
            case {"output_config": {"effort": str(effort)}, "role": "system" | "developer"}:
                return effort
    return request.output_config.effort if request.output_config else None


def _thinking(thinking: _Thinking | None, effort: str | None) -> Thinking | None:
    if thinking is None:
        return Thinking(effort=effort) if effort else None
    return Thinking(
        enabled=thinking.type != "disabled",
        budget=thinking.budget_tokens if thinking.type == "enabled" else None,
        effort=effort,
        visible=thinking.display != "omitted",
    )


def _user_session(metadata: _Metadata | None) -> str | None:
    user_id = metadata.user_id if metadata else None
    if not user_id:
        return None
    try:
        return _decode_user_id(user_id).session_id or None
    except (msgspec.MsgspecError, RecursionError):
        return user_id


# ---------------------------------------------------------------------------------------- messages


def _messages(messages: Iterable[Any]) -> Iterator[Message]:
    """The turns; an instruction between them that is empty only changes the effort."""
    for number, given in enumerate(messages):
        match given:
            case Message():
                decoded = given
            case _:
                decoded = message(given, f"messages.{number}")
        if decoded.role != "system" or any(block != Text("") for block in decoded.content):
            yield decoded
