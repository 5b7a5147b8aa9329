"""Read requests of the Anthropic Messages API.

What is not known is ignored: clients send new fields with every release, and a refusal costs them a repeat
of the whole request.  Only what would silently lose part of a conversation is refused.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.conversation import (
    Block,
    Conversation,
    Document,
    Image,
    Message,
    Reasoning,
    RedactedReasoning,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from kiro_auth.surfaces.decoding import call_input, host_of, read, refused, schema_of, token_limit
from kiro_auth.surfaces.headers import kind_of, session_of

THREAD_REASON: Final = "thread_unsupported_request"
"""The word by which SDKs know to send the whole history instead."""

_BILLING: Final = "x-anthropic-billing-header:"
"""How Claude Code begins a system block of its own; it changes every turn and means nothing here."""
_MEDIA: Final = {
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/html": "html",
    "text/csv": "csv",
}
_DEFERRED: Final = "DeferredToolPlaceholder"
"""What Claude Code declares in place of tools that it has not loaded yet."""
_WORDS: Final = ("title", "source", "url", "query", "text", "content", "stdout", "stderr")
"""Where blocks of unknown types may hold words; the rest of them is identifiers and ciphers."""

_ROLES: Final[Mapping[str, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}

Blocks = str | list[dict[str, Any]]


class _Message(Struct):
    role: str
    content: Blocks
    output_config: Any = None


class _Tool(Struct):
    name: str = ""
    description: str | None = None
    input_schema: Any = None


class _ToolChoice(Struct):
    type: str = "auto"
    name: str | None = None


class _Thinking(Struct):
    type: str = "disabled"
    budget_tokens: int | None = None
    display: str | None = None


class _OutputConfig(Struct):
    effort: str | None = None


class _Metadata(Struct):
    user_id: str | None = None


class _UserId(Struct):
    """What Claude Code writes as JSON into `metadata.user_id`."""

    session_id: str


class _Request(Struct):
    model: str
    messages: list[_Message]
    system: Blocks | None = None
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None
    max_tokens: Any = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    stop_sequences: list[str] | None = None
    metadata: _Metadata | None = None
    stream: bool | None = None
    thread: Any = None


_decode_request: Final = msgspec.json.Decoder(_Request).decode
_decode_user_id: Final = msgspec.json.Decoder(_UserId).decode


def decode(body: bytes, headers: Mapping[str, str]) -> Conversation:
    """Read a request.  Header names are lower-case.  Raises TurnFailed (KA-REQUEST) naming the field."""
    return read(body, _decode_request, lambda request: _conversation(request, headers))


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
    return Conversation(
        model=request.model,
        messages=tuple(_messages(request.messages)),
        system=tuple(_system(request.system)),
        tools=tuple(_tools(request.tools or ())),
        tool_choice=_tool_choice(request.tool_choice),
        thinking=_thinking(request.thinking, _effort(request)),
        max_output=token_limit(request.max_tokens, "max_tokens"),
        stop_sequences=tuple(request.stop_sequences or ()),
        session=session_of(headers) or _user_session(request.metadata),
        kind=kind_of(headers),
        stream=bool(request.stream),
    )


def _system(system: Blocks | None) -> Iterator[str]:
    if isinstance(system, str):
        system = [{"type": "text", "text": system}]
    for block in system or ():
        text = block.get("text")
        if isinstance(text, str) and text.strip() and not text.startswith(_BILLING):
            yield text


def _tools(tools: Iterable[_Tool]) -> Iterator[Tool]:
    """Tools the client runs; one without a schema is for Anthropic's servers to run."""
    for number, tool in enumerate(tools):
        if tool.input_schema is None or tool.name == _DEFERRED:
            continue
        if not tool.name:
            raise refused(f"`tools.{number}.name` is missing.")
        yield Tool(tool.name, tool.description or "", schema_of(tool.input_schema))


def _tool_choice(choice: _ToolChoice | None) -> ToolChoice:
    match choice:
        case _ToolChoice(type="none"):
            return ToolChoice("none")
        case _ToolChoice(type="tool", name=name) if name:
            return ToolChoice(names=(name,))
        case _:
            return ToolChoice()


def _effort(request: _Request) -> str | None:
    """The effort that counts now: the last one that an instruction between turns set, else the request's.

    A client that changes it in mid-talk keeps the request's own as it was, so that a cached prefix stays
    good, and marks the change with an instruction that may be empty; the last mark is the effort of today
    (OpenCode 2.x: packages/ai/src/effort-updates.ts, 5518ecca, and protocols/anthropic-messages.ts).
    """
    for message in reversed(request.messages):
        match message:
            case _Message("system" | "developer", output_config={"effort": str(effort)}):
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


def _messages(messages: Iterable[_Message]) -> Iterator[Message]:
    """The turns; an instruction between them that is empty only changes the effort."""
    for number, message in enumerate(messages):
        decoded = _message(message, f"messages.{number}")
        if message.content or decoded.role != "system":
            yield decoded


def _message(message: _Message, where: str) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        roles = ", ".join(_ROLES)
        raise refused(f"`{where}.role` is {message.role[:40]!r}, but must be one of {roles}.")
    if isinstance(message.content, str):
        return Message(role, (Text(message.content),))
    blocks = [
        part
        for number, block in enumerate(message.content)
        for part in _blocks(block, f"{where}.content.{number}")
    ]
    return Message(role, tuple(blocks))


def _blocks(block: dict[str, Any], where: str) -> Iterator[Block]:
    match block:
        case {"type": "tool_use", "id": str(id_), "name": str(name)}:
            yield ToolCall(id_, name, call_input(block.get("input")))
        case {"type": "tool_use"}:
            raise refused(f"`{where}` needs an id and a name.")
        case {"type": "tool_result", "tool_use_id": str(id_)}:
            content = tuple(_contents(block.get("content"), f"{where}.content"))
            yield ToolResult(id_, content, is_error=block.get("is_error") is True)
        case {"type": "tool_result"}:
            raise refused(f"`{where}` needs a tool_use_id.")
        case {"type": "thinking", "thinking": str(text)}:
            signature = block.get("signature")
            yield Reasoning(text, signature if isinstance(signature, str) else "")
        case {"type": "redacted_thinking", "data": str(data)}:
            yield RedactedReasoning(data)
        case _:
            yield from _plain(block, where)


def _contents(content: Any, where: str) -> Iterator[Text | Image | Document]:
    """What stands inside another block: text, a list of blocks, or nothing."""
    if isinstance(content, str):
        yield Text(content)
    elif isinstance(content, list):
        for number, block in enumerate(content):
            yield from _plain(block, f"{where}.{number}")
    elif content is not None:
        raise refused(f"`{where}` must be text or a list of blocks.")


def _plain(block: Any, where: str) -> Iterator[Text | Image | Document]:
    """Blocks that may stand anywhere; of one that is not known, the words."""
    match block:
        case {"type": "text", "text": str(text)}:
            yield Text(text)
        case {"type": "text"}:
            raise refused(f"`{where}.text` must be text.")
        case {"type": "image" | "document", "source": {} as source}:
            yield from _media(block, source, f"{where}.source")
        case {"type": "image" | "document"}:
            raise refused(f"`{where}.source` is missing.")
        case {"type": "tool_reference", "tool_name": str(name)}:
            yield Text(f"Tool {name} is available.")
        case {"type": "server_tool_use" | "mcp_tool_use", "name": str(name)}:
            yield Text("\n".join((f"The tool {name} was used.", *_words_in(block.get("input")))))
        case {"type": str()}:
            if text := "\n".join(_words_in(block)):
                yield Text(text)
        case _:
            raise refused(f"`{where}.type` is missing.")


def _media(block: dict[str, Any], source: dict[str, Any], where: str) -> Iterator[Text | Image | Document]:
    kind, name = block["type"], str(block.get("title") or "document")
    match source:
        case {"type": "base64", "media_type": str(media_type), "data": str(data)} if kind == "image":
            yield Image(media_type.removeprefix("image/"), data)
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            yield Document(name, _MEDIA.get(media_type, media_type.rpartition("/")[2]), data)
        case {"type": "text", "data": str(data)}:
            yield Document(name, "txt", base64.b64encode(data.encode()).decode())
        case {"type": "content", "content": content}:
            yield from _contents(content, f"{where}.content")
        case {"type": "url", "url": str(url)}:
            yield Text(f"[The {kind} at {host_of(url)} was left out: this gateway fetches nothing.]")
        case {"type": "file"}:
            yield Text(f"[The {kind} was left out: it is kept elsewhere, and this gateway fetches nothing.]")
        case _:
            raise refused(f"`{where}` must be base64 data with its media_type.")


def _words_in(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield from _words_in(part)
    elif isinstance(content, dict):
        for name in _WORDS:
            yield from _words_in(content.get(name))
