"""Refuse what the service refuses, with its reasons.

Written from what is published and reported of the service, not from any client: this is the judge of
clients.  `check_chat` takes any JSON value and either returns or raises Refusal.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kiro_auth.simulator.refusals import Refusal, invalid

TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MODEL_ID: Final = re.compile(r"[a-zA-Z0-9_:.-]{1,1024}")
_ORIGINS: Final = frozenset({"AI_EDITOR", "CLI", "KIRO_CLI", "KIRO_WEB", "IDE", "CHATBOT"})
_IMAGES: Final = {"png": b"\x89PNG", "jpeg": b"\xff\xd8", "gif": b"GIF8", "webp": b"RIFF"}
_DOCUMENTS: Final = frozenset({"csv", "doc", "docx", "html", "md", "pdf", "txt", "xls", "xlsx"})
_MAX_IMAGES: Final = 10
_MAX_DESCRIPTION: Final = 10_240
_CHARACTERS_OF_A_TOKEN: Final = 4
_SCHEMA_WORDS_REFUSED: Final = ("$ref", "$defs", "$schema", "anyOf", "oneOf", "allOf", "additionalProperties")


def sign(text: str) -> str:
    """The signature that this simulator gives to a piece of reasoning."""
    return "sig_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def check_chat(body: Any, *, protocol: str, models: Mapping[str, Any]) -> None:
    """Raises Refusal unless the service would take this body of GenerateAssistantResponse."""
    body = _object(body, "the body")
    if protocol == "rest" and "agentMode" in body:
        raise invalid("REQUEST_BODY_INVALID", "agentMode is a header in this protocol.")
    state = _object(body.get("conversationState"), "conversationState")
    _check_state(state)
    history = _list(state.get("history", []), "history")
    entries = [_entry(entry) for entry in [*history, state.get("currentMessage")]]
    if entries[-1][0] != "user":
        raise invalid("REQUEST_BODY_INVALID", "currentMessage must be a user message.")
    model = _check_model(entries[-1][1], models)
    _check_alternation(entries)
    tools = _check_tools(entries)
    _check_pairs(entries, tools)
    _check_media(entries)
    _check_reasoning(entries)
    _check_fields(body.get("additionalModelRequestFields"), model)
    if count_tokens(body) > model["tokenLimits"]["maxInputTokens"]:
        raise invalid("CONTENT_LENGTH_EXCEEDS_THRESHOLD", "Input is too long.")


def count_tokens(body: Any) -> int:
    """A plain count over all words of a body; media count little."""
    return sum(min(len(text), 2_000_000) for text in _strings(body)) // _CHARACTERS_OF_A_TOKEN + 1


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name != "bytes":
                yield from _strings(item)


# ------------------------------------------------------------------------------------------ shapes


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid("REQUEST_BODY_INVALID", f"{where} must be an object.")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise invalid("REQUEST_BODY_INVALID", f"{where} must be a list.")
    return value


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise invalid("REQUEST_BODY_INVALID", f"{where} must be a string.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid("REQUEST_BODY_INVALID", f"{where} holds a lone surrogate.") from None
    return value


def _check_state(state: dict[str, Any]) -> None:
    if state.get("chatTriggerType") not in ("MANUAL", "DIAGNOSTIC", "INLINE_CHAT"):
        raise invalid("REQUEST_BODY_INVALID", "chatTriggerType is not one of the enumeration.")
    conversation_id = state.get("conversationId")
    if conversation_id is not None and not 1 <= len(_string(conversation_id, "conversationId")) <= 128:
        raise invalid("INVALID_CONVERSATION_ID", "conversationId has 1 to 128 characters.")
    continuation = state.get("agentContinuationId")
    if continuation is not None and len(_string(continuation, "agentContinuationId")) != 36:
        raise invalid("REQUEST_BODY_INVALID", "agentContinuationId has 36 characters.")
    if state.get("agentTaskType", "vibe") not in ("vibe", "spectask"):
        raise invalid("REQUEST_BODY_INVALID", "agentTaskType is not one of the enumeration.")


def _entry(entry: Any) -> tuple[str, dict[str, Any]]:
    """A message of the union: which side, and its members."""
    entry = _object(entry, "a message")
    if len(entry) != 1:
        raise invalid("REQUEST_BODY_INVALID", "A message is one of two kinds.")
    [(kind, members)] = entry.items()
    members = _object(members, kind)
    _string(members.get("content"), f"{kind}.content")
    if kind == "userInputMessage":
        if members.get("origin", "AI_EDITOR") not in _ORIGINS:
            raise invalid("REQUEST_BODY_INVALID", "origin is not one of the enumeration.")
        _check_user(members)
        return "user", members
    if kind == "assistantResponseMessage":
        for use in _list(members.get("toolUses", []), "toolUses"):
            _check_tool_use(_object(use, "a tool use"))
        return "assistant", members
    raise invalid("REQUEST_BODY_INVALID", f"There is no message of kind {kind[:40]!r}.")


def _check_user(members: dict[str, Any]) -> None:
    context = _context(members)
    results = _list(context.get("toolResults", []), "toolResults")
    for result in results:
        _object(result, "a tool result")
        _check_id(result.get("toolUseId"))
        if result.get("status", "success") not in ("success", "error"):
            raise invalid("REQUEST_BODY_INVALID", "status is success or error.")
        for part in _list(result.get("content"), "a tool result's content"):
            _object(part, "a tool result's content")
            if len(part) != 1 or next(iter(part)) not in ("text", "json"):
                raise invalid("REQUEST_BODY_INVALID", "A result's content is text or json.")
            if "text" in part:
                _string(part["text"], "text")
    if not members["content"].strip() and not results:
        raise invalid("REQUEST_BODY_INVALID")


def _context(members: dict[str, Any]) -> dict[str, Any]:
    return _object(members.get("userInputMessageContext") or {}, "userInputMessageContext")


def _check_tool_use(use: dict[str, Any]) -> None:
    _check_id(use.get("toolUseId"))
    if not TOOL_NAME.fullmatch(_string(use.get("name"), "a tool use's name")):
        raise invalid("REQUEST_BODY_INVALID")
    _object(use.get("input"), "a tool use's input")


def _check_id(value: Any) -> None:
    if not TOOL_NAME.fullmatch(_string(value, "toolUseId")):
        raise invalid("REQUEST_BODY_INVALID", "toolUseId is not legal.")


def _check_model(current: dict[str, Any], models: Mapping[str, Any]) -> Any:
    model_id = _string(current.get("modelId", "auto"), "modelId")
    if not _MODEL_ID.fullmatch(model_id) or model_id not in models:
        raise invalid("INVALID_MODEL_ID", "Invalid model. Please select a different model to continue.")
    return models[model_id]


# ------------------------------------------------------------------------------------ conversation


def _check_alternation(entries: list[tuple[str, dict[str, Any]]]) -> None:
    for number, (side, members) in enumerate(entries):
        if side != ("user" if number % 2 == 0 else "assistant"):
            raise invalid("REQUEST_BODY_INVALID")
        if number == 0 and _context(members).get("toolResults"):
            raise invalid("REQUEST_BODY_INVALID")
        if number < len(entries) - 1 and side == "user" and _context(members).get("tools"):
            raise invalid("REQUEST_BODY_INVALID", "Tools stand in the current message only.")


def _check_tools(entries: list[tuple[str, dict[str, Any]]]) -> set[str]:
    """The names declared."""
    names: set[str] = set()
    for number, tool in enumerate(_list(_context(entries[-1][1]).get("tools", []), "tools")):
        _object(tool, "a tool")
        if "cachePoint" in tool:
            continue
        specification = _object(tool.get("toolSpecification"), "toolSpecification")
        name = _string(specification.get("name"), "a tool's name")
        if not TOOL_NAME.fullmatch(name):
            raise invalid("REQUEST_BODY_INVALID")
        if name in names:
            raise invalid("TOOL_DUPLICATE", f"The tool {name} stands twice.")
        names.add(name)
        description = specification.get("description")
        if description is not None and not 1 <= len(_string(description, "description")) <= _MAX_DESCRIPTION:
            raise invalid("REQUEST_BODY_INVALID")
        schema = _object(specification.get("inputSchema"), "inputSchema").get("json")
        _check_schema(_object(schema, "json"), f"toolConfig.tools.{number}.toolSpec.inputSchema.json")
    return names


def _check_schema(schema: dict[str, Any], where: str) -> None:
    if schema.get("type") != "object":
        raise invalid("TOOL_SCHEMA_INVALID", f"{where}.type must be object.")
    for union in ("oneOf", "allOf", "anyOf"):
        if union in schema:
            raise invalid(
                "TOOL_SCHEMA_INVALID",
                f"{where}: input_schema does not support oneOf, allOf, or anyOf at the top level",
            )
    for part in _schemas(schema):
        if any(word in part for word in _SCHEMA_WORDS_REFUSED):
            raise invalid("TOOL_SCHEMA_INVALID", f"{where} holds a keyword that is not supported.")
        if "required" in part and not (isinstance(part["required"], list) and part["required"]):
            raise invalid("TOOL_SCHEMA_INVALID", f"{where}: required must be a list that is not empty.")


def _schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema of a tree; names of properties are no keywords."""
    if not isinstance(schema, dict):
        return
    yield schema
    properties = schema.get("properties")
    for part in properties.values() if isinstance(properties, dict) else ():
        yield from _schemas(part)
    yield from _schemas(schema.get("items"))


def _check_pairs(entries: list[tuple[str, dict[str, Any]]], declared: set[str]) -> None:
    used = [use for side, members in entries if side == "assistant" for use in members.get("toolUses", [])]
    if used and not declared:
        raise invalid("TOOL_CONFIG_MISSING", "The toolConfig field must be defined when using toolUse.")
    if any(use["name"] not in declared for use in used):
        raise invalid("REQUEST_BODY_INVALID")
    for (side, before), (_, after) in itertools.pairwise(entries):
        calls = [use["toolUseId"] for use in before.get("toolUses", [])] if side == "assistant" else []
        if side == "assistant":
            answers = [result["toolUseId"] for result in _context(after).get("toolResults", [])]
            if sorted(calls) != sorted(answers) or len(set(calls)) != len(calls):
                raise invalid(
                    "TOOL_USE_RESULT_MISMATCH",
                    "Expected toolResult blocks for the toolUse blocks of the message before.",
                )


# -------------------------------------------------------------------------------- media, reasoning


def _check_media(entries: list[tuple[str, dict[str, Any]]]) -> None:
    images, names = 0, set()
    for _, members in entries:
        for image in _list(members.get("images", []), "images"):
            images += 1
            _check_image(_object(image, "an image"))
        for document in _list(members.get("documents", []), "documents"):
            _object(document, "a document")
            name = _string(document.get("name"), "a document's name")
            if name in names:
                raise invalid("DOCUMENT_DUPLICATE_NAME", "Two documents have one name.")
            names.add(name)
            if document.get("format") not in _DOCUMENTS:
                raise invalid("REQUEST_BODY_INVALID", "The document's format is not supported.")
            _bytes(document)
    if images > _MAX_IMAGES:
        raise invalid("IMAGE_COUNT_EXCEEDED", "Too many images.")


def _check_image(image: dict[str, Any]) -> None:
    magic = _IMAGES.get(str(image.get("format")))
    if magic is None:
        raise invalid("IMAGE_FORMAT_UNSUPPORTED", "The image's format is not supported.")
    if not _bytes(image).startswith(magic):
        raise invalid("IMAGE_MIME_MISMATCH", "The image is not of its format.")


def _bytes(item: dict[str, Any]) -> bytes:
    data = _string(_object(item.get("source"), "source").get("bytes"), "bytes")
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("REQUEST_BODY_INVALID", "bytes is not base64.") from None
    if not 1 <= len(raw) <= 10_000_000:
        raise invalid("IMAGE_SIZE_EXCEEDED" if "name" not in item else "DOCUMENT_SIZE_EXCEEDED")
    return raw


def _check_reasoning(entries: list[tuple[str, dict[str, Any]]]) -> None:
    for _, members in entries:
        reasoning = members.get("reasoningContent")
        if reasoning is None:
            continue
        reasoning = _object(reasoning, "reasoningContent")
        if "reasoningText" in reasoning:
            said = _object(reasoning["reasoningText"], "reasoningText")
            text = _string(said.get("text"), "reasoningText.text")
            if said.get("signature") != sign(text):
                raise invalid("THINKING_SIGNATURE_INVALID", "Invalid signature in thinking block.")
        elif "redactedContent" not in reasoning:
            raise invalid("REQUEST_BODY_INVALID", "reasoningContent is one of two kinds.")


def _check_fields(fields: Any, model: Mapping[str, Any]) -> None:
    if fields is None:
        return
    known = model.get("additionalModelRequestFieldsSchema", {}).get("properties", {})
    for name, value in _object(fields, "additionalModelRequestFields").items():
        if name not in known:
            raise invalid(
                "REQUEST_BODY_INVALID",
                f"Invalid additionalModelRequestFields: property '{name}' is not defined in the schema",
            )
        for inner, schema in known[name].get("properties", {}).items():
            if isinstance(value, dict) and inner in value and value[inner] not in schema["enum"]:
                raise Refusal("ValidationException", f"{name}.{inner} is not one of {schema['enum']}.")
