"""docs/apis.md says of every request field what becomes of it, and that is what becomes of it.

Which fields there are, the official SDKs say; which are read, our schemas.
"""

from __future__ import annotations

import importlib
import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.surfaces.anthropic import request as anthropic_request
from kiro_auth.surfaces.openai import chat_request as openai_chat_request
from kiro_auth.surfaces.openai import responses_request as openai_responses_request

PAGE = Path(__file__).parents[2] / "docs" / "apis.md"
APIS: dict[str, tuple[str, Any, str]] = {
    "Anthropic Messages": (
        "/v1/messages", anthropic_request._Request,
        "anthropic.types.beta.message_create_params.MessageCreateParamsBase",
    ),
    "OpenAI Chat Completions": (
        "/v1/chat/completions", openai_chat_request._Request,
        "openai.types.chat.completion_create_params.CompletionCreateParamsBase",
    ),
    "OpenAI Responses": (
        "/v1/responses", openai_responses_request._Request,
        "openai.types.responses.response_create_params.ResponseCreateParamsBase",
    ),
}  # fmt: skip
"""Of each API its path, what we read, and the name of the official SDK's type."""
FATES = {"honoured", "honoured here", "ignored", "refused"}
BASE: dict[str, dict[str, Any]] = {
    "/v1/messages": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/chat/completions": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {"model": "m", "input": "Hi"},
}
REFUSED: dict[str, Any] = {
    "thread": {"id": "t"},
    "n": 2,
    "logprobs": True,
    "modalities": ["text", "audio"],
    "functions": [{"name": "read"}],
    "previous_response_id": "resp_1",
    "conversation": "conv_1",
    "prompt": {"id": "p"},
    "background": True,
    "top_logprobs": 3,
    "messages": [{"role": "user", "content": "Hi"}],
}
"""A value of each field that is refused."""


def told(title: str) -> dict[str, str]:
    """Every field on the page and its fate."""
    section = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    table = section.partition("| Field |")[2].partition("\n\n")[0]
    found: dict[str, str] = {}
    for row in table.splitlines()[2:]:
        names, fate, _ = (cell.strip() for cell in row.strip("|").split("|", 2))
        for name in re.findall(r"`([\w.]+)`", names):
            assert name not in found, f"{name} stands twice"
            found[name] = fate
    return found


def read(schema: Any, prefix: str = "") -> Iterator[str]:
    """The fields that a schema reads; of a field with fields of its own, those."""
    for field in msgspec.structs.fields(schema):
        inner = [
            kind
            for kind in (
                typing.get_args(field.type) if isinstance(field.type, types.UnionType) else [field.type]
            )
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        ]
        for kind in inner:
            yield from read(kind, f"{prefix}{field.encode_name}.")
        if not inner:
            yield prefix + field.encode_name


@pytest.mark.slow
@pytest.mark.parametrize("title", APIS)
def test_every_field_that_there_is_and_that_is_read_is_on_the_page(title: str) -> None:
    path, schema, official = APIS[title]
    module, _, type_ = official.rpartition(".")
    offered = getattr(importlib.import_module(module), type_)  # here, as it takes a second
    fates = told(title)
    top = {name.partition(".")[0] for name in fates}

    assert set(typing.get_type_hints(offered)) - top == set()
    assert set(read(schema)) - set(fates) == set()
    assert set(fates.values()) <= FATES
    assert set(BASE[path]) <= set(fates)


IGNORED = [(title, name) for title in APIS for name, fate in told(title).items() if fate == "ignored"]
SAMPLES: list[Any] = ["word", 1, True, {"a": 1}, [{"a": 1}]]


@pytest.mark.parametrize(("title", "name"), IGNORED)
def test_an_ignored_field_changes_nothing_whatever_it_holds(title: str, name: str) -> None:
    path = APIS[title][0]
    decode = SURFACES[path].decode
    without = decode(json.dumps(BASE[path]).encode(), {})

    for value in SAMPLES:
        assert decode(json.dumps({**BASE[path], name: value}).encode(), {}) == without


REFUSALS = [(title, name) for title in APIS for name, fate in told(title).items() if fate == "refused"]


@pytest.mark.parametrize(("title", "name"), REFUSALS)
def test_a_refused_field_is_refused_by_name(title: str, name: str) -> None:
    path = APIS[title][0]
    field = name.partition(".")[0]
    body = json.dumps({**BASE[path], field: REFUSED[name]}).encode()

    with pytest.raises(TurnFailed) as refusal:
        SURFACES[path].decode(body, {})

    assert f"`{name}`" in refusal.value.failure.message
