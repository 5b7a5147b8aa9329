"""What reading a request has in common, whatever the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from kiro_auth.conversation import Conversation
from kiro_auth.failures import Failure, TurnFailed

T = TypeVar("T")

json_value: Final = msgspec.json.Decoder().decode
"""The value in JSON text.  Raises msgspec's DecodeError, and UnicodeDecodeError."""

_EMPTY_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_FIRST, _SECOND = rb"[89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_PAIRS: Final = rb"%b%b(?:\\u[dD]%b%b)*+" % (_FIRST, _SECOND, _FIRST, _SECOND)
_HALVES: Final = rb"\\u[dD](?:(%b)|[89a-fA-F][0-9a-fA-F]{2})" % _PAIRS
"""Escapes of the halves of characters: the group, whole characters; else one half without the other."""
_MOST_HALVES: Final = 100_000
_NO_CHARACTER: Final = rb"\ufffd"
_LONGEST_NAME: Final = 256
"""Characters of the names of models and namespaces, which stand in much of what is made of a request."""
_LONGEST_STOPS: Final = 4096
"""Characters of all stop sequences of a request: each piece of the answer is searched for all of them."""
_TEXTS_IN_TEXTS: Final = 3
"""How often JSON text in JSON text is read."""


def read(body: bytes, fields: Callable[[bytes], T], build: Callable[[T], Conversation]) -> Conversation:
    """What `build` makes of the request's `fields`.

    Half a character, as a cut through an emoji leaves it, becomes U+FFFD.  Raises TurnFailed (KA-REQUEST)
    naming the field that cannot be read.
    """
    try:
        conversation = build(_decoded(body, fields))
        if not conversation.model.strip():
            raise refused("`model` is empty; name one that GET /v1/models lists.")
        name_of(conversation.model, "model")
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
    match given if isinstance(given, dict) else _held(given):
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
    for _ in range(_TEXTS_IN_TEXTS):
        if not isinstance(given, str):
            break
        if not given.strip():
            return None
        try:
            given = _decoded(given.encode(), json_value)
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


def name_of(name: str, where: str) -> str:
    """A name as it is.  Raises TurnFailed (KA-REQUEST) for one that is too long."""
    if len(name) > _LONGEST_NAME:
        raise refused(f"`{where}` has more than {_LONGEST_NAME} characters.")
    return name


def stop_sequences(given: str | Sequence[str] | None, field: str) -> tuple[str, ...]:
    """The texts that end the answer.  Raises TurnFailed (KA-REQUEST) for more than can be searched for."""
    stops = tuple(text for text in ([given] if isinstance(given, str) else given or ()) if text)
    if sum(map(len, stops)) > _LONGEST_STOPS:
        raise refused(f"`{field}` has more than {_LONGEST_STOPS:,} characters.")
    return stops


def schema_of(schema: Any) -> Mapping[str, Any]:
    """The schema of a tool's input.  One that is no object (`true` is a schema, too) says nothing of it."""
    return schema if isinstance(schema, dict) else _EMPTY_SCHEMA


def _decoded(body: bytes, fields: Callable[[bytes], T]) -> T:
    try:
        return fields(body)
    except msgspec.ValidationError:
        raise  # JSON, but not what it should be
    except msgspec.DecodeError:
        whole = _with_whole_characters(body)
        if whole == body:
            raise
        return fields(whole)


def _with_whole_characters(text: bytes) -> bytes:
    """JSON text with U+FFFD for each half of a character that stands without the other.

    Raises TurnFailed (KA-REQUEST) for more of them than any text has.
    """
    whole, found, end, halves = bytearray(text), 0, 0, re.compile(_HALVES)
    while escape := halves.search(text, end):
        start, before = escape.start(), text[end : escape.start()]
        end = start + len(_NO_CHARACTER)
        if (len(before) - len(before.rstrip(b"\\"))) % 2:  # an escaped backslash, and no escape
            continue
        if escape[1]:
            end = escape.end()
            continue
        whole[start:end] = _NO_CHARACTER
        found += 1
        if found > _MOST_HALVES:
            raise refused(f"The request has more than {_MOST_HALVES:,} halves of characters in its texts.")
    return bytes(whole)


def _unreadable(error: Exception) -> str:
    """What is wrong, and with which field: `messages.0.content`."""
    what, _, path = str(error).partition(" - at `$")
    field = re.sub(r"\[(.*?)\]", r".\1", path.removesuffix("`")).removeprefix(".")
    return f"`{field}`: {what}." if field else f"The request cannot be read: {what}."


def refused(message: str, reason: str | None = None) -> TurnFailed:
    """The refusal of a request; `message` names the field."""
    return TurnFailed(Failure(code="KA-REQUEST", message=message, reason=reason))
