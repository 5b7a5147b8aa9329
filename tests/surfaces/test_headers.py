"""What headers say of a request is read alike on every API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kiro_auth.conversation import Conversation
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.gateway.request_log import entry
from kiro_auth.gateway.turn import figures
from support.turns import turn_ended

TURN = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/messages": {"model": "m", "messages": TURN, "metadata": {"user_id": "body"}},
    "/v1/chat/completions": {"model": "m", "messages": TURN, "prompt_cache_key": "body"},
    "/v1/responses": {"model": "m", "input": TURN, "prompt_cache_key": "body"},
}
ORDER = [
    "x-opencode-session-id",
    "x-session-affinity",
    "x-claude-code-session-id",
    "session-id",
    "thread-id",
    "x-session-id",
]


def decoded(path: str, headers: dict[str, str]) -> Conversation:
    return SURFACES[path].decode(json.dumps(BODIES[path]).encode(), headers)


@pytest.mark.parametrize("number", range(len(ORDER)))
@pytest.mark.parametrize("path", SURFACES)
def test_the_conversation_s_own_name_counts_over_that_of_the_one_it_came_from(path: str, number: int) -> None:
    headers = {name: f"from {name}" for name in ORDER[number:]}

    assert decoded(path, headers).session == f"from {ORDER[number]}"


@pytest.mark.parametrize("path", SURFACES)
def test_without_a_header_or_with_an_empty_one_the_body_names_the_conversation(path: str) -> None:
    assert decoded(path, dict.fromkeys(ORDER, "")).session == "body"


def test_a_subagent_of_opencode_2_is_a_conversation_of_its_own() -> None:
    """All but one of its headers name the parent."""
    parent = dict.fromkeys(("x-session-affinity", "x-session-id", "x-opencode-session"), "ses_parent")

    found = [decoded("/v1/messages", {**parent, "x-opencode-session-id": id_}).session for id_ in "ab"]

    assert found == ["a", "b"]


@pytest.mark.parametrize("kind", ["primary", "compaction", "title", "generate"])
@pytest.mark.parametrize("path", SURFACES)
def test_the_kind_of_a_request_is_told_and_written_down(path: str, kind: str) -> None:
    conversation = decoded(path, {"x-kiro-kind": kind})

    assert conversation.kind == kind
    assert entry(turn_ended(asked=figures(conversation, 9)))["kind"] == kind


@pytest.mark.parametrize("headers", [{}, {"x-kiro-kind": ""}, {"x-kiro-kind": "a secret"}], ids=str)
@pytest.mark.parametrize("path", SURFACES)
def test_a_kind_that_nobody_tells_or_knows_is_none(path: str, headers: dict[str, str]) -> None:
    conversation = decoded(path, headers)

    assert conversation.kind is None
    assert "kind" not in entry(turn_ended(asked=figures(conversation, 9)))
