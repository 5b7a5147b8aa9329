"""What reading a request has in common, whatever the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from kiro_auth.conversation import Conversation
from kiro_auth.failures import Failure, TurnFailed

T = TypeVar("T")

_value: Final = msgspec.json.Decoder().decode

_EMPTY_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_ESCAPES: Final = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.", re.DOTALL)
"""The escapes of JSON text; the group is half of a character."""


def read(body: bytes, fields: Callable[[bytes], T], build: Callable[[T], Conversation]) -> Conversation:
    """What `build` makes of the request's `fields`.

    Half a character, as a cut through an emoji leaves it, becomes U+FFFD.  Raises TurnFailed (KA-REQUEST)
    naming the field that cannot be read.
    """
    try:
        conversation = build(_decoded(body, fields))
        if not conversation.model.strip():
            raise refused("`model` is empty; name one that GET /v1/models lists.")
        return conversation
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise refused(_unreadable(error)) from error
    except RecursionError as error:
        raise refused("The request is nested too deeply.") from error


def call_input(given: Any) -> Mapping[str, Any]:
    """The input of an earlier call as an object, which is all that Kiro takes; on every API.

    It is an object, or text that holds one (OpenAI's `arguments` always, Anthropic's `input` where a client
    kept what the model wrote).  Nothing is an empty object.  Whatever else a model may have written, such as
    arguments that were cut, stands as it is under `input`: it happened, and a refusal would end the
    conversation for good.
    """
    match _held(given):
        case dict() as fields:
            return fields
        case None:
            return {}
        case _:
            return {"input": given}


def custom_input(given: Any) -> Mapping[str, Any]:
    """The input of an earlier call of a tool that takes free text, as the model gave it."""
    return {"input": "" if given is None else given}


def _held(given: Any) -> Any:
    """What JSON text holds, and text within it; None for blank text, and for text that is no JSON itself."""
    while isinstance(given, str):
        if not given.strip():
            return None
        try:
            given = _decoded(given.encode(), _value)
        except (msgspec.MsgspecError, RecursionError):
            return given
    return given


def token_limit(value: Any, field: str) -> int | None:
    """A client's limit of output tokens; None when it has none, or says so with nothing or less (`-1`).

    Raises TurnFailed (KA-REQUEST) for what is no number.
    """
    if value is None:
        return None
    try:
        limit = int(value if not isinstance(value, bool) else "")
    except (TypeError, ValueError, OverflowError) as error:
        raise refused(f"`{field}` must be a whole number of tokens.") from error
    return limit if limit > 0 else None


def schema_of(schema: Any) -> Mapping[str, Any]:
    """The schema of a tool's input.  One that is no object (`true` is a schema, too) says nothing of it."""
    return schema if isinstance(schema, dict) else _EMPTY_SCHEMA


def _decoded(body: bytes, fields: Callable[[bytes], T]) -> T:
    try:
        return fields(body)
    except msgspec.ValidationError:
        raise  # JSON, but not what it should be
    except msgspec.DecodeError:
        whole = _ESCAPES.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], body)
        if whole == body:
            raise
        return fields(whole)


def _unreadable(error: Exception) -> str:
    """What is wrong, and with which field: `messages.0.content`."""
    what, _, path = str(error).partition(" - at `$")
    field = re.sub(r"\[(.*?)\]", r".\1", path.removesuffix("`")).removeprefix(".")
    return f"`{field}`: {what}." if field else f"The request cannot be read: {what}."


def refused(message: str, reason: str | None = None) -> TurnFailed:
    """The refusal of a request; `message` names the field."""
    return TurnFailed(Failure(code="KA-REQUEST", message=message, reason=reason))
