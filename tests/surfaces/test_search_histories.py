"""A history with searches, on each API, is a body that the service takes and holds what they found."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.gateway.paths import SURFACES
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload
from kiro_auth.simulator.catalog import MODELS
from kiro_auth.simulator.validator import check_chat

ids = st.sampled_from(["t1", "t2", "t 3"])  # few, so that orphans and repeats happen
queries = st.sampled_from([{"query": "a"}, {}, None, '{"query": "a"}', "a", [1]])


def result(id_: str, number: int) -> dict[str, Any]:
    page = {"type": "web_search_result", "url": f"https://p{number}.example", "title": "P"}
    return {"type": "web_search_tool_result", "tool_use_id": f"srvtoolu_{id_}", "content": [page]}


blocks = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, st.sampled_from(["Hi", " ", "So."])),
    st.builds(
        lambda id_, query: {
            "type": "server_tool_use",
            "id": f"srvtoolu_{id_}",
            "name": "web_search",
            "input": query,
        },
        ids,
        queries,
    ),
    st.builds(result, ids, st.integers(0, 9)),
    st.builds(lambda id_: {"type": "tool_use", "id": id_, "name": "read", "input": {}}, ids),
    st.builds(lambda id_: {"type": "tool_result", "tool_use_id": id_, "content": "done"}, ids),
)
turns = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant"]),
    st.lists(blocks, min_size=1, max_size=5),
)
items = st.one_of(
    st.builds(lambda text: {"role": "user", "content": text}, st.sampled_from(["Hi", " "])),
    st.builds(
        lambda id_, number, status: {
            "type": "web_search_call",
            "id": f"ws_{id_}",
            "status": status,
            "action": {"type": "search", "sources": [{"type": "url", "url": f"https://p{number}.example"}]},
        },
        ids,
        st.integers(0, 9),
        st.sampled_from(["completed", "in_progress", None]),
    ),
    st.builds(
        lambda id_, kind: {"type": f"{kind}_call_output", "call_id": id_, "output": "done"},
        ids,
        st.sampled_from(["shell", "local_shell", "apply_patch"]),
    ),
    st.builds(
        lambda id_, kind: {"type": f"{kind}_call", "call_id": id_, "action": {"commands": ["ls"]}},
        ids,
        st.sampled_from(["shell", "local_shell", "apply_patch"]),
    ),
)


def body_of(path: str, asked: dict[str, Any]) -> str:
    """What the service gets; the simulated one judges it."""
    conversation = SURFACES[path].decode(json.dumps({"model": "m", "max_tokens": 9, **asked}).encode(), {})
    model = resolve("claude-sonnet-4-5", ())
    options = payload.Options(model=model.model, protocol="rpc", origin="KIRO_CLI", profile_arn=None)
    built = payload.build(conversation, options)
    check_chat(json.loads(built.body), protocol="rpc", models=MODELS)
    return built.body.decode()


@given(st.lists(turns, min_size=1, max_size=5))
def test_of_the_messages_api(messages: list[dict[str, Any]]) -> None:
    body = body_of("/v1/messages", {"messages": messages})

    found = [block for turn in messages for block in turn["content"] if "content" in block]
    for block in found:
        text = block["content"] if isinstance(block["content"], str) else block["content"][0]["url"]
        assert text in body


@given(st.lists(items, min_size=1, max_size=6))
def test_of_the_responses_api(given_items: list[dict[str, Any]]) -> None:
    body = body_of("/v1/responses", {"input": given_items})

    for item in given_items:
        if "output" in item:
            assert item["output"] in body
        elif item.get("type") == "web_search_call":
            assert item["action"]["sources"][0]["url"] in body
