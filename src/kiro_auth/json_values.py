"""JSON of other programs, read tolerantly: every reader gives the type it names, whatever was there.

The services leave fields out and send null, proxies send HTML, and files of other programs change from one
version to the next; a value of another type than expected counts as absent.  A byte order mark, which editors
on Windows put at the beginning of a file, is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

_BYTE_ORDER_MARK: Final = "\ufeff"


class WrittenText(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Text as it stands in a client's JSON, in quotes and without escaped numbers: it is sent as it is."""

    json: msgspec.Raw

    @property
    def text(self) -> str:
        """The words."""
        return msgspec.json.decode(self.json, type=str)


class NotJson(ValueError):
    """What should be JSON is not: its grammar, its UTF-8, the depth of its nesting or its type is wrong."""


def decoded(data: bytes | str) -> Any:
    """The JSON value in `data`.  Raises NotJson, nothing else."""
    return decoded_as(unmarked(data), Any)


def decoded_as(data: bytes | str, kind: type[T] | Any) -> T:
    """The JSON value in `data`, which must be of this type.  Raises NotJson, nothing else."""
    try:
        value: T = msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError that is not msgspec's
        raise NotJson(str(error)) from error
    return value


def unmarked(data: bytes | str) -> bytes | str:
    """JSON text without the byte order mark that it may begin with."""
    if isinstance(data, bytes):
        return data.removeprefix(_BYTE_ORDER_MARK.encode())
    return data.removeprefix(_BYTE_ORDER_MARK)


def object_in(data: Any) -> dict[str, Any] | None:
    """The JSON object in bytes or text; None for all else."""
    if not isinstance(data, bytes | str):
        return None
    try:
        value = decoded(data)
    except NotJson:
        return None
    return value if isinstance(value, dict) else None


def as_object(value: Any) -> dict[str, Any]:
    """An object; an empty one for all else."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """A list; an empty one for all else."""
    return value if isinstance(value, list) else []


def as_objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; what else is in it is left out."""
    return [entry for entry in as_list(value) if isinstance(entry, dict)]


def as_words(value: Any) -> tuple[str, ...]:
    """The texts in a list; what else is in it is left out."""
    return tuple(entry for entry in as_list(value) if isinstance(entry, str))


def as_text(value: Any) -> str | None:
    """A text that is not empty."""
    return value if isinstance(value, str) and value else None


def as_number(value: Any) -> float | None:
    """A finite number; true and false are none."""
    kind = type(value)
    if kind is int:  # as that of true is not
        try:
            return float(value)
        except OverflowError:  # of more than 308 digits
            return None
    return value if kind is float and math.isfinite(value) else None


def first_text(fields: Mapping[str, Any], *names: str) -> str | None:
    """The first of these fields that is a text and not empty."""
    return next((text for name in names if (text := as_text(fields.get(name)))), None)
