"""Whatever a request holds, the work on it is linear in what arrived, and what is made of it is bounded.

Work is counted, not timed: calls, and bytes of the service's body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth.failures import TurnFailed
from kiro_auth.gateway import heavy
from kiro_auth.gateway.heavy import (
    LIGHT_BYTES,
    LIGHT_VALUES,
    MOST_VALUES,
    has_too_many_values,
    run_for,
    values_in,
)
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.reply.answer_text import AnswerFilter, Expected
from kiro_auth.kiro.request import payload
from kiro_auth.kiro.request.schemas import ALLOWANCE, acceptable
from kiro_auth.kiro.request.tools import ROOM
from kiro_auth.off_loop import Threads, at_once
from support.counting import calls
from support.examples import examples

MESSAGES, CHAT, RESPONSES = "/v1/messages", "/v1/chat/completions", "/v1/responses"
OPTIONS = payload.Options(
    model=resolve("claude-opus-4-6", ()).model, protocol="rpc", origin="KIRO_CLI", profile_arn=None
)
FACTOR, MORE = 16, ROOM + 2 * ALLOWANCE
"""At most so many bytes are made of each that arrived, and so many besides."""


def asked(path: str, **fields: Any) -> bytes:
    words: dict[str, Any] = {"input": "Hi"} if path == RESPONSES else {"messages": ["Hi"]}
    return json.dumps({"model": "m", "max_tokens": 9, **words, **fields}, separators=(",", ":")).encode()


def parts(part: bytes, n: int) -> bytes:
    head = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":["a",'
    return head + b",".join([part] * n) + b"]}]}"


def messages(path: str, turns: Callable[[int], Any], n: int) -> bytes:
    name = "input" if path == RESPONSES else "messages"
    return asked(path, **{name: [turns(number) for number in range(n)]})


def schema(made: Any) -> bytes:
    return asked(MESSAGES, tools=[{"name": "t", "input_schema": made}])


def used(number: int) -> Any:
    return {"role": "assistant", "tool_calls": [{"id": "t", "function": {"name": f"a{number}"}}]}


def doubling(deep: int) -> dict[str, Any]:
    """A schema that stands for 2 ** deep others."""
    defs = {
        f"d{n}": {"properties": {key: {"$ref": f"#/$defs/d{n + 1}"} for key in "xy"}} for n in range(deep)
    }
    return {"$defs": defs, "$ref": "#/$defs/d0"}


def shared(part: Any, n: int) -> dict[str, Any]:
    return {"$defs": {"b": part}, "properties": {f"q{i}": {"$ref": "#/$defs/b"} for i in range(n)}}


KINDS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "tiny messages": (MESSAGES, lambda n: messages(MESSAGES, lambda _: "a", n)),
    "sides in turn": (
        CHAT,
        lambda n: messages(CHAT, lambda i: {"role": ("user", "assistant")[i % 2], "content": "a"}, n),
    ),
    "calls that nobody answered": (CHAT, lambda n: messages(CHAT, used, n)),
    "results of no call": (
        RESPONSES,
        lambda n: messages(RESPONSES, lambda i: {"type": "function_call_output", "call_id": str(i)}, n),
    ),
    "items of no type that is known": (RESPONSES, lambda n: messages(RESPONSES, lambda _: {"type": "x"}, n)),
    "parts that are nothing": (MESSAGES, lambda n: parts(b"[]", n)),
    "numbers": (MESSAGES, lambda n: parts(b"0", n)),
    "files that are not there": (MESSAGES, lambda n: parts(b'{"type":"file"}', n)),
    "pictures": (
        MESSAGES,
        lambda n: parts(b'{"type":"image","data":"iVBORw0KGgoA","mimeType":"image/png"}', n),
    ),
    "documents of one name": (
        MESSAGES,
        lambda n: parts(b'{"type":"input_file","filename":"a.pdf","file_data":"YQ=="}', n),
    ),
    "a value as deep as it may be": (MESSAGES, lambda n: parts(b"[" * 90 + b"]" * 90, n // 10)),
    "halves of characters": (MESSAGES, lambda n: parts(b'"' + rb"\ud83d" * n + b'"', 1)),
    "whole characters, escaped": (MESSAGES, lambda n: parts(rb'"\ud83d' + rb"\ud83d\ude00" * n + b'"', 1)),
    "backslashes": (MESSAGES, lambda n: parts(b'"' + rb"\\" * n + rb'\ud83d"', 1)),
    "arguments in text": (
        CHAT,
        lambda n: messages(
            CHAT,
            lambda _: {"role": "assistant", "function_call": {"name": "a", "arguments": "[[],[],[]]"}},
            n,
        ),
    ),
    "tools": (MESSAGES, lambda n: asked(MESSAGES, tools=[{"name": f"t{i}"} for i in range(n)])),
    "tools in namespaces": (
        RESPONSES,
        lambda n: asked(
            RESPONSES,
            tools=[{"type": "namespace", "name": "n" * 100, "tools": [{"name": f"t{i}"} for i in range(n)]}],
        ),
    ),
    "tools of servers": (RESPONSES, lambda n: asked(RESPONSES, tools=[{"type": f"x{i}"} for i in range(n)])),
    "long names": (MESSAGES, lambda n: asked(MESSAGES, tools=[{"name": "ä" * n}])),
    "properties": (MESSAGES, lambda n: schema({"properties": {f"p{i}": {} for i in range(n)}})),
    "all of": (
        MESSAGES,
        lambda n: schema({"allOf": [{"properties": {f"p{i}": {}}, "required": [f"p{i}"]} for i in range(n)]}),
    ),
    "one of": (MESSAGES, lambda n: schema({"oneOf": [{"properties": {f"p{i}": {}}} for i in range(n)]})),
    "references to a large part": (
        MESSAGES,
        lambda n: schema(shared({"properties": {f"p{i}": {"type": "string"} for i in range(n // 4)}}, n)),
    ),
    "references to a large enum": (MESSAGES, lambda n: schema(shared({"enum": ["word" * 9] * n}, n))),
    "tools of which each stands for many": (
        MESSAGES,
        lambda n: asked(
            MESSAGES,
            tools=[{"name": f"t{i}", "input_schema": doubling(20 + i % 3)} for i in range(n // 20)],
        ),
    ),
}


def built(path: str, body: bytes) -> payload.Payload:
    return payload.build(SURFACES[path].decode(body, {}), OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_twice_the_request_is_twice_the_work_and_what_is_made_is_bounded(kind: str) -> None:
    path, maker = KINDS[kind]
    built(path, maker(20))  # what is done once
    bodies = [maker(200), maker(400)]
    once, twice = [calls(lambda body=body: built(path, body)) for body in bodies]  # type: ignore[misc]

    assert twice <= 2.2 * once + 500
    for body in bodies:
        assert len(built(path, body).body) <= FACTOR * len(body) + 5000


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "reference" in kind or "stands for" in kind])
def test_of_many_references_no_more_is_made_than_a_bound(kind: str) -> None:
    path, maker = KINDS[kind]
    body = maker(10_000)

    assert len(built(path, body).body) <= FACTOR * len(body) + MORE
    assert calls(lambda: built(path, body)) < 20 * values_in(body) + 500_000


def test_a_schema_whose_references_stand_for_too_much_is_loosened_evenly_and_the_log_says_so() -> None:
    node = {"properties": {f"p{i}": {"$ref": "#/$defs/node2"} for i in range(200)}}
    node2 = {"properties": {f"r{i}": {"$ref": "#/$defs/leaf"} for i in range(200)}}
    leaf = {"type": "string", "description": "words"}
    made = acceptable(
        {"properties": {"a": {"$ref": "#/$defs/node"}}, "$defs": {"node": node, "node2": node2, "leaf": leaf}}
    )

    assert not made.whole
    assert set(made.schema["properties"]["a"]["properties"]) == {f"p{i}" for i in range(200)}
    assert all(part == {} for part in made.schema["properties"]["a"]["properties"].values())
    deep = schema(doubling(40))
    assert "a schema was loosened" in {repair.what for repair in built(MESSAGES, deep).repairs}
    assert built(MESSAGES, schema({"properties": {"a": {}}})).repairs == ()


def test_what_references_stand_for_counts_for_the_whole_request() -> None:
    tools = [{"name": f"t{i}", "input_schema": {**doubling(9), "title": str(i)}} for i in range(100)]
    made = json.loads(built(MESSAGES, asked(MESSAGES, tools=tools)).body)
    sent = made["conversationState"]["currentMessage"]["userInputMessage"]["userInputMessageContext"]["tools"]
    whole = [len(json.dumps(tool)) > 10_000 for tool in sent]

    assert len(sent) == 100
    assert 5 < sum(whole) < 100
    assert whole == sorted(whole, reverse=True)  # the first ones, so that a conversation's stay the same


@pytest.mark.slow
@pytest.mark.timeout(20)
def test_a_choice_among_many_tools_is_looked_up_not_searched_for() -> None:
    names = [{"type": "function", "name": f"t{i}"} for i in range(50_000)]
    choice = {"type": "allowed_tools", "mode": "required", "tools": names}
    conversation = SURFACES[RESPONSES].decode(asked(RESPONSES, tools=names, tool_choice=choice), {})

    assert len(conversation.tool_choice.names) == 50_000
    assert len(payload.build(conversation, OPTIONS).body) < 20_000_000


# ------------------------------------------------------------------------------------------ halves

PIECES = [rb"\ud83d", rb"\uDE00", rb"\\", rb"\n", b"a", rb"\u0041", rb"\/", rb"\uDFFF", rb"\uDBff"]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_every_half_of_a_character_and_nothing_else_becomes_the_sign_for_it(pieces: list[bytes]) -> None:
    text = b'"' + b"".join(pieces) + b'"'
    halves = "[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]"
    expected = re.sub(halves, "\ufffd", json.loads(text))

    conversation = SURFACES[MESSAGES].decode(parts(text, 1), {})
    assert conversation.messages[0].content[1].text == expected  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------ limits


@pytest.mark.parametrize(
    ("path", "fields", "named"),
    [
        pytest.param(MESSAGES, {"model": "m" * 257}, "`model`", id="model"),
        pytest.param(MESSAGES, {"stop_sequences": ["ab"] * 2049}, "`stop_sequences`", id="stops"),
        pytest.param(CHAT, {"stop": "a" * 4097}, "`stop`", id="stop"),
        pytest.param(
            RESPONSES,
            {"tools": [{"type": "namespace", "name": "n" * 257, "tools": [{"name": "a"}]}]},
            "`tools.0.name`",
            id="namespace",
        ),
        pytest.param(
            RESPONSES,
            {"tools": [{"type": "web_search", "filters": {"allowed_domains": ["a.b"] * 501}}]},
            "`allowed_domains`",
            id="domains",
        ),
        pytest.param(CHAT, {"messages": ["\ud800" * 100_001]}, "100,000 halves", id="halves"),
    ],
)
def test_what_would_be_too_much_is_refused_by_name(path: str, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(TurnFailed) as refusal:
        SURFACES[path].decode(asked(path, **fields), {})

    assert refusal.value.failure.code == "KA-REQUEST"
    assert named in refusal.value.failure.message


def test_tools_in_a_namespace_within_a_namespace_are_named_as_missing() -> None:
    inner = {"type": "namespace", "name": "inner", "tools": [{"type": "function", "name": "a"}]}
    outer = {"type": "namespace", "name": "outer", "tools": [inner, {"type": "function", "name": "b"}]}
    conversation = SURFACES[RESPONSES].decode(asked(RESPONSES, tools=[outer]), {})

    assert [tool.name for tool in conversation.tools] == ["outer__b"]
    assert conversation.not_offered == ("namespace (inner)",)


@pytest.mark.parametrize("sign", [b"[],", b"0,", b'"a",', b'{"a":{}},', rb'"\u002c\u005b",'])
def test_more_values_than_any_context_holds_are_refused_before_anything_is_made_of_them(sign: bytes) -> None:
    threads = Threads(1)
    body = parts(sign.rstrip(b","), MOST_VALUES + 1)

    with pytest.raises(TurnFailed) as refusal:
        run_for(body, threads)
    assert refusal.value.failure.code == "KA-SIZE"
    assert f"{MOST_VALUES:,}" in refusal.value.failure.message


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.sampled_from([b"0,", b"[],", b'"a long text",', rb"\u002c", b"a" * 40]), max_size=60))
def test_a_count_that_ends_early_misses_no_body_with_too_many_values(runs: list[bytes]) -> None:
    body = b"".join(run * (200 // len(run)) for run in runs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heavy, "MOST_VALUES", most := 2000)
        patch.setattr(heavy, "_PIECE", 256)

        too_many = has_too_many_values(body)
    if too_many:
        assert values_in(body) > most
    else:
        assert body.count(b",") + body.count(rb"\u002c") <= most


@pytest.mark.parametrize(
    ("body", "light"),
    [
        pytest.param(asked(MESSAGES), True, id="short"),
        pytest.param(asked(MESSAGES, system="def f(x): return x\n" * 10_000), True, id="190 KB of code"),
        pytest.param(asked(MESSAGES, system="a" * LIGHT_BYTES), False, id="long"),
        pytest.param(parts(b"0", LIGHT_VALUES), False, id="values"),
        pytest.param(
            asked(MESSAGES, tools=[{"name": "t", "input_schema": doubling(3)}] * 200), False, id="refs"
        ),
    ],
)
def test_only_what_is_much_work_leaves_the_event_loop(body: bytes, light: bool) -> None:
    threads = Threads(1)

    assert (run_for(body, threads) is at_once) == light
    if not light:
        assert run_for(body, threads) == threads.run


@given(
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=3)),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=50,
    )
)
def test_values_are_never_counted_too_low(value: Any) -> None:
    def count(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + sum(map(count, inner))

    for separators in ((",", ":"), (", ", ": ")):
        assert values_in(json.dumps(value, separators=separators).encode()) + 1 >= count(value)


# ------------------------------------------------------------------------------------- the answer


@pytest.mark.parametrize(
    "expected",
    [
        pytest.param(Expected(stops=("a" * 4000 + "b",)), id="a stop that is nearly there all the time"),
        pytest.param(Expected(stops=tuple(f"{n:03}" for n in range(100))), id="many stops"),
        pytest.param(Expected(prefill="a" * 100_000), id="a long beginning of the client's"),
        pytest.param(Expected(tags=True), id="tags"),
        pytest.param(Expected(fence=True), id="fence"),
    ],
)
@pytest.mark.parametrize("letter", ["a", " ", "\n", "`"])
@pytest.mark.timeout(30)
def test_twice_the_answer_is_twice_the_work(expected: Expected, letter: str) -> None:
    def answered(pieces: int) -> None:
        source = AnswerFilter(expected)
        said = [text for _ in range(pieces) for _, text in source.feed(letter * 20)]
        said += [text for _, text in source.close()]
        assert source.stop is None

    answered(50)
    assert calls(lambda: answered(400)) <= 2.4 * calls(lambda: answered(200)) + 100
