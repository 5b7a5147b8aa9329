"""Compaction as Codex asks for it: one sealed item with the model's summary, which is read back as text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kiro_auth.conversation import (
    CallReady,
    Conversation,
    Failed,
    Finished,
    ReasoningDelta,
    ReasoningSigned,
    ReplyEvent,
    Text,
    TextDelta,
    ToolChoice,
)
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.reply_usage import Figure, Usage
from kiro_auth.surfaces.openai import chat, compact, responses
from support.sdks import of_openai

USAGE = Usage(Figure(900, "measured"), Figure(70, "measured"))
END = Finished("end", USAGE)
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "Rename the module."},
    {"type": "function_call", "call_id": "c1", "name": "run", "arguments": '{"cmd": "git mv a b"}'},
    {"type": "function_call_output", "call_id": "c1", "output": "done"},
]
TOOLS = [{"type": "function", "name": "run", "parameters": {"type": "object"}}, {"type": "web_search"}]


def asked(api: Any, *items: dict[str, Any], **more: Any) -> Conversation:
    found: Conversation = api.decode(json.dumps({"model": "m", "input": list(items), **more}).encode(), {})
    return found


WAYS = [
    pytest.param(responses, [*HISTORY, {"type": "compaction_trigger"}], id="trigger"),
    pytest.param(compact, HISTORY, id="address"),
]


@pytest.mark.parametrize(("api", "items"), WAYS)
def test_the_model_is_asked_for_a_summary_at_the_end_of_the_whole_history(api: Any, items: Any) -> None:
    found = asked(api, *items, tools=TOOLS, instructions="Be brief.")
    plain = asked(responses, *HISTORY, tools=TOOLS, instructions="Be brief.")

    assert found.messages[:-1] == plain.messages
    [request] = found.messages[-1].content
    assert isinstance(request, Text)
    assert "summary" in request.text
    assert found.system[0] == "Be brief."
    assert (found.sealed, found.tool_choice, found.web_search) == (True, ToolChoice("none"), None)
    assert (found.kind, plain.kind, plain.sealed) == ("compaction", None, False)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=5))
def test_the_summary_is_the_only_item_and_comes_back_word_for_word(words: list[str]) -> None:
    conversation = asked(responses, *HISTORY, {"type": "compaction_trigger"})
    reply: list[ReplyEvent] = [ReasoningDelta("Hm."), ReasoningSigned("s"), TextDelta("Sum:")]
    reply += map(TextDelta, words)
    whole = responses.whole_encoder(conversation, reply_id="ab", created=7, input_tokens=1)
    body = json.loads(whole.encode([*reply, END]))

    of_openai("responses.Response", body)
    [item] = body["output"]
    assert item["type"] == "compaction"
    assert item["encrypted_content"].startswith("kiro1.")
    [turn] = asked(responses, item).messages
    [read] = turn.content
    assert isinstance(read, Text)
    assert read.text.endswith(("Sum:" + "".join(words)).strip())
    assert turn.role == "user"


def test_a_stream_has_the_item_done_and_completed_and_says_no_word_of_it() -> None:
    conversation = asked(responses, *HISTORY, {"type": "compaction_trigger"})
    writer = responses.stream_encoder(conversation, reply_id="ab", created=7, input_tokens=1)
    wire = writer.encode([TextDelta("Renamed ")]) + writer.encode([TextDelta("it."), END])
    events = [json.loads(line[6:]) for line in wire.splitlines() if line.startswith(b"data: ")]
    for each in events:
        of_openai("responses.ResponseStreamEvent", each)
    done = [each["item"] for each in events if each["type"] == "response.output_item.done"]

    assert [item["type"] for item in done] == ["compaction"]
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["usage"]["input_tokens"] == 900
    assert "Renamed" not in wire.decode()


def test_the_address_answers_with_a_compacted_response() -> None:
    writer = compact.whole_encoder(asked(compact, *HISTORY), reply_id="ab", created=7, input_tokens=1)
    body = json.loads(writer.encode([TextDelta("Renamed."), END]))

    of_openai("responses.CompactedResponse", body)
    assert (body["object"], [item["type"] for item in body["output"]]) == (
        "response.compaction",
        ["compaction"],
    )


@pytest.mark.parametrize("said", [[], [TextDelta(" \n")], [CallReady("c", "run", "{}")]], ids=repr)
def test_a_model_that_writes_no_summary_has_failed(said: list[ReplyEvent]) -> None:
    conversation = asked(responses, *HISTORY, {"type": "compaction_trigger"})
    writer = responses.stream_encoder(conversation, reply_id="ab", created=7, input_tokens=1)
    wire = writer.encode([*said, END]).decode()

    assert "event: response.failed" in wire
    assert "compaction" not in wire
    whole = responses.whole_encoder(conversation, reply_id="ab", created=7, input_tokens=1)
    with pytest.raises(TurnFailed, match="summary"):
        whole.encode([*said, END])


def test_a_summary_that_broke_off_is_none() -> None:
    conversation = asked(responses, *HISTORY, {"type": "compaction_trigger"})
    writer = responses.stream_encoder(conversation, reply_id="ab", created=7, input_tokens=1)
    broken = Failed(Failure(code="KA-CUT", message="It broke off."), USAGE)
    wire = writer.encode([TextDelta("Half a"), broken]).decode()

    assert "event: response.failed" in wire
    assert "encrypted_content" not in wire


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize(("api", "items"), WAYS)
def test_half_a_summary_never_takes_the_place_of_the_history(api: Any, items: Any, reason: Any) -> None:
    conversation = asked(api, *items)
    told = [TextDelta("Half a"), Finished(reason, USAGE)]

    with pytest.raises(TurnFailed, match="cut off"):
        api.whole_encoder(conversation, reply_id="ab", created=7, input_tokens=1).encode(told)
    writer = responses.stream_encoder(
        replace(conversation, sealed=True), reply_id="ab", created=7, input_tokens=1
    )
    wire = writer.encode(told).decode()
    assert "event: response.failed" in wire
    assert "encrypted_content" not in wire


@pytest.mark.parametrize("kind", ["compaction", "compaction_summary", "context_compaction"])
@pytest.mark.parametrize("content", ["gAAAAB", "kiro1.???", "kiro1.e30=", "kiro1.bm90IGpzb24="])
def test_an_item_that_holds_no_summary_of_ours_is_refused_by_name(kind: str, content: str) -> None:
    with pytest.raises(TurnFailed) as refusal:
        asked(responses, {"type": kind, "encrypted_content": content}, *HISTORY)

    assert f"`input.0` of the type {kind}" in refusal.value.failure.message


@pytest.mark.parametrize(("api", "items"), [*WAYS, pytest.param(chat, WAYS[0].values[1], id="at chat")])
@pytest.mark.parametrize("kind", ["json_schema", "json_object"])
def test_the_summary_has_none_of_the_forms_that_the_client_wants_of_answers(
    api: Any, items: Any, kind: str
) -> None:
    form = {"type": kind, "name": "verdict", "schema": {"type": "object"}}
    fields = {"text": {"format": form}, "response_format": form, "tool_choice": "required", "stop": ["the"]}
    found = asked(api, *items, tools=TOOLS, **fields)

    assert found.sealed
    assert (found.answer_format, found.web_search, found.stop_sequences) == (None, None, ())
    assert found.tool_choice == ToolChoice("none")
