"""What reading a request has in common, whatever the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from kiro_auth.conversation import Conversation
from kiro_auth.failures import Failure, TurnFailed

T = TypeVar("T")

_object: Final = msgspec.json.Decoder(dict[str, Any]).decode

_EMPTY_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_ESCAPES: Final = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.", re.DOTALL)
"""The escapes of JSON text; the group is half of a character."""


def read(body: bytes, fields: Callable[[bytes], T], build: Callable[[T], Conversation]) -> Conversation:
    """What `build` makes of the request's `fields`.

    Half a character, as a cut through an emoji leaves it, becomes U+FFFD.  Raises TurnFailed (KA-REQUEST)
    naming the field that cannot be read.
    """
    try:
        return build(_decoded(body, fields))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise refused(_unreadable(error)) from error
    except RecursionError as error:
        raise refused("The request is nested too deeply.") from error


def call_input(text: str, where: str) -> Mapping[str, Any]:
    """The input of a call, which OpenAI's APIs carry as JSON text; nothing is an empty one.

    Raises TurnFailed (KA-REQUEST) naming the field.
    """
    try:
        return _decoded(text.encode(), _object) if text.strip() else {}
    except msgspec.MsgspecError as error:
        raise refused(f"`{where}` must be the JSON text of an object.") from error


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


def host_of(url: str) -> str:
    """Where an address leads, without names, keys and paths that it may hold."""
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    return authority.rpartition("@")[2] or "an address"
