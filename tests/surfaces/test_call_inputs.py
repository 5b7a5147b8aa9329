"""The input of an earlier call, in whatever form a client kept it, never ends a conversation, in any API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth.conversation import ToolCall
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload
from kiro_auth.simulator.catalog import MODELS
from kiro_auth.simulator.validator import check_chat
from support.examples import examples

ASKED = {"role": "user", "content": "Read it."}


def history(path: str, given: Any) -> dict[str, Any]:
    """A conversation with one call and its result, as each API carries it."""
    match path:
        case "/v1/messages":
            call = {"type": "tool_use", "id": "t1", "name": "read", "input": given}
            result = {"type": "tool_result", "tool_use_id": "t1", "content": "A"}
            turns = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
            return {"messages": [ASKED, *turns]}
        case "/v1/chat/completions":
            function = {"name": "read", "arguments": given}
            calls = [{"id": "t1", "type": "function", "function": function}]
            turns = [{"role": "assistant", "content": None, "tool_calls": calls}]
            return {"messages": [ASKED, *turns, {"role": "tool", "tool_call_id": "t1", "content": "A"}]}
        case _:
            call = {"type": "function_call", "call_id": "t1", "name": "read", "arguments": given}
            return {"input": [ASKED, call, {"type": "function_call_output", "call_id": "t1", "output": "A"}]}


def read(path: str, given: Any) -> tuple[Any, dict[str, Any]]:
    """The input as decoded, and as the service gets it; the judge has accepted the body."""
    body = json.dumps({"model": "claude-opus-4-6", **history(path, given)}).encode()
    conversation = SURFACES[path].decode(body, {})
    [found] = [b for m in conversation.messages for b in m.content if isinstance(b, ToolCall)]
    model = resolve("claude-opus-4-6", ()).model
    options = payload.Options(model=model, protocol="rest", origin="AI_EDITOR", profile_arn=None)
    sent = json.loads(payload.build(conversation, options).body)
    check_chat(sent, protocol="rest", models=MODELS)
    [call] = [
        call
        for entry in sent["conversationState"]["history"]
        for call in entry.get("assistantResponseMessage", {}).get("toolUses", ())
    ]
    return found.input, call["input"]


FORMS = [
    pytest.param({"path": "a"}, {"path": "a"}, id="an object"),
    pytest.param('{"path": "a"}', {"path": "a"}, id="text of an object"),
    pytest.param(json.dumps('{"path": "a"}'), {"path": "a"}, id="text of text of an object"),
    pytest.param({"input": "a"}, {"input": "a"}, id="an object that looks kept"),
    pytest.param(None, {}, id="null"),
    pytest.param("null", {}, id="text of null"),
    pytest.param("", {}, id="nothing"),
    pytest.param(" \n", {}, id="blank"),
    pytest.param('{"path": "a', {"input": '{"path": "a'}, id="cut"),
    pytest.param('{"a": 1}{"b": 2}', {"input": '{"a": 1}{"b": 2}'}, id="two objects"),
    pytest.param("ls -l", {"input": "ls -l"}, id="plain text"),
    pytest.param('"ls -l"', {"input": '"ls -l"'}, id="text of text"),
    pytest.param("[1, 2]", {"input": "[1, 2]"}, id="text of a list"),
    pytest.param([{"path": "a"}], {"input": [{"path": "a"}]}, id="a list"),
    pytest.param(7, {"input": 7}, id="a number"),
    pytest.param(False, {"input": False}, id="a truth"),
    pytest.param("[" * 5000, {"input": "[" * 5000}, id="nested without end"),
    pytest.param("1e999", {"input": "1e999"}, id="a number beyond all"),
]


@pytest.mark.parametrize(("given", "kept"), FORMS)
@pytest.mark.parametrize("path", SURFACES)
def test_an_input_of_any_form_is_kept_as_an_object(path: str, given: Any, kept: dict[str, Any]) -> None:
    assert read(path, given) == (kept, kept)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)
objects = st.dictionaries(texts, values, max_size=3)


def cut(written: str, share: float) -> str:
    """The beginning of an object's text, which is never JSON itself."""
    return written[: max(1, int(len(written) * share))]


written = objects.map(json.dumps)
whole = objects.flatmap(
    lambda found: st.sampled_from([found, json.dumps(found), json.dumps(json.dumps(found))]).map(
        lambda given: (given, found)
    )
)
broken = st.one_of(
    st.builds(cut, written, st.floats(0, 0.99)),
    st.builds(lambda first, second: first + second, written, written),
    st.lists(values, max_size=3),
    st.booleans() | st.integers(),
)


@settings(max_examples=examples(200), deadline=None)
@given(whole | broken.map(lambda given: (given, {"input": given})))
def test_no_input_is_refused_or_lost_in_any_api(form: tuple[Any, dict[str, Any]]) -> None:
    given, kept = form

    for path in SURFACES:
        assert read(path, given) == (kept, kept)


CUSTOM = [("***", "***"), ("", ""), (None, ""), ({"a": 1}, {"a": 1}), (["x"], ["x"]), (5, 5)]


@pytest.mark.parametrize(("given", "kept"), CUSTOM)
def test_a_custom_tool_s_input_of_any_form_is_kept(given: Any, kept: Any) -> None:
    item = {"type": "custom_tool_call", "call_id": "t1", "name": "patch", "input": given}
    body = json.dumps({"model": "m", "input": [ASKED, item]}).encode()
    of_responses = SURFACES["/v1/responses"].decode(body, {}).messages[1]
    calls = [{"id": "t1", "type": "custom", "custom": {"name": "patch", "input": given}}]
    body = json.dumps(
        {"model": "m", "messages": [ASKED, {"role": "assistant", "tool_calls": calls}]}
    ).encode()
    of_chat = SURFACES["/v1/chat/completions"].decode(body, {}).messages[1]

    assert of_responses.content == of_chat.content == (ToolCall("t1", "patch", {"input": kept}),)
