"""Read requests of the OpenAI Chat Completions API.

What is not known is ignored.  What would change the answer and cannot be done is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from kiro_auth.conversation import Conversation, Thinking
from kiro_auth.surfaces.decoding import read, refused, stop_sequences, token_limit
from kiro_auth.surfaces.formats import answer_format
from kiro_auth.surfaces.headers import kind_of, session_of
from kiro_auth.surfaces.history import kept_for, message, without_instructions
from kiro_auth.surfaces.openai import responses_request
from kiro_auth.surfaces.openai.custom_tools import custom_tool_of
from kiro_auth.surfaces.prefixes import Listed, Prefixes
from kiro_auth.surfaces.thinking import ThinkingConfig, thinking_of
from kiro_auth.surfaces.tools.choice import tool_choice, wants_one_call
from kiro_auth.surfaces.tools.offered import Entry, Searched, entries, offered
from kiro_auth.surfaces.tools.web_search import NAME as SEARCH


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Request(Struct):
    model: str
    messages: list[Any] | None = None
    input: Any = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: Any = None
    reasoning_effort: str | None = None
    thinking_config: ThinkingConfig | None = field(default=None, name="thinkingConfig")
    max_tokens: Any = None
    max_completion_tokens: Any = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    prompt_cache_key: str | None = None
    n: int | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None
    response_format: Any = None
    functions: list[Any] | None = None
    web_search_options: Any = None


class _Pieces(_Request):
    messages: list[msgspec.Raw] | None = None


_fields: Final = msgspec.json.Decoder(_Request).decode
_LISTED: Final = Listed("messages", msgspec.json.Decoder(_Pieces).decode, kept_for)


def decode(body: bytes, headers: Mapping[str, str], prefixes: Prefixes | None = None) -> Conversation:
    """Read a request.  Header names are lower-case.  Raises TurnFailed (KA-REQUEST) naming the field.

    A body of the Responses API, as Cursor sends it to this address, is read as one.
    """

    def fields(body: bytes) -> _Request:
        return prefixes.read(body, _fields, _LISTED) if prefixes else _fields(body)

    return read(body, fields, lambda request: _of_either(request, body, headers))


def _of_either(request: _Request, body: bytes, headers: Mapping[str, str]) -> Conversation:
    """The conversation of `messages`; of `input`, with what the request has in the words of this API."""
    if request.input is None or request.messages:
        return _conversation(request, headers)
    own = _conversation(replace(request, messages=[""], input=None), headers)
    conversation = replace(responses_request.decode(body, headers), usage_in_stream=own.usage_in_stream)
    if conversation.sealed:
        return conversation
    if not any(tool.kind == SEARCH for tool in conversation.tools):  # `web_search_options` may have one
        search = [tool for tool in own.tools if tool.kind == SEARCH]
        conversation = replace(conversation, tools=(*conversation.tools, *search), web_search=own.web_search)
    return replace(
        conversation,
        answer_format=conversation.answer_format or own.answer_format,
        thinking=conversation.thinking or own.thinking,
        max_output=own.max_output if conversation.max_output is None else conversation.max_output,
        stop_sequences=own.stop_sequences,
    )


def _conversation(request: _Request, headers: Mapping[str, str]) -> Conversation:
    _check(request)
    messages = [message(given, f"messages.{number}") for number, given in enumerate(request.messages or ())]
    system, turns = without_instructions(messages)
    offer = offered(_entries(request))
    choice = tool_choice(request.tool_choice, offer.tools)
    return Conversation(
        model=request.model,
        system=(*system, *offer.notes()),
        messages=turns,
        tools=offer.tools,
        tool_choice=choice,
        one_call=wants_one_call(request.tool_choice, request.parallel_tool_calls),
        web_search=offer.search_for(choice),
        not_offered=offer.missing,
        answer_format=answer_format(request.response_format, "response_format"),
        thinking=thinking_of(request.thinking_config, _thinking(request.reasoning_effort)),
        max_output=_limit(request),
        stop_sequences=stop_sequences(request.stop, "stop"),
        session=session_of(headers, request.prompt_cache_key),
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
    if request.input is not None:
        raise refused("`input` and `messages` are the same in two APIs; send one of them.")
    if request.n not in (None, 1):
        raise refused("`n` must be 1: Kiro gives one answer to a request.")
    if request.logprobs:
        raise refused("`logprobs` cannot be had: Kiro does not send them.")
    if request.modalities and set(request.modalities) != {"text"}:
        raise refused("`modalities` must be text: Kiro answers in nothing else.")
    if request.functions:
        raise refused("`functions` is not supported; send them as `tools`.")


def _thinking(effort: str | None) -> Thinking | None:
    if effort is None:
        return None
    return Thinking(enabled=False) if effort == "none" else Thinking(effort=effort)


def _entries(request: _Request) -> Iterator[Entry]:
    yield from _listed(request.tools or (), "tools")
    if isinstance(request.web_search_options, dict):
        yield Searched(request.web_search_options)


def _listed(tools: Iterable[Any], where: str) -> Iterator[Entry]:
    for number, tool in enumerate(tools):
        custom = custom_tool_of(tool)
        yield from (custom,) if custom is not None else entries(tool, f"{where}.{number}")
