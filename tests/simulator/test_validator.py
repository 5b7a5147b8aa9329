"""The strict check of chat requests, rule by rule."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.simulator.catalog import MODELS, list_available_models
from kiro_auth.simulator.refusals import Refusal
from kiro_auth.simulator.validator import check_chat, count_tokens
from kiro_auth.simulator.wire import sign

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
SPECIFICATION = {
    "name": "read_file",
    "description": "Read a text file.",
    "inputSchema": {
        "json": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    },
}
BODY: dict[str, Any] = {
    "conversationState": {
        "conversationId": "0b9f6a52-6a3e-4b67-9f3a-1d2c3e4f5a6b",
        "agentContinuationId": "5e0c1f7e-8a52-4f0e-9d54-77a1c2b3d4e5",
        "agentTaskType": "vibe",
        "chatTriggerType": "MANUAL",
        "history": [
            {
                "userInputMessage": {
                    "content": "You are terse.\n\nWhat is in a.txt?",
                    "modelId": "claude-sonnet-4.6",
                    "origin": "AI_EDITOR",
                }
            },
            {
                "assistantResponseMessage": {
                    "content": "Reading it.",
                    "toolUses": [
                        {"toolUseId": "tooluse_A1", "name": "read_file", "input": {"path": "a.txt"}}
                    ],
                }
            },
        ],
        "currentMessage": {
            "userInputMessage": {
                "content": "",
                "modelId": "claude-sonnet-4.6",
                "origin": "AI_EDITOR",
                "userInputMessageContext": {
                    "toolResults": [
                        {"toolUseId": "tooluse_A1", "status": "success", "content": [{"text": "hello"}]}
                    ],
                    "tools": [{"toolSpecification": SPECIFICATION}],
                },
            }
        },
    },
    "profileArn": "arn:aws:codewhisperer:us-east-1:123456789012:profile/ABCDEFGHIJKL",
    "additionalModelRequestFields": {"output_config": {"effort": "high"}, "thinking": {"type": "adaptive"}},
}


class Parts:
    """A copy of the good body, and the places in it that the cases change."""

    def __init__(self) -> None:
        self.body = copy.deepcopy(BODY)
        self.state = self.body["conversationState"]
        self.history = self.state["history"]
        self.first = self.history[0]["userInputMessage"]
        self.answer = self.history[1]["assistantResponseMessage"]
        self.use = self.answer["toolUses"][0]
        self.current = self.state["currentMessage"]["userInputMessage"]
        self.context = self.current["userInputMessageContext"]
        self.result = self.context["toolResults"][0]
        self.tool = self.context["tools"][0]["toolSpecification"]
        self.schema = self.tool["inputSchema"]["json"]

    def without_tools(self) -> None:
        self.history.clear()
        self.current.pop("userInputMessageContext")
        self.current["content"] = "Hello"


def refusal_of(body: Any, protocol: str = "rest") -> Refusal | None:
    try:
        check_chat(body, protocol=protocol, models=MODELS)
    except Refusal as refusal:
        return refusal
    return None


def image(data: bytes = PNG, kind: str = "png") -> dict[str, Any]:
    return {"format": kind, "source": {"bytes": base64.b64encode(data).decode()}}


def document(name: str = "a", kind: str = "pdf") -> dict[str, Any]:
    return {"name": name, "format": kind, "source": {"bytes": "JVBERg=="}}


def reasoning(text: str, signature: str | None) -> dict[str, Any]:
    said = {"text": text} if signature is None else {"text": text, "signature": signature}
    return {"reasoningContent": {"reasoningText": said}}


def change(**places: Any) -> Callable[[Parts], None]:
    """A case that sets members: `place__member=value`; `None` takes the member away."""

    def apply(parts: Parts) -> None:
        for target, value in places.items():
            place, _, member = target.partition("__")
            if value is None:
                getattr(parts, place).pop(member)
            else:
                getattr(parts, place)[member] = value

    return apply


BAD = "REQUEST_BODY_INVALID"
MISMATCH = "TOOL_USE_RESULT_MISMATCH"
ASSISTANT = {"assistantResponseMessage": {"content": "Yes."}}
USER = {"userInputMessage": {"content": "Go on."}}

REFUSED: dict[str, tuple[str, Callable[[Parts], None]]] = {
    # shapes and limits
    "no conversation": (BAD, change(body__conversationState=None)),
    "agentMode in a rest body": (BAD, change(body__agentMode="vibe")),
    "a placeholder for the profile": (BAD, change(body__profileArn="arn:aws:placeholder")),
    "unknown trigger": (BAD, change(state__chatTriggerType="AUTO")),
    "no trigger": (BAD, change(state__chatTriggerType=None)),
    "empty conversation id": ("INVALID_CONVERSATION_ID", change(state__conversationId="")),
    "long conversation id": ("INVALID_CONVERSATION_ID", change(state__conversationId="x" * 129)),
    "short continuation id": (BAD, change(state__agentContinuationId="x")),
    "unknown task type": (BAD, change(state__agentTaskType="code")),
    "workspace id of another length": (BAD, change(state__workspaceId="x")),
    "no current message": (BAD, change(state__currentMessage=None)),
    "a message of no kind": (BAD, lambda p: p.history.__setitem__(0, {})),
    "a message of both kinds": (BAD, lambda p: p.history.__setitem__(0, {**USER, **ASSISTANT})),
    "no content": (BAD, change(current__content=None)),
    "content is a list": (BAD, change(current__content=[{"text": "x"}])),
    "unknown origin": (BAD, change(current__origin="OPENCODE")),
    "unknown intent": (BAD, change(current__userIntent="CHAT")),
    "unknown cache point": (BAD, change(current__cachePoint={"type": "ephemeral"})),
    "a lone surrogate": (BAD, change(first__content="\ud83d")),
    "a lone surrogate in a name": (BAD, lambda p: p.schema["properties"].update({"\udc00": {}})),
    "unknown operating system": (BAD, lambda p: p.context.update(envState={"operatingSystem": "beos"})),
    # the model
    "unknown model": ("INVALID_MODEL_ID", change(current__modelId="gpt-2")),
    "illegal model id": ("INVALID_MODEL_ID", change(current__modelId="claude sonnet")),
    "unknown field": (BAD, change(body__additionalModelRequestFields={"reasoning": {"effort": "high"}})),
    "unknown inner field": (BAD, change(body__additionalModelRequestFields={"thinking": {"budget": 1}})),
    "unknown effort": (BAD, change(body__additionalModelRequestFields={"output_config": {"effort": "huge"}})),
    "fields are a list": (BAD, change(body__additionalModelRequestFields=[1])),
    "fields for a model without": (None, change(current__modelId="claude-sonnet-4.5")),
    "a limit below the least": (BAD, change(body__additionalModelRequestFields={"max_tokens": 1023})),
    "a limit above the most": (BAD, change(body__additionalModelRequestFields={"max_tokens": 128_001})),
    "a limit in words": (BAD, change(body__additionalModelRequestFields={"max_tokens": "2048"})),
    "too long": ("CONTENT_LENGTH_EXCEEDS_THRESHOLD", change(first__content="word " * 900_000)),
    # the conversation
    "assistant first": (BAD, lambda p: p.history.pop(0)),
    "assistant last": (BAD, change(state__currentMessage=ASSISTANT)),
    "two users in a row": (BAD, lambda p: p.history.insert(0, USER)),
    "two assistants in a row": (BAD, lambda p: p.history.insert(1, ASSISTANT)),
    "results in the first message": (BAD, lambda p: p.history.clear()),
    "an empty user": (BAD, change(first__content="")),
    "a blank user": (BAD, change(first__content=" \n")),
    "an empty assistant": (BAD, change(answer__content="", answer__toolUses=None)),
    "tools in the history": (
        BAD, lambda p: p.first.update(userInputMessageContext={"tools": p.context["tools"]}),
    ),
    # calls and results
    "a call without result": (MISMATCH, change(context__toolResults=None, current__content="And?")),
    "a result without call": (MISMATCH, change(answer__toolUses=None)),
    "a result of another call": (MISMATCH, change(result__toolUseId="tooluse_B2")),
    "a call's id twice": ("TOOL_DUPLICATE", lambda p: p.answer["toolUses"].append(p.use)),
    "a result twice": ("TOOL_DUPLICATE", lambda p: p.context["toolResults"].append(p.result)),
    "an illegal id": (BAD, change(use__toolUseId="call.1", result__toolUseId="call.1")),
    "a long id": (BAD, change(use__toolUseId="x" * 65, result__toolUseId="x" * 65)),
    "no tools declared": ("TOOL_CONFIG_MISSING", change(context__tools=None)),
    "only a cache point declared": (
        "TOOL_CONFIG_MISSING", change(context__tools=[{"cachePoint": {"type": "default"}}]),
    ),
    "an undeclared tool used": (BAD, change(use__name="write_file")),
    "an illegal name used": (BAD, change(use__name="mcp.read")),
    "an input that is text": (BAD, change(use__input='{"path": "a.txt"}')),
    "a status in capitals": (BAD, change(result__status="SUCCESS")),
    "a result without content": (BAD, change(result__content=None)),
    "a result of unknown content": (BAD, change(result__content=[{"image": {}}])),
    # declared tools
    "a tool of no kind": (BAD, lambda p: p.context["tools"].append({"custom": {}})),
    "an illegal name": (BAD, change(tool__name="read file")),
    "a name with an end of line": (BAD, change(tool__name="read_file\n")),
    "no name": (BAD, change(tool__name="")),
    "a long name": (BAD, change(tool__name="x" * 65)),
    "an empty description": (BAD, change(tool__description="")),
    "a tool twice": (
        "TOOL_DUPLICATE", lambda p: p.context["tools"].append({"toolSpecification": SPECIFICATION}),
    ),
    "no schema": (BAD, change(tool__inputSchema=None)),
    "a schema without type": ("TOOL_SCHEMA_INVALID", change(schema__type=None)),
    "a schema of a string": ("TOOL_SCHEMA_INVALID", change(schema__type="string")),
    "anyOf at the root": ("TOOL_SCHEMA_INVALID", change(schema__anyOf=[{"type": "object"}])),
    "anyOf inside": (BAD, change(schema__properties={"a": {"anyOf": [{"type": "string"}]}})),
    "a reference inside": (BAD, change(schema__properties={"a": {"items": {"$ref": "#/$defs/x"}}})),
    "definitions": (BAD, change(schema__additionalProperties=False)),
    "required is empty": (BAD, change(schema__required=[])),
    "required is null": (BAD, lambda p: p.schema.update(required=None)),
    "required is a flag inside": (BAD, change(schema__properties={"a": {"required": True}})),
    # media
    "eleven images": ("IMAGE_COUNT_EXCEEDED", change(current__images=[image()] * 11)),
    "a jpg": ("IMAGE_FORMAT_UNSUPPORTED", change(current__images=[image(kind="jpg")])),
    "a jpeg that is a png": ("IMAGE_MIME_MISMATCH", change(current__images=[image(kind="jpeg")])),
    "a webp that is a wave": (
        "IMAGE_MIME_MISMATCH", change(current__images=[image(b"RIFF0000WAVE", "webp")]),
    ),
    "a large image": ("IMAGE_SIZE_EXCEEDED", change(current__images=[image(PNG + bytes(10_000_000))])),
    "an empty image": (BAD, change(current__images=[image(b"")])),
    "an image that is no base64": (
        BAD, change(current__images=[{"format": "png", "source": {"bytes": "…"}}]),
    ),
    "an image by address": (BAD, change(current__images=[{"format": "png", "source": {"url": "https://x"}}])),
    "a document of unknown format": (BAD, change(current__documents=[document(kind="odt")])),
    "a document without name": (BAD, change(current__documents=[document("")])),
    "documents of one name": ("DOCUMENT_DUPLICATE_NAME", change(current__documents=[document(), document()])),
    # reasoning
    "unsigned reasoning": (BAD, lambda p: p.answer.update(reasoning("Hm", None))),
    "an empty signature": (BAD, lambda p: p.answer.update(reasoning("Hm", ""))),
    "a signature of other words": (
        "THINKING_SIGNATURE_INVALID", lambda p: p.answer.update(reasoning("Hm!", sign("Hm"))),
    ),
    "reasoning of no kind": (BAD, change(answer__reasoningContent={})),
}  # fmt: skip

TAKEN: dict[str, Callable[[Parts], None]] = {
    "the whole example": lambda parts: None,
    "a first message alone": Parts.without_tools,
    "no model": change(current__modelId=None, body__additionalModelRequestFields=None),
    "an unknown member": lambda p: [place.update(new=1) for place in (p.body, p.state, p.current)] and None,
    "null for what may be left out": lambda p: p.state.update(workspaceId=None, customizationArn=None),
    "tools without use": change(state__history=[], current__content="Hi", context__toolResults=None),
    "a call without words": change(answer__content=""),
    "results as JSON": change(result__content=[{"json": {"a": 1}}, {"text": ""}]),
    "a property named like a keyword": change(
        schema__properties={"anyOf": {"type": "string"}, "required": {}}
    ),
    "a tool without description": change(tool__description=None),
    "signed reasoning": lambda p: p.answer.update(reasoning("Hm", sign("Hm"))),
    "redacted reasoning": change(answer__reasoningContent={"redactedContent": "AAAA"}),
    "ten images": change(current__images=[image()] * 10),
    "a webp": change(current__images=[image(b"RIFF0000WEBPVP8 ", "webp")]),
    "two documents": change(current__documents=[document("a"), document("b", "txt")]),
    "the other model's field": change(
        current__modelId="gpt-5.6-sol", body__additionalModelRequestFields={"reasoning": {"effort": "none"}}
    ),
    "the working directory": lambda p: p.context.update(
        envState={"operatingSystem": "linux", "currentWorkingDirectory": "/w", "timezoneOffset": -60}
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_breaks_a_rule_is_refused_with_its_reason(name: str) -> None:
    reason, apply = REFUSED[name]
    parts = Parts()
    apply(parts)

    refusal = refusal_of(parts.body)

    assert refusal is not None
    assert (refusal.type, refusal.reason, refusal.status) == ("ValidationException", reason, 400)


def test_a_description_that_is_too_long_is_met_with_a_fault() -> None:
    parts = Parts()
    change(tool__description="x" * 10_241)(parts)

    refusal = refusal_of(parts.body)

    assert refusal is not None
    assert (refusal.type, refusal.reason, refusal.status) == ("InternalServerException", None, 500)


@pytest.mark.parametrize("name", TAKEN)
def test_a_request_that_keeps_the_rules_is_taken(name: str) -> None:
    parts = Parts()
    TAKEN[name](parts)

    assert refusal_of(parts.body) is None


def test_the_mode_stands_in_the_body_of_the_rpc_dialect_only() -> None:
    assert refusal_of({**BODY, "agentMode": "vibe"}, "rpc") is None
    assert refusal_of({**BODY, "agentMode": 1}, "rpc") is not None


def test_messages_are_those_that_the_service_was_seen_with() -> None:
    assert _said("too long") == "Input is too long."
    assert _said("unknown model") == "Invalid model. Please select a different model to continue."
    assert _said("unknown field") == (
        "Invalid additionalModelRequestFields: property 'reasoning' is not defined in the schema"
    )
    assert "does not support oneOf, allOf, or anyOf at the top level" in _said("anyOf at the root")
    assert "toolConfig.tools.0.toolSpec.inputSchema.json.type" in _said("a schema without type")
    assert "tool_use ids were found without tool_result blocks" in _said("a call without result")


def _said(name: str) -> str:
    parts = Parts()
    REFUSED[name][1](parts)
    refusal = refusal_of(parts.body)
    assert refusal is not None
    return refusal.message


def test_a_refusal_is_the_body_of_an_error() -> None:
    refusal = Refusal("ThrottlingException", "Slow down.", "USER_REQUEST_RATE_EXCEEDED")

    assert refusal.status == 429
    assert refusal.json() == {
        "__type": "com.amazon.aws.codewhisperer#ThrottlingException",
        "message": "Slow down.",
        "reason": "USER_REQUEST_RATE_EXCEEDED",
    }
    assert Refusal("Strange", "", status=418).status == 418


def test_the_catalogue_lists_each_model_with_its_window_and_the_default() -> None:
    listed = list_available_models()

    assert [row["modelId"] for row in listed["models"]] == list(MODELS)
    assert listed["defaultModel"]["modelId"] in MODELS
    assert all(row["tokenLimits"]["maxInputTokens"] >= 200_000 for row in listed["models"])
    assert json.loads(json.dumps(listed)) == listed


def test_the_list_can_be_another_one_with_a_default_or_without() -> None:
    listed = list_available_models(["claude-sonnet-4.6", "claude-sonnet-9"], "claude-sonnet-9")

    assert [row["modelId"] for row in listed["models"]] == ["claude-sonnet-4.6", "claude-sonnet-9"]
    assert listed["defaultModel"] == listed["models"][1]
    assert "defaultModel" not in list_available_models(["claude-sonnet-9"], "auto")
    assert "defaultModel" not in list_available_models(None, None)


def test_pictures_do_not_count_as_text() -> None:
    parts = Parts()
    parts.current["images"] = [image(PNG + bytes(4_000_000))]

    assert count_tokens(parts.body) - count_tokens(BODY) < 20


def test_a_very_deep_schema_is_read_without_recursion() -> None:
    parts = Parts()
    for _ in range(100):
        parts.tool["inputSchema"]["json"] = {"type": "object", "properties": {"a": parts.schema}}
        parts.schema = parts.tool["inputSchema"]["json"]

    assert refusal_of(parts.body) is None


# Text with any code points, those of lone surrogates included.
texts = st.text(st.characters(exclude_categories=()), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_any_value_at_all_is_taken_or_refused(value: Any) -> None:
    refusal = refusal_of(value)

    assert refusal is not None
    assert refusal.reason == BAD


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in _places(item, (*path, key)))]


@given(st.sampled_from(_places(BODY)[1:]), values)
def test_any_value_in_any_place_is_taken_or_refused(place: tuple[Any, ...], value: Any) -> None:
    body = copy.deepcopy(BODY)
    *above, last = place
    target = body
    for key in above:
        target = target[key]
    target[last] = value

    for protocol in ("rest", "rpc"):
        refusal = refusal_of(body, protocol)
        assert refusal is None or refusal.type == "ValidationException"
