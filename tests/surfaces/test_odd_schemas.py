"""A tool whose schema is no object is still a tool, in each API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kiro_auth.gateway.paths import SURFACES

TURN = {"role": "user", "content": "Hi"}


def asked(path: str, schema: Any) -> dict[str, Any]:
    match path:
        case "/v1/messages":
            return {"max_tokens": 9, "messages": [TURN], "tools": [{"name": "read", "input_schema": schema}]}
        case "/v1/chat/completions":
            function = {"name": "read", "parameters": schema}
            return {"messages": [TURN], "tools": [{"type": "function", "function": function}]}
        case _:
            return {"input": [TURN], "tools": [{"type": "function", "name": "read", "parameters": schema}]}


@pytest.mark.parametrize("schema", [True, False, "object", 5, [], ["object"], {}], ids=json.dumps)
@pytest.mark.parametrize("path", SURFACES)
def test_an_odd_schema_blocks_no_request(path: str, schema: Any) -> None:
    body = json.dumps({"model": "claude-sonnet-4-5", **asked(path, schema)}).encode()
    (tool,) = SURFACES[path].decode(body, {}).tools

    assert tool.name == "read"
    assert tool.schema == (schema if isinstance(schema, dict) else {"type": "object", "properties": {}})
