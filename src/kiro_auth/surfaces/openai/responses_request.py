"""Read requests of the OpenAI Responses API.

This gateway keeps nothing between requests: a request must bring its whole history.  What is not known is
ignored; what would change the answer and cannot be done is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.conversation import (
    Block,
    Conversation,
    Document,
    Image,
    Message,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from kiro_auth.surfaces.decoding import call_input, read, refused, token_limit
from kiro_auth.surfaces.headers import kind_of, session_of
from kiro_auth.surfaces.openai.custom_tools import custom_input
from kiro_auth.surfaces.openai.media import file_of, image_of
from kiro_auth.surfaces.openai.responses_items import plain, reference
from kiro_auth.surfaces.openai.responses_reasoning import opened
from kiro_auth.surfaces.openai.responses_tools import qualified, tool_choice, tools_of, tools_within

_KEPT_NOWHERE: Final = "is not supported: nothing is kept here. Send the whole history."
_ROLES: Final[Mapping[str, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}


class _Reasoning(Struct):
    effort: str | None = None


class _Format(Struct):
    type: str = "text"


class _TextOptions(Struct):
    format: _Format | None = None


class _Request(Struct):
    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    reasoning: _Reasoning | None = None
    max_output_tokens: Any = None
    text: _TextOptions | None = None
    stream: bool | None = None
    prompt_cache_key: str | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    top_logprobs: int | None = None
    prompt: Any = None
    n: int | None = None


_fields: Final = msgspec.json.Decoder(_Request).decode


def decode(body: bytes, headers: Mapping[str, str]) -> Conversation:
    """Read a request.  Header names are lower-case.  Raises TurnFailed (KA-REQUEST) naming the field."""
    return read(body, _fields, lambda request: _conversation(request, headers))


def _conversation(request: _Request, headers: Mapping[str, str]) -> Conversation:
    _check(request)
    messages = list(_messages(request.input))
    lead = next((n for n, message in enumerate(messages) if message.role != "system"), len(messages))
    instructions = [request.instructions] if request.instructions else []
    instructions += [
        block.text for message in messages[:lead] for block in message.content if isinstance(block, Text)
    ]
    tools = tuple(tools_of([*(request.tools or ()), *tools_within(request.input)]))
    return Conversation(
        model=request.model,
        system=tuple(text for text in instructions if text.strip()),
        messages=tuple(messages[lead:]),
        tools=tools,
        tool_choice=tool_choice(request.tool_choice, tools),
        thinking=_thinking(request.reasoning),
        max_output=token_limit(request.max_output_tokens, "max_output_tokens"),
        session=session_of(headers) or request.prompt_cache_key or None,
        kind=kind_of(headers),
        stream=bool(request.stream),
    )


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
    if request.text and request.text.format and request.text.format.type != "text":
        raise refused("`text.format` must be text: Kiro cannot be held to a format. Use a tool instead.")
    if not request.input:
        raise refused("`input` is empty; it needs at least one item.")


def _thinking(reasoning: _Reasoning | None) -> Thinking | None:
    effort = reasoning.effort if reasoning else None
    if effort is None:
        return None
    return Thinking(enabled=False) if effort == "none" else Thinking(effort=effort)


# ------------------------------------------------------------------------------------------- items


def _messages(given: str | list[dict[str, Any]]) -> Iterator[Message]:
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


def _item(item: dict[str, Any], where: str) -> tuple[Role, list[Block]]:
    match item:
        case {"type": "function_call" | "custom_tool_call", "call_id": str(id_), "name": str(name)}:
            namespace = item.get("namespace")
            name = qualified(name, namespace if isinstance(namespace, str) else "")
            return "assistant", [ToolCall(id_, name, _arguments(item))]
        case {"type": "function_call_output" | "custom_tool_call_output", "call_id": str(id_)}:
            content = tuple(_parts(item.get("output"), f"{where}.output"))
            return "user", [ToolResult(id_, content)]
        case {"type": "reasoning"}:
            return "assistant", [*opened(item.get("encrypted_content"))]
        case {"type": "function_call" | "custom_tool_call"}:
            raise refused(f"`{where}` needs a call_id and a name.")
        case {"type": "function_call_output" | "custom_tool_call_output"}:
            raise refused(f"`{where}` needs a call_id.")
        case {"type": "item_reference"}:
            return "assistant", [*reference(item)]
        case {"type": "additional_tools" | "tool_search_output" as kind, "tools": list(tools)}:
            news = [Text(f"The tool {tool.name} is available.") for tool in tools_of(tools)]
            return "system" if kind == "additional_tools" else "user", [*news]
        case {"type": str(kind)} if kind != "message":
            side, plain_blocks = plain(kind, item, where)
            return side, [*plain_blocks]
        case {"role": str(role)} if role in _ROLES:
            return _ROLES[role], [*_parts(item.get("content"), f"{where}.content")]
        case {"role": str(role)}:
            roles = ", ".join(_ROLES)
            raise refused(f"`{where}.role` is {role[:40]!r}, but must be one of {roles}.")
        case {"type": "message"} | {"content": _}:
            raise refused(f"`{where}.role` is missing.")
        case {"id": str()}:
            return "assistant", [*reference(item)]  # one may have no type
        case _:
            raise refused(f"`{where}.type` is missing.")


def _arguments(item: Mapping[str, Any]) -> Mapping[str, Any]:
    if item["type"] == "custom_tool_call":
        return custom_input(item.get("input"))
    return call_input(item.get("arguments"))


def _parts(content: Any, where: str) -> Iterator[Text | Image | Document]:
    if isinstance(content, str):
        yield Text(content)
        return
    if content is not None and not isinstance(content, list):
        raise refused(f"`{where}` must be text or a list of parts.")
    for number, part in enumerate(content or ()):
        match part:
            case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
                yield Text(text)
            case {"type": "refusal", "refusal": str(text)}:
                yield Text(text)
            case {"type": "input_image", "image_url": str(url)}:
                yield image_of(url, f"{where}.{number}.image_url")
            case {"type": "input_image"}:
                yield Text(
                    "[The image was left out: it is kept elsewhere, and this gateway fetches nothing.]"
                )
            case {"type": "input_file"}:
                yield file_of(part.get("filename"), part.get("file_data"), f"{where}.{number}")
            case {"type": "input_text" | "output_text" | "text" | "refusal" as kind}:
                raise refused(f"`{where}.{number}` of the type {kind} has no text.")
            case {"type": str(kind)}:
                yield Text(f"[A part of the type {kind[:40]} was left out: Kiro does not take it.]")
            case _:
                raise refused(f"`{where}.{number}.type` is missing.")
