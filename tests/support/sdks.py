"""The official SDKs, imported by the tests that use them, as it takes seconds: not by each worker."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def anthropic() -> Any:
    """The module."""
    return importlib.import_module("anthropic")


def openai() -> Any:
    """The module."""
    return importlib.import_module("openai")


def of_openai(name: str, value: Any) -> Any:
    """A value as a type of `openai.types`, such as "responses.Response"; or a ValidationError."""
    return _type(name).validate_python(value)


@cache
def _type(name: str) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    module, _, type_ = name.rpartition(".")
    return TypeAdapter(getattr(importlib.import_module(f"openai.types.{module}"), type_))
