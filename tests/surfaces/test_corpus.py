"""One conversation, said in each of the three APIs, is the same conversation, and one that the service takes.

The cases are the files of `tests/corpus/requests`.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from kiro_auth.conversation import Conversation, Text, ToolResult
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload
from kiro_auth.simulator.catalog import MODELS
from kiro_auth.simulator.validator import check_chat

CASES = sorted((Path(__file__).parents[1] / "corpus" / "requests").glob("*.json"))


def decoded(case: Path, path: str) -> Conversation:
    request = json.loads(case.read_text())["requests"][path]
    return SURFACES[path].decode(json.dumps(request).encode(), {})


@pytest.mark.parametrize("path", SURFACES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_each_api_s_request_is_read_as_the_same_conversation(case: Path, path: str) -> None:
    told = json.loads(case.read_text())["conversation"]
    expected = msgspec.convert({"model": "", "messages": [], **told}, Conversation)

    read = decoded(case, path)

    assert {name: getattr(read, name) for name in told} == {name: getattr(expected, name) for name in told}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_service_takes_it_with_every_word_and_every_result(case: Path) -> None:
    conversation = decoded(case, "/v1/messages")
    options = payload.Options(
        model=resolve("claude-opus-4-6", ()).model, protocol="rpc", origin="KIRO_CLI", profile_arn=None
    )

    body = json.loads(payload.build(conversation, options).body)

    check_chat(body, protocol="rpc", models=MODELS)
    said = json.dumps(body)
    for message in conversation.messages:
        for block in message.content:
            for part in block.content if isinstance(block, ToolResult) else (block,):
                if isinstance(part, Text) and part.text.strip():
                    assert json.dumps(part.text)[1:-1] in said
