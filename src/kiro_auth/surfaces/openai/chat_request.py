"""Read requests of the OpenAI Chat Completions API.

What is not known is ignored.  What would change the answer and cannot be done is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from kiro_auth.surfaces.decoding import call_input, read, refused, schema_of, token_limit
from kiro_auth.surfaces.headers import kind_of, session_of
from kiro_auth.surfaces.openai.custom_tools import custom_input, custom_tool
from kiro_auth.surfaces.openai.media import file_of, image_of

Content = str | list[dict[str, Any]] | None


class _Function(Struct):
    name: str
    arguments: Any = None


class _CustomCall(Struct):
    name: str
    input: Any = None


class _Call(Struct):
    id: str
    function: _Function | None = None
    custom: _CustomCall | None = None


class _Message(Struct):
    role: str
    content: Content = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    function_call: Any = None


class _ToolFunction(Struct):
    name: str
    description: str | None = None
    parameters: Any = None


class _CustomTool(Struct):
    name: str
    description: str | None = None
    format: Any = None


class _Tool(Struct):
    type: str = "function"
    function: _ToolFunction | None = None
    custom: _CustomTool | None = None


class _Named(Struct):
    name: str


class _Allowed(Struct):
    tools: list[_Tool] = []


class _ToolChoice(Struct):
    type: str = "function"
    function: _Named | None = None
    custom: _Named | None = None
    allowed_tools: _Allowed | None = None


class _ResponseFormat(Struct):
    type: str = "text"


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Request(Struct):
    model: str
    messages: list[_Message]
    tools: list[_Tool] | None = None
    tool_choice: str | _ToolChoice | None = None
    reasoning_effort: str | None = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    prompt_cache_key: str | None = None
    n: int | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None
    response_format: _ResponseFormat | None = None
    functions: list[Any] | None = None


_fields: Final = msgspec.json.Decoder(_Request).decode


def decode(body: bytes, headers: Mapping[str, str]) -> Conversation:
    """Read a request.  Header names are lower-case.  Raises TurnFailed (KA-REQUEST) naming the field."""
    return read(body, _fields, lambda request: _conversation(request, headers))


def _conversation(request: _Request, headers: Mapping[str, str]) -> Conversation:
    _check(request)
    lead = _leading_instructions(request.messages)
    turns = enumerate(request.messages[lead:], lead)
    return Conversation(
        model=request.model,
        system=tuple(text for message in request.messages[:lead] for text in _words(message.content)),
        messages=tuple(_message(message, f"messages.{number}") for number, message in turns),
        tools=tuple(_tools(request.tools or ())),
        tool_choice=_tool_choice(request.tool_choice),
        thinking=_thinking(request.reasoning_effort),
        max_output=_limit(request),
        stop_sequences=_stops(request.stop),
        session=session_of(headers) or request.prompt_cache_key or None,
        kind=kind_of(headers),
        stream=bool(request.stream),
        usage_in_stream=bool(request.stream_options and request.stream_options.include_usage),
    )


def _limit(request: _Request) -> int | None:
    """The newer name counts over the older one."""
    limit = token_limit(request.max_completion_tokens, "max_completion_tokens")
    return token_limit(request.max_tokens, "max_tokens") if limit is None else limit


def _check(request: _Request) -> None:
    if not request.messages:
        raise refused("`messages` is empty; it needs at least one message.")
    if request.n not in (None, 1):
        raise refused("`n` must be 1: Kiro gives one answer to a request.")
    if request.logprobs:
        raise refused("`logprobs` cannot be had: Kiro does not send them.")
    if request.modalities and set(request.modalities) != {"text"}:
        raise refused("`modalities` must be text: Kiro answers in nothing else.")
    if request.response_format and request.response_format.type != "text":
        raise refused("`response_format` must be text: Kiro cannot be held to a format. Use a tool instead.")
    if request.functions:
        raise refused("`functions` is not supported; send them as `tools`.")


def _leading_instructions(messages: Sequence[_Message]) -> int:
    """How many messages stand before the first turn."""
    for number, message in enumerate(messages):
        if message.role not in ("system", "developer"):
            return number
    return len(messages)


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    return tuple(text for text in ([stop] if isinstance(stop, str) else stop or ()) if text)


def _thinking(effort: str | None) -> Thinking | None:
    if effort is None:
        return None
    return Thinking(enabled=False) if effort == "none" else Thinking(effort=effort)


def _tools(tools: Iterable[_Tool]) -> Iterator[Tool]:
    """Tools the client runs; others are for OpenAI's servers to run."""
    for tool in tools:
        if tool.function is not None:
            schema = schema_of(tool.function.parameters)
            yield Tool(tool.function.name, tool.function.description or "", schema)
        elif tool.custom is not None:
            yield custom_tool(tool.custom.name, tool.custom.description or "", tool.custom.format)


def _tool_choice(choice: str | _ToolChoice | None) -> ToolChoice:
    match choice:
        case "none":
            return ToolChoice("none")
        case _ToolChoice(function=_Named(name)) | _ToolChoice(custom=_Named(name)):
            return ToolChoice(names=(name,))
        case _ToolChoice(allowed_tools=_Allowed(tools=tools)):
            names = tuple(tool.name for tool in _tools(tools))
            if not names:
                return ToolChoice("none")  # only tools that run elsewhere
            return ToolChoice(names=names)
        case _:
            return ToolChoice()


# ---------------------------------------------------------------------------------------- messages


def _message(message: _Message, where: str) -> Message:
    match message.role:
        case "user":
            return Message("user", tuple(_parts(message.content, f"{where}.content")))
        case "assistant":
            return Message("assistant", tuple(_said(message, where)))
        case "tool":
            if not message.tool_call_id:
                raise refused(f"`{where}.tool_call_id` is missing.")
            content = tuple(_parts(message.content, f"{where}.content"))
            return Message("user", (ToolResult(message.tool_call_id, content),))
        case "system" | "developer":
            return Message("system", tuple(Text(text) for text in _words(message.content)))
    roles = "system, developer, user, assistant or tool"
    raise refused(f"`{where}.role` is {message.role[:40]!r}, but must be {roles}.")


def _said(message: _Message, where: str) -> Iterator[Block]:
    """What the model said: reasoning, words, calls, in the order in which it says them."""
    if message.reasoning_content:
        yield Reasoning(message.reasoning_content)
    yield from _parts(message.content, f"{where}.content")
    if message.refusal:
        yield Text(message.refusal)
    if message.function_call is not None:
        raise refused(f"`{where}.function_call` is not supported; send it in `tool_calls`.")
    for number, call in enumerate(message.tool_calls or ()):
        yield _call(call, f"{where}.tool_calls.{number}")


def _call(call: _Call, where: str) -> ToolCall:
    if call.function is not None:
        return ToolCall(call.id, call.function.name, call_input(call.function.arguments))
    if call.custom is not None:
        return ToolCall(call.id, call.custom.name, custom_input(call.custom.input))
    raise refused(f"`{where}` needs a function or a custom tool.")


def _words(content: Content) -> Iterator[str]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for part in content or ():
        text = part.get("text")
        if isinstance(text, str) and text.strip():
            yield text


def _parts(content: Content, where: str) -> Iterator[Text | Image | Document]:
    if isinstance(content, str):
        yield Text(content)
        return
    for number, part in enumerate(content or ()):
        match part:
            case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
                yield Text(text)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                yield image_of(url, f"{where}.{number}.image_url.url")
            case {"type": "file", "file": {} as file}:
                yield file_of(file.get("filename"), file.get("file_data"), f"{where}.{number}.file")
            case {"type": "text" | "image_url" | "file" as kind}:
                raise refused(f"`{where}.{number}.{kind}` is missing or of another type.")
            case {"type": str(kind)}:
                yield Text(f"[A part of the type {kind[:40]} was left out: Kiro does not take it.]")
            case _:
                raise refused(f"`{where}.{number}.type` is missing.")
