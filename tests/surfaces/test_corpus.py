"""One conversation, said in each of the three APIs, is the same conversation: the cases of `tests/corpus`."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from kiro_auth.gateway.app import SURFACES

CASES = sorted((Path(__file__).parents[1] / "corpus").glob("*.json"))


@pytest.mark.parametrize("path", SURFACES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_each_api_s_request_is_read_as_the_same_conversation(case: Path, path: str) -> None:
    content = json.loads(case.read_text())
    request = json.dumps(content["requests"][path]).encode()

    read = msgspec.json.decode(msgspec.json.encode(SURFACES[path].decode(request, {})))

    assert {name: read[name] for name in content["conversation"]} == content["conversation"]
