"""Whatever a client has in its history, in each API: the service takes it, and every word of it arrives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth.gateway.paths import SURFACES
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload
from kiro_auth.simulator.catalog import MODELS
from kiro_auth.simulator.validator import check_chat
from support.examples import examples
from support.odd_requests import PATHS, entries, requests, tokens


def sent(path: str, body: Any) -> dict[str, Any]:
    """What the service gets for a request, once it has taken it."""
    conversation = SURFACES[path].decode(json.dumps(body).encode(), {})
    model = resolve("claude-opus-4-6", ()).model
    options = payload.Options(model=model, protocol="rest", origin="AI_EDITOR", profile_arn=None)
    built: dict[str, Any] = json.loads(payload.build(conversation, options).body)
    check_chat(built, protocol="rest", models=MODELS)
    return built


@pytest.mark.timeout(240)
@settings(max_examples=examples(400), deadline=None)
@given(st.data())
@pytest.mark.parametrize("path", PATHS)
def test_no_history_is_refused_and_no_word_or_result_of_it_is_lost(path: str, data: st.DataObject) -> None:
    body = data.draw(requests(path))

    assert tokens(body) - tokens(sent(path, body)) == set()


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(entries, min_size=1, max_size=5))
def test_a_responses_body_at_the_chat_address_is_the_same_conversation(items: list[Any]) -> None:
    body = {"model": "claude-opus-4-6", "input": items, "instructions": "Be brief."}

    assert sent("/v1/chat/completions", body) == sent("/v1/responses", body)
