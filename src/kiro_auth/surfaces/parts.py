"""Content as any of the three APIs writes it: text, pictures, files, calls, results, reasoning.

Clients mix the APIs: Anthropic's blocks stand in Chat Completions, and histories go from one API to another.
So every part is read as what it is, wherever it stands.  What is not understood is kept, as JSON that the
model can read: an old message that is refused ends a conversation for good.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from kiro_auth.conversation import (
    Block,
    Document,
    Image,
    Reasoning,
    RedactedReasoning,
    Text,
    ToolCall,
    ToolResult,
)
from kiro_auth.surfaces.decoding import call_input, custom_input
from kiro_auth.surfaces.media import file_of, from_source, image_of, left_out
from kiro_auth.surfaces.tools.search_blocks import search_call, search_result

Content: TypeAlias = Text | Image | Document

_CALLS: Final = ("tool_use", "function_call", "custom_tool_call")
_RARE: Final = ("thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result")
_RESULTS: Final = ("tool_result", "function_call_output", "custom_tool_call_output")
_NESTED: Final = (("function", "arguments", call_input), ("custom", "input", custom_input))
"""Fields that hold a call, the field in them that holds its input, and how that is read."""
_NAMELESS: Final = "A call without the name of its tool:"
_WORDS: Final = ("title", "source", "url", "query", "text", "content")
"""Where the blocks of Anthropic's own tools hold words; the rest of them is identifiers and ciphers."""
_CIPHERS: Final = ("encrypted_content", "fingerprint")
"""Fields that say nothing to a model."""
_BESIDE: Final = frozenset(
    {
        *("type", "role", "id", "tool_use_id", "call_id", "tool_call_id", "name", "status", "is_error"),
        *("annotations", "cache_control", "output_config"),
    }
)
"""Fields that stand beside the words of a message or result."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/=_-]{1000,}")
_LEFT_OUT: Final = "[left out]"


def blocks(content: Any) -> Iterator[Block]:
    """The blocks of a message's content: text, a part, a list of both, or nothing."""
    for part in content if isinstance(content, list) else (content,):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(text := part.get("text"), str):
            yield Text(text)  # as nearly all are
        elif kind in _CALLS:
            yield call(part)
        elif kind in _RESULTS:
            yield result(part)
        elif kind in _RARE:
            yield from _rare(part)
        else:
            yield from _plain(part)


def _rare(part: Any) -> Iterator[Block]:
    """Reasoning, and searches of the web."""
    match part:
        case {"type": "thinking", "thinking": str(text)}:
            signature = part.get("signature")
            yield Reasoning(text, signature if isinstance(signature, str) else "")
        case {"type": "redacted_thinking", "data": str(data)}:
            yield RedactedReasoning(data)
        case {"type": "server_tool_use", "name": "web_search", "id": str(id_)}:
            yield search_call(id_, part)
        case {"type": "web_search_tool_result", "tool_use_id": str(id_)}:
            yield search_result(id_, part.get("content"))
        case _:
            yield from _plain(part)


def contents(content: Any) -> Iterable[Content]:
    """What may stand inside a result: the same without calls, results and reasoning."""
    if isinstance(content, list):
        return (block for part in content for block in _plain(part))
    return (Text(content),) if isinstance(content, str) else _plain(content)


def call(given: Any) -> ToolCall | Text:
    """An earlier call, in the shape of any API.  One that names no tool is kept as text."""
    if not isinstance(given, dict):
        return kept(given, _NAMELESS)
    for field, arguments, read in _NESTED:
        inner = given.get(field)
        if inner and isinstance(inner, dict) and isinstance(name := inner.get("name"), str) and name:
            return ToolCall(call_id(given, "id"), name, read(inner.get(arguments)))
    name, kind = given.get("name"), given.get("type")
    if not isinstance(name, str) or not name:
        return kept(given, _NAMELESS)
    if kind == "custom_tool_call":
        return ToolCall(call_id(given, "call_id"), name, custom_input(given.get("input")))
    id_ = call_id(given, "call_id" if kind == "function_call" else "id")
    return ToolCall(id_, name, call_input(_first(given, "arguments", "input")))


def result(given: Mapping[str, Any]) -> ToolResult:
    """What a call gave back, in the shape of any API."""
    id_ = call_id(given, "tool_use_id") or call_id(given, "call_id") or call_id(given, "tool_call_id")
    content = _first(given, "content", "output")
    if content is None:
        content = unplaced(given)
    return ToolResult(id_, tuple(contents(content)), is_error=given.get("is_error") is True)


def unplaced(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a message or result that says nothing in its place for words says elsewhere."""
    return {name: value for name, value in given.items() if value and name not in _BESIDE}


def call_id(given: Mapping[str, Any], field: str) -> str:
    """The id in this field; empty where there is none, as some providers have it."""
    value = given.get(field)
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, dict | list | bool) else str(value)


def kept(value: Any, heading: str) -> Text:
    """What Kiro has no shape for, as JSON under a heading."""
    return Text(f"{heading}\n{json.dumps(_legible(value), ensure_ascii=False)}")


# ---------------------------------------------------------------------------------------------- parts


def _first(given: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that holds something."""
    for name in names:
        if (value := given.get(name)) is not None:
            return value
    return None


def _plain(part: Any) -> Iterator[Content]:
    if isinstance(part, str):
        yield Text(part)
    elif isinstance(part, dict) and part:
        yield from _typed(part)
    elif part is not None and part != {}:
        yield kept(part, "A part of a message:")


def _typed(part: dict[str, Any]) -> Iterator[Content]:
    match part:
        case {"type": "text" | "input_text" | "output_text", "text": str(text)}:
            yield Text(text)
        case {"type": "refusal", "refusal": str(text)}:
            yield Text(text)
        case {"type": "text" | "input_text" | "output_text"} if not unplaced(part):
            pass
        case {"type": "image_url" | "input_image"}:
            url = part.get("image_url")
            yield image_of(url.get("url") if isinstance(url, dict) else url)
        case {"type": "file", "file": {} as file}:
            yield file_of(file.get("filename"), file.get("file_data"))
        case {"type": "input_file"}:
            yield file_of(part.get("filename"), part.get("file_data"))
        case {"type": "image" | "document" as kind, "source": {} as source}:
            yield from _sourced(kind, part, source)
        case {"type": "image", "data": str(data)}:  # of tools that speak MCP
            yield Image(str(part.get("mimeType")).rpartition("/")[2], data)
        case {"type": "tool_reference", "tool_name": str(name)}:
            yield Text(f"Tool {name} is available.")
        case {"type": str(kind)} if "audio" in kind or "video" in kind:
            yield left_out(f"part of the type {kind[:40]}", "Kiro does not take it")
        case _:
            yield from _of_servers(part)


def _sourced(kind: str, part: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[Content]:
    if source.get("type") == "content":
        yield from contents(source.get("content"))
    else:
        yield from_source(kind, str(part.get("title") or "document"), source)


def _of_servers(part: dict[str, Any]) -> Iterator[Content]:
    """Blocks of tools that Anthropic's servers ran, as far as they are words; anything else as it stands."""
    words: list[str] = []
    match part:
        case {"type": "server_tool_use" | "mcp_tool_use", "name": str(name)}:
            used = json.dumps(_legible(part.get("input")), ensure_ascii=False)
            words = [f"The tool {name} was used: {used}"]
        case {"type": "search_result" | "web_search_tool_result" | "web_fetch_tool_result" | "compaction"}:
            words = list(_words_in(part))
        case {"text": str(text)} if len(part) == 1:
            words = [text]
    yield Text("\n".join(words)) if words else kept(part, _heading(part))


def _heading(part: Mapping[str, Any]) -> str:
    kind = part.get("type")
    return f"A part of the type {kind[:40]}:" if isinstance(kind, str) else "A part of a message:"


def _words_in(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield from _words_in(part)
    elif isinstance(content, dict):
        for name in _WORDS:
            yield from _words_in(content.get(name))


def _legible(value: Any) -> Any:
    """The value without what is not for reading."""
    match value:
        case dict():
            return {
                name: _LEFT_OUT if name in _CIPHERS else _legible(inner)
                for name, inner in value.items()
                if inner is not None
            }
        case list():
            return [_legible(inner) for inner in value]
        case str() if value[:5].lower() == "data:" or _BASE64.fullmatch(value):
            return _LEFT_OUT
    return value
