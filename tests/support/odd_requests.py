"""Requests as clients really send them, for property tests: every list of messages that the three APIs admit,
each with the others' shapes in it, missing ids, and values of any type.

Words that must reach the service are tokens: `RESULT-7` of a tool, `WORD-7` of a side, `INPUT-7` of a call.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from hypothesis import strategies as st

from kiro_auth.simulator.wire import sign

PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
PDF = base64.b64encode(b"%PDF-1.4").decode()
_PNG_URL = f"data:image/png;base64,{PNG}"
_PDF_FILE = {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
_TOKEN = re.compile(r"(?:RESULT|WORD|INPUT)-\d+")


def tokens(value: Any) -> set[str]:
    """The words that stand in a request, or in what was made of it."""
    return set(_TOKEN.findall(json.dumps(value)))


def _token(kind: str) -> st.SearchStrategy[str]:
    return st.integers(0, 9999).map(lambda number: f"{kind}-{number}")


class _Missing:
    """Stands where a field does not."""


_MISSING = _Missing()


def _fields(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """An object of these fields, without those that are missing."""
    strategies = {
        name: field if isinstance(field, st.SearchStrategy) else st.just(field)
        for name, field in fields.items()
    }
    return st.fixed_dictionaries(strategies).map(
        lambda made: {name: value for name, value in made.items() if value is not _MISSING}
    )


odd = st.sampled_from([None, True, 5, 1.5, "", "x", [], [None], {}, {"a": [1]}, _MISSING])
"""What no API has in this place."""
_odd_entries = odd.filter(lambda value: value is not _MISSING)
words = _token("WORD")
ids = st.one_of(
    st.sampled_from(["t1", "t2", "odd id!", "x" * 80]), st.sampled_from(["", None, 7, _MISSING]), odd
)
names = st.one_of(st.sampled_from(["read", "write", "mcp.server/tool", "a" * 90]), odd)
arguments = st.one_of(
    _token("INPUT").flatmap(
        lambda word: st.sampled_from(
            [
                {"path": word},
                json.dumps({"path": word}),
                json.dumps({"path": word})[:-2],  # cut
                json.dumps({"path": word}) * 2,
                [word],
                json.dumps([word]),
                word,
            ]
        )
    ),
    st.sampled_from(["null", "{}"]),
    odd,
)


def _texts(word: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """A part that says the word, in the shape of any API or of none."""
    return st.one_of(
        _fields(type=st.sampled_from(["text", "input_text", "output_text"]), text=word),
        _fields(type="refusal", refusal=word),
        _fields(text=word),
        _fields(type=st.sampled_from(["of_tomorrow", "text", "refusal"]), value=word),
        _fields(type=odd, more=word),
        word,
        word.map(lambda found: [found]),
    )


_media = st.one_of(
    st.sampled_from(
        [
            {"type": "image_url", "image_url": {"url": _PNG_URL}},
            {"type": "input_image", "image_url": _PNG_URL},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
            },
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
        ]
    ),
    _fields(type=st.sampled_from(["image_url", "input_image"]), image_url=odd),
    _fields(type=st.sampled_from(["file", "input_file"]), file=odd, file_data=odd, filename=odd),
    _fields(type=st.sampled_from(["image", "document"]), source=odd, title=odd),
    _fields(
        type=st.sampled_from(["image", "document"]),
        source=_fields(type=st.sampled_from(["base64", "text", "url", "file", "content"]), data=odd, url=odd),
    ),
)
_reasoning = st.one_of(
    st.sampled_from(
        [
            {"type": "thinking", "thinking": "why", "signature": sign("why")},
            {"type": "redacted_thinking", "data": "cmVk"},
        ]
    ),
    _fields(type="thinking", thinking=odd),
    _fields(type="redacted_thinking", data=odd),
)


def _content(word: st.SearchStrategy[str], *more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Content in any form: text, one part, a list of parts, nothing."""
    part = st.one_of(_texts(word), _media, *more)
    return st.one_of(
        word, part, st.lists(part | odd.filter(lambda value: value is not _MISSING), max_size=3), odd
    )


_outputs = _content(_token("RESULT"))
_call_parts = st.one_of(
    _fields(type="tool_use", id=ids, name=names, input=arguments),
    _fields(type="function_call", call_id=ids, name=names, arguments=arguments),
    _fields(type=st.sampled_from(["tool_use", "function_call"]), name="read", arguments=arguments),
    _fields(type=st.sampled_from(["tool_use", "function_call"]), name="read", input=arguments),
    _fields(type="custom_tool_call", call_id=ids, name=names, input=arguments),
)
_chat_calls = st.one_of(
    _fields(id=ids, type="function", function=_fields(name=names, arguments=arguments)),
    _fields(id=ids, type="custom", custom=_fields(name=names, input=arguments)),
    _fields(id=ids, type=odd, function=odd),
    _call_parts,
)
_result_parts = st.one_of(
    _fields(type="tool_result", tool_use_id=ids, content=_outputs, is_error=st.booleans() | odd),
    _fields(type="function_call_output", call_id=ids, output=_outputs),
    _fields(type="custom_tool_call_output", call_id=ids, output=_outputs),
    _fields(type=st.sampled_from(["tool_result", "function_call_output"]), value=_token("RESULT")),
)
_spoken = _content(words, _reasoning, _call_parts, _result_parts)
entries: st.SearchStrategy[Any] = st.one_of(
    _fields(role="user", content=_spoken),
    _fields(role=st.sampled_from(["system", "developer"]), content=_spoken),
    _fields(
        role="assistant",
        content=_spoken,
        tool_calls=st.lists(_chat_calls, max_size=3) | odd,
        function_call=_fields(name=names, arguments=arguments) | odd,
        refusal=words | odd,
        reasoning_content=odd,
    ),
    _fields(
        role="tool", tool_call_id=ids, content=_outputs | st.lists(_result_parts, min_size=1, max_size=2)
    ),
    _fields(role="function", name=names, content=_outputs),
    _fields(role=st.sampled_from(["user", "assistant", "system"]), parts=st.lists(_texts(words), max_size=2)),
    _fields(role="tool", tool_call_id=ids, value=_token("RESULT")),
    _call_parts,
    _result_parts,
    words,
)
"""A message or an item of any of the three APIs."""

_SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
tool_choices = st.sampled_from(
    [
        *(None, "auto", "none", "required", "any"),
        *({"type": kind} for kind in ("auto", "none", "any", "function", "web_search")),
        {"type": "tool", "name": "read"},
        {"type": "function", "name": "gone"},
        {"type": "function", "function": {"name": "read"}},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "write"}]},
        {"type": "allowed_tools", "allowed_tools": {"tools": [{"function": {"name": "write"}}, 5]}},
    ]
)
formats = st.sampled_from(
    [
        None,
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "schema": _SCHEMA, "strict": True},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": _SCHEMA, "description": "b"}},
        {"type": "json_schema", "json_schema": {"schema": True}},
    ]
)


@st.composite
def requests(draw: st.DrawFn, path: str) -> dict[str, Any]:
    """A body that the API at this address admits, or that a client sends there all the same."""
    turns = draw(st.lists(entries, min_size=1, max_size=6))
    form, choice = draw(formats), draw(tool_choices)
    body: dict[str, Any] = {"model": "claude-opus-4-6", "tool_choice": choice}
    tools = [{"name": name, "description": name} for name in ("read", "write")] if draw(st.booleans()) else []
    match path:
        case "/v1/messages":
            body |= {"messages": turns, "system": draw(_content(words)), "output_config": {"format": form}}
            body["tools"] = [{**tool, "input_schema": _SCHEMA} for tool in tools]
        case "/v1/chat/completions":
            body |= {"messages": turns, "response_format": form}
            functions = ({**tool, "parameters": _SCHEMA} for tool in tools)
            body["tools"] = [{"type": "function", "function": function} for function in functions]
        case _:
            body |= {"input": turns, "text": {"format": form}, "instructions": draw(st.none() | words)}
            body["tools"] = [{"type": "function", **tool, "parameters": _SCHEMA} for tool in tools]
    return {name: value for name, value in body.items() if value is not _MISSING}
