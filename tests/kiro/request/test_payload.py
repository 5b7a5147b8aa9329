"""The body that is sent: valid for any conversation, the same for the same one, and nothing is hidden."""

import contextlib
import copy
import itertools
import json
import re
import sys
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kiro_auth.conversation import (
    Conversation,
    Document,
    Image,
    Message,
    Reasoning,
    RedactedReasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.models import Model
from kiro_auth.kiro.request.payload import Options, build
from kiro_auth.kiro.request.schemas import acceptable

CLAUDE = frozenset({"text", "image", "document"})
TAGGED = Model(id="claude-sonnet-4.5", name="s", inputs=CLAUDE, tags=True)
NATIVE = Model(
    id="claude-opus-4.8",
    name="o",
    inputs=CLAUDE,
    efforts=("low", "medium", "high", "max"),
    effort_field="output_config",
    adaptive=True,
    can_rest=True,
    displays=("summarized", "omitted"),
    output_limits=(1024, 64_000),
)
OFF = {"thinking": {"type": "disabled"}}
GPT = Model(id="gpt-5.6-sol", name="g", efforts=("none", "low", "high"), effort_field="reasoning")
PLAIN = Model(id="glm-5", name="p")
PNG, JPEG = "iVBORw0KGgoA", "/9j/4AAQ"


def options(model=NATIVE, **more):
    return Options(**{"model": model, "protocol": "rest", "origin": "AI_EDITOR", "profile_arn": None, **more})


def user(*content):
    return Message("user", tuple(Text(c) if isinstance(c, str) else c for c in content))


def assistant(*content):
    return Message("assistant", tuple(Text(c) if isinstance(c, str) else c for c in content))


def talk(*messages, **more):
    return Conversation("m", messages, **more)


def body_of(conversation, **more):
    return json.loads(build(conversation, options(**more)).body)


def entries_of(body):
    state = body["conversationState"]
    return [*state["history"], state["currentMessage"]]


def current_of(body):
    return body["conversationState"]["currentMessage"]["userInputMessage"]


def first_of(body):
    return entries_of(body)[0]["userInputMessage"]


def tools_of(body):
    tools = current_of(body).get("userInputMessageContext", {}).get("tools", [])
    return [tool["toolSpecification"] for tool in tools]


# ------------------------------------------------------------------- the judge: the service's rules

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def check(body):
    """The rules of the service, written down apart from the code that keeps them."""
    entries = entries_of(body)
    kinds = [next(iter(entry)) for entry in entries]
    assert all(len(entry) == 1 for entry in entries)
    assert kinds == [
        "userInputMessage",
        *["assistantResponseMessage", "userInputMessage"] * (len(kinds) // 2),
    ]
    turns = [next(iter(entry.values())) for entry in entries]
    check_turns(turns)
    declared = check_tools(tools_of(body))
    for before, after in itertools.pairwise(turns):
        calls = [use["toolUseId"] for use in before.get("toolUses", [])]
        results = [r["toolUseId"] for r in after.get("userInputMessageContext", {}).get("toolResults", [])]
        assert calls == results if "modelId" in after else not results
        assert len(set(calls)) == len(calls)
        for use in before.get("toolUses", []):
            assert NAME.fullmatch(use["toolUseId"])
            assert use["name"] in declared
            assert isinstance(use["input"], dict)
    check_media([turn for turn in turns if "modelId" in turn])


def check_turns(turns):
    assert "toolResults" not in turns[0].get("userInputMessageContext", {})
    for number, turn in enumerate(turns):
        context = turn.get("userInputMessageContext", {})
        if "modelId" in turn:
            assert turn["content"].strip() or context.get("toolResults")
            assert turn["origin"] == "AI_EDITOR"
            assert number == len(turns) - 1 or "tools" not in context
        else:
            assert turn["content"] or turn["toolUses"]
            reasoning = turn.get("reasoningContent", {})
            assert len(reasoning) <= 1
            assert reasoning.get("reasoningText", {"signature": "x"})["signature"]


def check_tools(specifications):
    names = [specification["name"] for specification in specifications]
    assert len(set(names)) == len(names)
    for specification in specifications:
        assert NAME.fullmatch(specification["name"])
        assert 1 <= len(specification["description"]) <= 10_240
        check_schema(specification["inputSchema"]["json"])
    return set(names)


def check_schema(root):
    assert root["type"] == "object"
    waiting = [root]
    while waiting:
        schema = waiting.pop()
        if isinstance(schema, dict):
            refused = {"anyOf", "oneOf", "allOf", "$ref", "$defs", "$schema", "additionalProperties", "const"}
            assert not refused & schema.keys()
            assert schema.get("required", ["x"])
            assert isinstance(schema.get("required", []), list)
            waiting += [*schema.get("properties", {}).values(), schema.get("items")]


def check_media(turns):
    images = [image for turn in turns for image in turn.get("images", [])]
    documents = [document for turn in turns for document in turn.get("documents", [])]
    assert len(images) <= 10
    assert {image["format"] for image in images} <= {"png", "jpeg", "gif", "webp"}
    assert all(item["source"]["bytes"] for item in [*images, *documents])
    names = [document["name"] for document in documents]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9 ()\[\]-]{1,200}", name) and "  " not in name for name in names)


# -------------------------------------------------------------------------------------------- laws

any_text = st.text(st.characters(), max_size=6)  # lone surrogates included
names = st.sampled_from(["read", "mcp.fs/read file", "", "x" * 70]) | any_text
ids = st.sampled_from(["t1", "t2", "odd id!", ""])
texts = st.builds(Text, any_text)
images = st.builds(Image, st.sampled_from(["png", "jpg", "bmp"]), st.sampled_from([PNG, JPEG, "Qk0=", ""]))
documents = st.builds(
    Document, any_text, st.sampled_from(["pdf", "plain", "odd"]), st.sampled_from(["YQ==", ""])
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(any_text, inner, max_size=2),
    max_leaves=4,
)
blocks = st.one_of(
    texts,
    images,
    documents,
    st.builds(Reasoning, st.just("why"), st.sampled_from(["", "sig"])),
    st.just(RedactedReasoning("cmVk")),
    st.builds(ToolCall, ids, names, st.dictionaries(any_text, values, max_size=2)),
    st.builds(ToolResult, ids, st.lists(texts | images | documents, max_size=3).map(tuple), st.booleans()),
)
messages = st.builds(
    Message, st.sampled_from(["user", "assistant", "system"]), st.lists(blocks, max_size=4).map(tuple)
)
KEYWORDS = (
    "type",
    "properties",
    "required",
    "anyOf",
    "oneOf",
    "allOf",
    "items",
    "enum",
    "const",
    "$ref",
    "$defs",
    "additionalProperties",
)
schemas = st.recursive(
    st.none() | st.booleans() | st.sampled_from(["object", "string", "null", "#/$defs/a", "#", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYWORDS, "a"]), inner, max_size=4)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from(KEYWORDS), schemas, max_size=5)
conversations = st.builds(
    Conversation,
    st.just("m"),
    st.lists(messages, max_size=6).map(tuple),
    system=st.lists(any_text, max_size=2).map(tuple),
    tools=st.lists(st.builds(Tool, names, any_text, objects), max_size=3).map(tuple),
    tool_choice=st.sampled_from([ToolChoice(), ToolChoice("none")]),
)
models = st.sampled_from([TAGGED, NATIVE, GPT, PLAIN])
thinkings = st.none() | st.builds(Thinking, st.booleans(), st.none() | st.integers(0, 10**6))


@given(conversations, models, thinkings)
def test_any_conversation_becomes_a_body_the_service_takes(conversation, model, thinking):
    check(body_of(conversation, model=model, thinking=thinking))


@given(conversations)
def test_the_input_is_left_alone_and_the_body_is_always_the_same(conversation):
    before = copy.deepcopy(conversation)
    assert build(conversation, options()) == build(conversation, options())
    assert conversation == before


@given(conversations)
def test_no_word_of_user_or_tool_is_lost(conversation):
    sent = build(conversation, options()).body.decode()
    for message in conversation.messages:
        for block in message.content:
            inner = block.content if isinstance(block, ToolResult) else (block,)
            for part in inner:
                clean = part.text.encode("utf-8", "ignore").decode() if isinstance(part, Text) else ""
                if clean.strip():
                    assert msgspec.json.encode(clean).decode()[1:-1] in sent


@given(objects)
def test_any_schema_becomes_acceptable_and_stays_so(schema):
    before = copy.deepcopy(schema)
    once = acceptable(schema).schema
    check_schema(once)
    assert acceptable(once).schema == once
    assert schema == before


@pytest.mark.parametrize("model", [TAGGED, NATIVE], ids=["tags", "native"])
def test_a_new_turn_leaves_the_bytes_of_the_old_ones(model):
    """The service caches by prefix, and signatures are bound to it."""
    turns = [user("a"), assistant("b"), user("c"), assistant("d"), user("e")]
    asked = {"model": model, "thinking": Thinking(budget=2000)}
    short = body_of(talk(*turns[:3], system=("s",)), **asked)
    long = body_of(talk(*turns, system=("s",)), **asked)
    assert entries_of(long)[:3] == entries_of(short)
    state, later = short["conversationState"], long["conversationState"]
    assert state["conversationId"] == later["conversationId"]


def test_a_long_history_with_many_tools_is_sent_whole():
    text = "x" * 5000
    turns = []
    for number in range(100):
        turns += [user(text), assistant(text, ToolCall(f"t{number}", f"tool{number % 40}", {"n": number}))]
        turns.append(user(ToolResult(f"t{number}", (Text("found"),))))
    tools = tuple(Tool(f"tool{number}", "d" * 200, {"type": "object"}) for number in range(40))
    payload = build(talk(*turns, tools=tools), options())
    body = json.loads(payload.body)
    check(body)
    assert len(payload.body) > 1_000_000
    assert len(entries_of(body)) == 201
    assert sum(len(e["assistantResponseMessage"].get("toolUses", [])) for e in entries_of(body)[1::2]) == 100
    assert len(tools_of(body)) == 40


# ----------------------------------------------------------------------------------------- the body


def test_a_turn_of_a_tool_loop_is_sent_as_the_service_wants_it():
    schema = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    conversation = talk(
        user("What is in a.txt?"),
        assistant("Reading it.", ToolCall("tooluse_A1", "read_file", {"path": "a.txt"})),
        user(ToolResult("tooluse_A1", (Text("hello"),))),
        system=("You are terse.",),
        tools=(Tool("read_file", "Read a text file.", schema),),
    )
    asked = {"profile_arn": "arn:x", "thinking": Thinking(effort="high")}
    body = body_of(conversation, **asked)
    id_ = body["conversationState"]["conversationId"]
    mine = {"modelId": "claude-opus-4.8", "origin": "AI_EDITOR"}
    use = {"toolUseId": "tooluse_A1", "name": "read_file", "input": {"path": "a.txt"}}
    result = {"toolUseId": "tooluse_A1", "status": "success", "content": [{"text": "hello"}]}
    tool = {"name": "read_file", "description": "Read a text file.", "inputSchema": {"json": schema}}
    context = {"toolResults": [result], "tools": [{"toolSpecification": tool}]}
    assert body == {
        "conversationState": {
            "conversationId": id_,
            "agentContinuationId": id_,
            "agentTaskType": "vibe",
            "chatTriggerType": "MANUAL",
            "history": [
                {"userInputMessage": {"content": "You are terse.\n\nWhat is in a.txt?", **mine}},
                {"assistantResponseMessage": {"content": "Reading it.", "toolUses": [use]}},
            ],
            "currentMessage": {
                "userInputMessage": {"content": "", **mine, "userInputMessageContext": context}
            },
        },
        "profileArn": "arn:x",
        "additionalModelRequestFields": {
            "output_config": {"effort": "high"},
            "thinking": {"type": "adaptive", "display": "summarized"},
        },
    }


@pytest.mark.parametrize(("protocol", "mode"), [("rest", None), ("rpc", "vibe")])
def test_the_agent_mode_stands_in_the_body_only_where_no_header_has_it(protocol, mode):
    assert body_of(talk(user("a")), protocol=protocol).get("agentMode") == mode


def test_a_session_names_the_conversation_and_else_its_beginning_does():
    def id_(*content, **more):
        found = body_of(talk(user(*content), **more))["conversationState"]["conversationId"]
        return str(uuid.UUID(found))

    assert id_("a", session="s") == id_("b", session="s") != id_("a", session="t")
    assert id_("a") == id_("a") != id_("b")
    assert id_("a", system=("s",)) != id_("a")


def test_what_is_said_in_a_conversation_without_a_session_is_not_kept_for_its_name():
    words = "short words".upper()
    conversation = talk(user(words))
    before = sys.getrefcount(words)
    body_of(conversation)

    assert sys.getrefcount(words) == before


def test_lone_surrogates_are_left_out_everywhere():
    bad = "a\ud800b"
    called = assistant(ToolCall("t", "f", {bad: [bad]}))
    body = body_of(talk(user(bad), called, user(ToolResult("t", (Text(bad),)))))
    assert first_of(body)["content"] == "ab"
    assert entries_of(body)[1]["assistantResponseMessage"]["toolUses"][0]["input"] == {"ab": ["ab"]}


@pytest.mark.parametrize("leaf", ["x", "\ud800"], ids=["plain", "surrogate"])
def test_too_deep_an_input_is_refused_by_name(leaf):
    deep = leaf
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TurnFailed) as caught:
        build(talk(user("a"), assistant(ToolCall("t", "f", {"x": deep}))), options())
    while isinstance(deep, list):  # freed by hand: a failure report must not walk down there
        deep = deep[0]
    assert caught.value.failure.code == "KA-REQUEST"


# ----------------------------------------------------------------------------------------- thinking


@pytest.mark.parametrize(
    ("budget", "effort"),
    [
        (1, "low"),
        (8192, "low"),
        (8193, "medium"),
        (16384, "medium"),
        (16385, "high"),
        (31998, "high"),
        (32768, "max"),
    ],
)
def test_a_budget_becomes_the_effort_it_amounts_to(budget, effort):
    fields = body_of(talk(user("a")), thinking=Thinking(budget=budget))["additionalModelRequestFields"]
    assert fields["output_config"] == {"effort": effort}


@pytest.mark.parametrize(
    ("model", "thinking", "fields"),
    [
        pytest.param(NATIVE, None, None, id="not asked"),
        pytest.param(NATIVE, Thinking(enabled=False, budget=9), OFF, id="asked not to"),
        pytest.param(
            NATIVE,
            Thinking(enabled=False, effort="high"),
            {**OFF, "output_config": {"effort": "high"}},
            id="asked not to, with an effort",
        ),
        pytest.param(
            replace(NATIVE, can_rest=False), Thinking(enabled=False), None, id="no word for being off"
        ),
        pytest.param(GPT, Thinking(enabled=False), {"reasoning": {"effort": "none"}}, id="off is an effort"),
        pytest.param(
            replace(GPT, efforts=("low", "high")), Thinking(enabled=False), None, id="no effort of none"
        ),
        pytest.param(PLAIN, Thinking(budget=9), None, id="model without"),
        pytest.param(
            NATIVE,
            Thinking(),
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            id="model decides",
        ),
        pytest.param(
            NATIVE,
            Thinking(effort="xhigh", visible=False),
            {"output_config": {"effort": "max"}, "thinking": {"type": "adaptive", "display": "omitted"}},
            id="next higher, hidden",
        ),
        pytest.param(GPT, Thinking(effort="medium"), {"reasoning": {"effort": "high"}}, id="own field"),
        pytest.param(GPT, Thinking(effort="max"), {"reasoning": {"effort": "high"}}, id="next lower"),
        pytest.param(GPT, Thinking(effort="weird"), None, id="unknown word"),
    ],
)
def test_only_what_the_schema_of_the_model_knows_is_sent(model, thinking, fields):
    body = body_of(talk(user("a")), model=model, thinking=thinking)
    assert body.get("additionalModelRequestFields") == fields
    assert first_of(body)["content"] == "a"


@pytest.mark.parametrize(
    ("thinking", "length"),
    [
        (Thinking(budget=5000), 5000),
        (Thinking(budget=10), 1024),
        (Thinking(), 16384),
        (Thinking(effort="low"), 8192),
    ],
)
def test_old_models_are_asked_in_the_prompt(thinking, length):
    payload = build(talk(user("a"), system=("s",)), options(TAGGED, thinking=thinking))
    tags = f"<thinking_mode>enabled</thinking_mode><max_thinking_length>{length}</max_thinking_length>"
    assert first_of(json.loads(payload.body))["content"] == f"{tags}\n\ns\n\na"
    assert payload.tag_reasoning


@pytest.mark.parametrize("thinking", [None, Thinking(enabled=False)])
def test_tags_are_sent_only_when_asked_for(thinking):
    payload = build(talk(user("a")), options(TAGGED, thinking=thinking))
    assert first_of(json.loads(payload.body))["content"] == "a"
    assert not payload.tag_reasoning


@given(st.integers(1, 10**6), st.integers(1, 5000), st.integers(5001, 200_000))
def test_a_limit_goes_out_within_the_models_bounds_and_what_they_do_not_keep_is_kept_here(limit, least, most):
    model = replace(NATIVE, output_limits=(least, most))
    payload = build(talk(user("a"), max_output=limit), options(model))
    sent = json.loads(payload.body)["additionalModelRequestFields"]["max_tokens"]

    assert sent == sorted((least, limit, most))[1]
    assert payload.output_limit == (limit if sent > limit else None)


@pytest.mark.parametrize("model", [GPT, PLAIN, TAGGED], ids=lambda model: model.id)
def test_a_limit_that_the_model_cannot_be_told_is_kept_here(model):
    payload = build(talk(user("a"), max_output=300), options(model))

    assert "additionalModelRequestFields" not in json.loads(payload.body)
    assert payload.output_limit == 300


def test_without_a_limit_none_is_sent_or_kept():
    payload = build(talk(user("a")), options(thinking=Thinking(effort="low")))

    assert "max_tokens" not in json.loads(payload.body)["additionalModelRequestFields"]
    assert payload.output_limit is None


def test_refused_settings_are_left_out_with_a_repair_and_the_limit_is_kept_here():
    asked = talk(user("a"), max_output=4000)
    thinking = Thinking(effort="high")
    whole = build(asked, options(thinking=thinking))
    mended = build(asked, options(thinking=thinking, without=frozenset({"fields"})))

    assert (whole.held, mended.held) == ({"fields"}, frozenset())
    assert "additionalModelRequestFields" not in json.loads(mended.body)
    assert (whole.output_limit, mended.output_limit) == (None, 4000)
    assert [repair.where for repair in mended.repairs] == ["request"]


@pytest.mark.parametrize(("limit", "length"), [(10_000, 7500), (4000, 3000), (100, 1024), (99_999, 16384)])
def test_a_quarter_of_a_limit_is_left_for_the_answer_of_a_model_that_thinks_in_tags(limit, length):
    body = body_of(talk(user("a"), max_output=limit), model=TAGGED, thinking=Thinking())

    assert f"<max_thinking_length>{length}</max_thinking_length>" in first_of(body)["content"]


def test_files_of_one_name_are_numbered_and_none_gets_the_name_of_another() -> None:
    names = ["a.txt", "a (2).txt", "a.pdf", "a (2).md", "b.txt", *["a.txt"] * 3]
    files = [Document(name, "txt", "YQ==") for name in names]

    sent = current_of(body_of(talk(user(*files))))["documents"]
    assert [document["name"] for document in sent] == [
        *("a", "a (2)", "a (3)", "a (2) (2)", "b"),
        *("a (4)", "a (5)", "a (6)"),
    ]


@pytest.mark.parametrize("part", ["images", "documents"])
def test_what_was_refused_is_a_line_that_says_so_wherever_it_stands(part):
    picture, file = Image("png", PNG), Document("a.pdf", "pdf", "QUJD")
    conversation = talk(
        user("a", picture, file),
        assistant(ToolCall("t", "read", {})),
        user(ToolResult("t", (picture, file))),
        assistant("b"),
        user("c", picture, file),
    )
    whole = build(conversation, options())
    body = body_of(conversation, without=frozenset({part}))

    assert whole.held == {"images", "documents"}
    left = {"images": "documents", "documents": "images"}[part]
    turns = [entry["userInputMessage"] for entry in entries_of(body) if "userInputMessage" in entry]
    assert [(part in turn, left in turn) for turn in turns] == [(False, True)] * 3
    note = f"was left out: Kiro refused the {part} of this conversation.]"
    assert [json.dumps(turn).count(note) for turn in turns] == [1, 1, 1]


def test_hidden_reasoning_goes_back_with_the_text_that_stood_for_it():
    signature = ".KTR~~abc-def"
    body = body_of(talk(user("a"), assistant(Reasoning("", signature), "b"), user("c")), model=GPT)

    sent = entries_of(body)[1]["assistantResponseMessage"]["reasoningContent"]
    assert sent == {"reasoningText": {"text": "...", "signature": signature}}


SIGNED = {"reasoningText": {"text": "why", "signature": "sig"}}


@pytest.mark.parametrize(
    ("blocks", "more", "sent"),
    [
        pytest.param([Reasoning("why", "sig")], {}, SIGNED, id="signed"),
        pytest.param([RedactedReasoning("cmVk")], {}, {"redactedContent": "cmVk"}, id="redacted"),
        pytest.param([Reasoning("why")], {}, None, id="unsigned"),
        pytest.param([Reasoning("why"), Reasoning("why", "sig")], {}, SIGNED, id="one of them signed"),
        pytest.param([Reasoning("a", "b"), Reasoning("c", "d")], {}, None, id="two do not fit"),
        pytest.param([Reasoning("why", "sig")], {"without": frozenset({"reasoning"})}, None, id="dropped"),
        pytest.param([Reasoning("why", "sig")], {"model": TAGGED}, None, id="of another model"),
    ],
)
def test_signed_reasoning_is_replayed_whole_or_not_at_all(blocks, more, sent):
    body = body_of(talk(user("a"), assistant(*blocks, "b"), user("c")), **more)
    assert entries_of(body)[1]["assistantResponseMessage"].get("reasoningContent") == sent


# ------------------------------------------------------------------------------------------- tools


def test_odd_tool_names_are_sent_under_an_alias_also_in_the_history():
    odd = "mcp.fs/read file"
    called = assistant(ToolCall("t", odd, {}))
    payload = build(
        talk(user("a"), called, user("b"), tools=(Tool(odd, "d", {}), Tool("ok", "d", {}))), options()
    )
    body = json.loads(payload.body)
    [(alias, name)] = payload.tool_names.items()
    assert name == odd
    assert re.fullmatch(r"mcp_fs_read_file_[0-9a-f]{8}", alias)
    assert [tool["name"] for tool in tools_of(body)] == [alias, "ok"]
    assert entries_of(body)[1]["assistantResponseMessage"]["toolUses"][0]["name"] == alias


def test_tools_of_the_history_are_declared_even_if_the_client_offers_none():
    """A client that compacts a conversation sends its calls without its tools."""
    body = body_of(talk(user("a"), assistant(ToolCall("t", "read", {})), user("b")))
    assert [tool["name"] for tool in tools_of(body)] == ["read"]


def test_with_tool_choice_none_only_what_the_history_needs_is_declared():
    tools = (Tool("read", "d", {}), Tool("write", "d", {}))
    none = ToolChoice("none")
    called = assistant(ToolCall("t", "read", {}))
    assert tools_of(body_of(talk(user("a"), tools=tools, tool_choice=none))) == []
    body = body_of(talk(user("a"), called, user("b"), tools=tools, tool_choice=none))
    assert [tool["name"] for tool in tools_of(body)] == ["read"]


@pytest.mark.parametrize("choice", [ToolChoice("none"), ToolChoice(names=("write",))])
def test_a_tool_of_the_history_that_is_not_offered_is_said_to_be_out_of_use(choice):
    tools = (Tool("read", "Reads.", {"properties": {"path": S}}), Tool("write", "Writes.", {}))
    body = body_of(
        talk(user("a"), assistant(ToolCall("t", "read", {})), user("b"), tools=tools, tool_choice=choice)
    )
    [read] = [tool for tool in tools_of(body) if tool["name"] == "read"]
    assert "cannot be called now" in read["description"]
    assert read["inputSchema"]["json"]["properties"] == {}


def test_of_two_tools_of_one_name_the_first_counts():
    tools = (Tool("b", "one", {}), Tool("a", "x", {}), Tool("b", "two", {}))
    payload = build(talk(user("a"), tools=tools), options())
    assert [t["description"] for t in tools_of(json.loads(payload.body))] == ["one", "x"]
    assert [repair.what for repair in payload.repairs] == ["a tool was dropped"]


def test_an_empty_description_becomes_the_name_and_a_long_one_moves_to_the_instructions():
    long = "d" * 10_001
    body = body_of(talk(user("a"), tools=(Tool("x", " ", {}), Tool("y", long, {}))))
    assert [t["description"] for t in tools_of(body)] == ["x", "Described under the heading: Tool y"]
    assert first_of(body)["content"] == f"# Tool y\n\n{long}\n\na"


S, N = {"type": "string"}, {"type": "null"}


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        pytest.param({"anyOf": [S, N]}, S, id="or null"),
        pytest.param({"type": ["string", "null"]}, S, id="type or null"),
        pytest.param({"const": 1}, {"enum": [1]}, id="const"),
        pytest.param({"oneOf": [{"const": 1}, {"const": 2}]}, {"enum": [1, 2]}, id="constants"),
        pytest.param({"anyOf": [S, {"type": "number"}]}, {}, id="different types"),
        pytest.param({"allOf": [S, {"minLength": 1}]}, {"minLength": 1, "type": "string"}, id="all of"),
        pytest.param({"$ref": "#/$defs/s"}, S, id="reference"),
        pytest.param({"$ref": "#/$defs/loop"}, {"type": "object", "properties": {"a": {}}}, id="recursion"),
        pytest.param({"$ref": "https://x/y"}, {}, id="nothing is fetched"),
        pytest.param({"type": "object", "required": None}, {"type": "object"}, id="null required"),
        pytest.param({"type": "object", "additionalProperties": False}, {"type": "object"}, id="additional"),
        pytest.param(
            {"properties": {"a": S}, "oneOf": [{"properties": {"b": S}}, {"properties": {"c": S}}]},
            {"type": "object", "properties": {"a": S, "b": S, "c": S}},
            id="union beside properties",
        ),
        pytest.param({"properties": {"$id": S}}, {"properties": {"$id": S}}, id="a property is no keyword"),
    ],
)
def test_schemas_are_loosened_no_more_than_needed(part, sent):
    loop = {"type": "object", "properties": {"a": {"$ref": "#/$defs/loop"}}}
    schema = {"type": "object", "properties": {"p": part}, "$defs": {"s": S, "loop": loop}}
    assert acceptable(schema).schema == {"type": "object", "properties": {"p": sent}}


def test_a_small_schema_cannot_stand_for_an_endless_one():
    defs = {f"d{n}": {"properties": {key: {"$ref": f"#/$defs/d{n + 1}"} for key in "xy"}} for n in range(60)}
    assert len(json.dumps(acceptable({"$defs": defs, "$ref": "#/$defs/d0"}).schema)) < 1_000_000
    deep = {}
    for _ in range(5000):
        deep = {"properties": {"a": deep}}
    assert acceptable(deep).schema["type"] == "object"


# ------------------------------------------------------------------------------------------- media


@pytest.mark.parametrize(
    ("named", "data", "sent"),
    [
        ("jpg", JPEG, "jpeg"),
        ("jpeg", PNG, "png"),
        ("PNG", PNG, "png"),
        ("bmp", "R0lGODlh", "gif"),
        ("webp", "UklGRgAAAABXRUJQ", "webp"),
    ],
)
def test_the_bytes_of_an_image_tell_its_format(named, data, sent):
    [image] = current_of(body_of(talk(user("a", Image(named, data)))))["images"]
    assert image == {"format": sent, "source": {"bytes": data}}


@pytest.mark.parametrize(
    ("format_", "sent"), [("pdf", "pdf"), ("plain", "txt"), ("markdown", "md"), ("CSV", "csv")]
)
def test_documents_travel_under_clean_names_of_their_own(format_, sent):
    document = Document("my_report: v2.pdf", format_, "YQ==")
    one, two = current_of(body_of(talk(user("a", document, document))))["documents"]
    assert one == {"name": "my report v2", "format": sent, "source": {"bytes": "YQ=="}}
    assert two["name"] == "my report v2 (2)"


@pytest.mark.parametrize(
    ("block", "model", "why"),
    [
        pytest.param(Image("bmp", "Qk0="), NATIVE, "the format is not supported", id="image format"),
        pytest.param(Image("png", "aGk="), NATIVE, "the format is not supported", id="no picture"),
        pytest.param(
            Image("webp", "UklGRgAAAABXQVZF"), NATIVE, "the format is not supported", id="sound as picture"
        ),
        pytest.param(Image("png", PNG + "!"), NATIVE, "its data is not base64", id="image data"),
        pytest.param(
            Image("png", PNG + "A" * 14_000_000), NATIVE, "it has more than 10 MB", id="large image"
        ),
        pytest.param(Document("a", "pdf", "ü"), NATIVE, "its data is not base64", id="document data"),
        pytest.param(Image("png", PNG), PLAIN, "the model takes none", id="model without images"),
        pytest.param(Image("png", ""), NATIVE, "it is empty", id="empty image"),
        pytest.param(
            Document("a.zip", "zip", "YQ=="), NATIVE, "the format zip is not supported", id="document"
        ),
        pytest.param(Document("a", "pdf", "YQ=="), GPT, "the model takes none", id="model without documents"),
        pytest.param(Document("a", "pdf", ""), NATIVE, "it is empty", id="empty document"),
    ],
)
def test_what_cannot_travel_leaves_a_note(block, model, why):
    payload = build(talk(user("a", block)), options(model))
    current = current_of(json.loads(payload.body))
    assert why in current["content"]
    assert not current.keys() & {"images", "documents"}
    assert payload.repairs[-1].why == why


def test_media_of_a_result_moves_to_the_message_and_leaves_a_pointer():
    result = ToolResult("t", (Text("see"), Image("png", PNG), Document("a", "pdf", "YQ==")), is_error=True)
    current = current_of(body_of(talk(user("a"), assistant(ToolCall("t", "f", {})), user(result))))
    [sent] = current["userInputMessageContext"]["toolResults"]
    assert [part["text"] for part in sent["content"]] == [
        "see",
        "The image is attached to this message.",
        "The document is attached to this message.",
    ]
    assert sent["status"] == "error"
    assert (len(current["images"]), len(current["documents"])) == (1, 1)


def test_of_too_many_images_the_newest_are_kept():
    turns = [user("a", *[Image("png", f"{PNG}{n:04}") for n in range(8)]), assistant("b")]
    payload = build(talk(*turns, user("c", *[Image("png", f"{PNG}{n:04}") for n in range(8, 13)])), options())
    body = json.loads(payload.body)
    kept = [
        image["source"]["bytes"]
        for entry in entries_of(body)[::2]
        for image in entry["userInputMessage"]["images"]
    ]
    assert kept == [f"{PNG}{n:04}" for n in range(3, 13)]
    assert first_of(body)["content"].count("only the last 10 images are sent") == 3
    assert len(payload.repairs) == 3


# -------------------------------------------------------------------------------------- the estimate


def test_the_estimate_grows_with_words_and_counts_an_image_as_an_image():
    def tokens(*content):
        return build(talk(user(*content)), options()).input_tokens

    base = tokens("a")
    assert 990 < tokens("a" * 3601) - base < 1010
    assert tokens("a", Image("png", PNG + "A" * 1_000_000)) - base < 1600


def test_the_parts_of_the_input_add_up_to_its_estimate_and_are_of_their_sizes() -> None:
    tools = tuple(Tool(f"t{number}", "d" * 300, {"type": "object"}) for number in range(10))
    picture = Image("png", PNG)
    spoken = talk(user("x" * 3600, picture), system=("s" * 7200,), tools=tools)

    made = build(spoken, options())

    parts = made.input_parts
    declared = json.loads(made.body)["conversationState"]["currentMessage"]["userInputMessage"][
        "userInputMessageContext"
    ]["tools"]
    assert parts.tools == int(len(json.dumps(declared, separators=(",", ":"))) / 3.6)
    assert (parts.system, parts.attachments) == (2000, 1500)
    assert 1000 < parts.history < 1300
    assert sum(msgspec.structs.astuple(parts)) == made.input_tokens


@pytest.mark.parametrize("place", ["schema", "choice of schemas", "input"])
def test_however_deep_a_request_is_nested_it_is_built_or_refused_by_name(place):
    nested: object = {"type": "string"}
    for depth in range(1000):
        nested = {"anyOf": [nested]} if place == "choice of schemas" else [nested]
        if depth % 100 and depth < 800 - 400 * (place == "choice of schemas"):
            continue
        schema = {"type": "object", "properties": {"x": nested}}
        call = (user("Hi"), assistant(ToolCall("1", "t", {"x": nested})), user(ToolResult("1", ())))
        talked = talk(*call) if place == "input" else talk(user("Hi"), tools=(Tool("t", "T", schema),))
        with contextlib.suppress(TurnFailed):
            build(talked, options())
    with pytest.raises(TurnFailed, match="nested too deeply"):
        build(talk(*call), options())
