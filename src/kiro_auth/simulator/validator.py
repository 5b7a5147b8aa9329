"""Refuse what the service refuses, with its reasons.

Written from what is published and reported of the service, not from any client: this is the judge of
clients.  The rules hold for history and current message together, as one list of turns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from kiro_auth.simulator.catalog import ModelRow
from kiro_auth.simulator.refusals import Refusal, invalid
from kiro_auth.simulator.request import Assistant, Image, ToolSpecification, User, parsed
from kiro_auth.simulator.wire import HIDDEN, sign, sign_hidden

Turns: TypeAlias = Sequence[User | Assistant]

_MAGIC: Final = {
    "png": (b"\x89PNG\r\n\x1a\n", b""),
    "jpeg": (b"\xff\xd8\xff", b""),
    "gif": (b"GIF8", b""),
    "webp": (b"RIFF", b"WEBP"),
}
"""How the bytes of each format begin, and what stands at byte 8."""
_MAX_IMAGES: Final = 10
_MAX_IMAGE_BYTES: Final = 10_000_000
_MAX_DESCRIPTION: Final = 10_240
"""Characters of a tool's description; more are met with a fault of the service, not a refusal (2026)."""
FIELDS_REFUSED: Final = "additionalModelRequestFields is not supported for this model"
_CHARACTERS_OF_A_TOKEN: Final = 4
_UNIONS: Final = ("oneOf", "allOf", "anyOf")
_KEYWORDS_REFUSED: Final = (*_UNIONS, "$ref", "$defs", "$schema", "additionalProperties", "const")


def check_chat(body: Any, *, protocol: str, models: Mapping[str, ModelRow]) -> None:
    """Raises Refusal unless the service would take this body of GenerateAssistantResponse.

    `body` is any decoded JSON value, `protocol` is `rest` or `rpc`, `models` are the rows of the catalogue.
    """
    _check_text(body)
    chat = parsed(body)
    if protocol == "rest" and chat.agent_mode is not None:
        raise invalid(message="Improperly formed request. agentMode is a header in this protocol.")
    conversation_id = chat.conversation_state.conversation_id
    if conversation_id is not None and not 1 <= len(conversation_id) <= 128:
        raise invalid("INVALID_CONVERSATION_ID", "conversationId must have 1 to 128 characters.")
    turns = chat.conversation_state.messages
    current = _check_order(turns)
    model = models.get(current.model_id or "auto")
    if model is None:
        raise invalid("INVALID_MODEL_ID", "Invalid model. Please select a different model to continue.")
    _check_contents(turns)
    _check_tools(current.tools)
    _check_calls(turns, {tool.name for tool in current.tools})
    _check_media([turn for turn in turns if isinstance(turn, User)])
    _check_reasoning(turns)
    _check_extra_fields(chat.additional_model_request_fields, model)
    if count_tokens(body) > model["tokenLimits"]["maxInputTokens"]:
        raise invalid("CONTENT_LENGTH_EXCEEDS_THRESHOLD", "Input is too long.")


def count_tokens(body: Any) -> int:
    """Tokens of a body by a plain count of its characters; the bytes of images and documents are left out."""
    return sum(len(text) for text in _texts(body)) // _CHARACTERS_OF_A_TOKEN + 1


def _texts(body: Any) -> Iterator[str]:
    """Every string of a JSON value, names of members included."""
    waiting = [body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            yield from value
            waiting.extend(item for name, item in value.items() if name != "bytes")


def _check_text(body: Any) -> None:
    try:
        for text in _texts(body):
            text.encode()
    except UnicodeEncodeError as error:
        raise invalid(message="Improperly formed request. A string holds a lone surrogate.") from error


# ------------------------------------------------------------------------------------------- turns


def _check_order(turns: Turns) -> User:
    """Refuse turns that do not alternate from user to user; gives the last one."""
    first, current = turns[0], turns[-1]
    if not isinstance(first, User) or not isinstance(current, User):
        raise invalid(message="Improperly formed request. The user begins, and the user ends.")
    if any(type(before) is type(after) for before, after in itertools.pairwise(turns)):
        raise invalid(message="Improperly formed request. User and assistant must alternate.")
    if first.results:
        raise invalid(message="Improperly formed request. The first message cannot hold tool results.")
    return current


def _check_contents(turns: Turns) -> None:
    for number, turn in enumerate(turns):
        if isinstance(turn, Assistant):
            if not turn.content and not turn.tool_uses:
                raise invalid(message=f"Improperly formed request. messages.{number} is empty.")
            continue
        if not turn.content.strip() and not turn.results:
            raise invalid(message=f"Improperly formed request. messages.{number} is empty.")
        if turn.tools and number < len(turns) - 1:
            raise invalid(message="Improperly formed request. Tools stand in the current message only.")


# ------------------------------------------------------------------------------------------- tools


def _check_tools(tools: Sequence[ToolSpecification]) -> None:
    names: set[str] = set()
    if any(len(tool.description or "") > _MAX_DESCRIPTION for tool in tools):
        raise Refusal("InternalServerException", "Encountered an unexpected error.")
    for number, tool in enumerate(tools):
        if tool.name in names:
            raise invalid("TOOL_DUPLICATE", f"The tool {tool.name} is declared twice.")
        names.add(tool.name)
        _check_schema(tool.input_schema.json, f"toolConfig.tools.{number}.toolSpec.inputSchema.json")


def _check_schema(schema: dict[str, Any], where: str) -> None:
    if schema.get("type") != "object":
        raise invalid(
            "TOOL_SCHEMA_INVALID", f"The value at {where}.type must be one of the following: object."
        )
    if any(union in schema for union in _UNIONS):
        raise invalid(
            "TOOL_SCHEMA_INVALID",
            f"{where}: input_schema does not support oneOf, allOf, or anyOf at the top level",
        )
    for part in _schemas(schema):
        refused = [word for word in _KEYWORDS_REFUSED if word in part]
        if refused:
            raise invalid(message=f"Improperly formed request. {where}: {refused[0]} is not supported.")
        required = part.get("required", [""])
        if not isinstance(required, list) or not required:
            raise invalid(message=f"Improperly formed request. {where}: required must be a filled list.")


def _schemas(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every schema of a tree; names of properties are no keywords."""
    waiting: list[Any] = [root]
    while waiting:
        schema = waiting.pop()
        if isinstance(schema, list):
            waiting.extend(schema)
        elif isinstance(schema, dict):
            yield schema
            for name in ("properties", "patternProperties"):
                properties = schema.get(name)
                waiting.extend(properties.values() if isinstance(properties, dict) else ())
            waiting.extend((schema.get("items"), schema.get("prefixItems")))


def _check_calls(turns: Turns, declared: set[str]) -> None:
    """Every call names a declared tool and is answered in the next message; nothing else is answered."""
    for before, after in itertools.pairwise(turns):
        if not isinstance(before, Assistant) or not isinstance(after, User):
            continue
        calls = before.tool_uses or []
        _check_pairs([call.tool_use_id for call in calls], [r.tool_use_id for r in after.results])
        if calls and not declared:
            raise invalid(
                "TOOL_CONFIG_MISSING",
                "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
            )
        for call in calls:
            if call.name not in declared:
                raise invalid(message=f"Improperly formed request. The tool {call.name} is not declared.")


def _check_pairs(calls: list[str], answers: list[str]) -> None:
    for ids in (calls, answers):
        if len(set(ids)) < len(ids):
            raise invalid("TOOL_DUPLICATE", "A toolUseId stands twice in one message.")
    unanswered = [id_ for id_ in calls if id_ not in answers]
    if unanswered:
        raise invalid(
            "TOOL_USE_RESULT_MISMATCH",
            "tool_use ids were found without tool_result blocks immediately after: " + ", ".join(unanswered),
        )
    orphans = [id_ for id_ in answers if id_ not in calls]
    if orphans:
        raise invalid(
            "TOOL_USE_RESULT_MISMATCH",
            "toolResult blocks without a toolUse block in the message before: " + ", ".join(orphans),
        )


# -------------------------------------------------------------------------------- media, reasoning


def _check_media(turns: Sequence[User]) -> None:
    images = [image for turn in turns for image in turn.images or []]
    if len(images) > _MAX_IMAGES:
        raise invalid("IMAGE_COUNT_EXCEEDED", f"A request holds at most {_MAX_IMAGES} images.")
    for image in images:
        _check_image(image)
    names = [document.name for turn in turns for document in turn.documents or []]
    if len(set(names)) < len(names):
        raise invalid("DOCUMENT_DUPLICATE_NAME", "The names of the documents must differ.")


def _check_image(image: Image) -> None:
    data = image.source.data
    if image.format not in _MAGIC:
        raise invalid("IMAGE_FORMAT_UNSUPPORTED", "An image must be gif, jpeg, png or webp.")
    if len(data) > _MAX_IMAGE_BYTES:
        raise invalid("IMAGE_SIZE_EXCEEDED", f"An image has at most {_MAX_IMAGE_BYTES} bytes.")
    start, further = _MAGIC[image.format]
    if not data.startswith(start) or not data.startswith(further, 8):
        raise invalid("IMAGE_MIME_MISMATCH", f"The bytes of an image are not {image.format}.")


def _check_reasoning(turns: Turns) -> None:
    for number, turn in enumerate(turns):
        if isinstance(turn, User) or turn.reasoning_content is None:
            continue
        said = turn.reasoning_content.reasoning_text
        if said is None:
            continue
        if not said.signature:
            raise invalid(
                message=f"Improperly formed request. messages.{number}: reasoning needs a signature."
            )
        if said.signature not in (sign(said.text), sign_hidden() if said.text == HIDDEN else None):
            raise invalid(
                "THINKING_SIGNATURE_INVALID",
                f"messages.{number}.content.0: Invalid `signature` in `thinking` block",
            )


def _check_extra_fields(fields: dict[str, Any] | None, model: ModelRow) -> None:
    """Models without a schema refuse the member as a whole, without a reason (reported in 2026)."""
    if not fields:
        return
    if "additionalModelRequestFieldsSchema" not in model:
        raise Refusal("ValidationException", FIELDS_REFUSED)
    _check_fields(fields, model["additionalModelRequestFieldsSchema"], "")


def _check_fields(value: Any, schema: Mapping[str, Any], path: str) -> None:
    """Hold a value against the part of JSON Schema that the catalogue uses: objects, words, whole numbers."""
    prefix = "Invalid additionalModelRequestFields: "
    if "enum" in schema:
        if value not in schema["enum"]:
            raise invalid(message=f"{prefix}property '{path}' must be one of {schema['enum']}")
        return
    if schema.get("type") == "integer":
        least, most = schema["minimum"], schema["maximum"]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise invalid(message=f"{prefix}property '{path}' must be from {least} to {most}")
        return
    if not isinstance(value, dict):
        raise invalid(message=f"{prefix}property '{path}' must be an object")
    known = schema.get("properties", {})
    for name, item in value.items():
        inner = f"{path}.{name}".lstrip(".")
        if name not in known:
            raise invalid(message=f"{prefix}property '{inner}' is not defined in the schema")
        _check_fields(item, known[name], inner)
