"""Any conversation becomes a body that the simulated service, the judge here, accepts."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth.conversation import (
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
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload
from kiro_auth.simulator.catalog import MODELS
from kiro_auth.simulator.validator import check_chat, sign
from support.examples import examples

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
PDF = base64.b64encode(b"%PDF-1.4").decode()

ids = st.sampled_from(["t1", "t2", "t3", "odd id!", "x" * 80])  # few, so that orphans and repeats happen
names = st.sampled_from(["read", "write", "mcp.server/tool", "a" * 90, "näme", ""])
words = st.text(max_size=20)
schemas: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(
        [
            {},
            {"type": "string"},
            {"type": ["string", "null"]},
            {"const": 1},
            {"$ref": "#/$defs/a"},
            {"$ref": 5},
            {"required": None},
            {"enum": ["a", None]},
        ]
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object")},
            optional={
                "properties": st.dictionaries(st.sampled_from(["a", "$ref", "anyOf"]), inner, max_size=3),
                "required": st.one_of(st.none(), st.lists(st.sampled_from(["a", "b"]), max_size=2)),
                "additionalProperties": inner,
                "$defs": st.dictionaries(st.just("a"), inner, max_size=1),
                "$schema": st.just("https://json-schema.org/draft/2020-12/schema"),
            },
        ),
        st.builds(
            lambda kind, of: {kind: of},
            st.sampled_from(["anyOf", "oneOf", "allOf"]),
            st.lists(inner, max_size=3),
        ),
        st.builds(lambda of: {"type": "array", "items": of}, inner),
    ),
    max_leaves=6,
)
parts = st.one_of(
    words.map(Text),
    st.builds(Image, st.sampled_from(["png", "jpg", "bmp"]), st.sampled_from([PNG, PDF, "not base64", ""])),
    st.builds(
        Document,
        st.sampled_from(["a.pdf", "a.pdf", "ü", ""]),
        st.sampled_from(["pdf", "zip"]),
        st.sampled_from([PDF, "not base64", ""]),
    ),
)
blocks = st.one_of(
    parts,
    st.builds(ToolCall, ids, names, st.just({"a": 1})),
    st.builds(ToolResult, ids, st.lists(parts, max_size=2).map(tuple), st.booleans()),
    words.map(lambda text: Reasoning(text, sign(text))),
    words.map(Reasoning),
)
messages = st.builds(
    Message, st.sampled_from(["user", "assistant", "system"]), st.lists(blocks, max_size=4).map(tuple)
)
conversations = st.builds(
    Conversation,
    model=st.just("x"),
    messages=st.lists(messages, min_size=1, max_size=8).map(tuple),
    system=st.lists(words, max_size=2).map(tuple),
    tools=st.lists(
        st.builds(Tool, names, st.sampled_from(["", "What it does.", "d" * 20_000]), schemas), max_size=4
    ).map(tuple),
    tool_choice=st.sampled_from([ToolChoice(), ToolChoice("none"), ToolChoice("auto", ("read",))]),
)


@pytest.mark.timeout(120)
@settings(max_examples=examples(300), deadline=None)
@given(
    conversations,
    st.sampled_from(["claude-sonnet-4-5", "claude-opus-4-6", "gpt-5.6-sol"]),
    st.sampled_from(["rest", "rpc"]),
    st.sampled_from([None, Thinking(), Thinking(budget=8192), Thinking(effort="xhigh")]),
)
def test_any_conversation_is_accepted(
    conversation: Conversation, model: str, protocol: str, thinking: Thinking | None
) -> None:
    from kiro_auth.kiro.models import parse
    from kiro_auth.simulator.catalog import list_available_models

    listed = parse(list_available_models())
    options = payload.Options(
        model=resolve(model, listed).model,
        protocol=protocol,
        origin="AI_EDITOR",
        profile_arn=None,
        thinking=thinking,
    )

    built = payload.build(conversation, options)

    check_chat(json.loads(built.body), protocol=protocol, models=MODELS)
    assert built.input_tokens > 0


@settings(max_examples=examples(200), deadline=None)
@given(conversations)
def test_no_word_of_the_user_and_no_result_is_lost(conversation: Conversation) -> None:
    options = payload.Options(
        model=resolve("claude-opus-4-6", ()).model, protocol="rpc", origin="KIRO_CLI", profile_arn=None
    )

    body = json.loads(payload.build(conversation, options).body)

    said = json.dumps(body, ensure_ascii=False)
    for message in conversation.messages:
        for block in message.content:
            for part in block.content if isinstance(block, ToolResult) else (block,):
                if isinstance(part, Text) and part.text.strip():
                    assert json.dumps(part.text, ensure_ascii=False)[1:-1] in said
