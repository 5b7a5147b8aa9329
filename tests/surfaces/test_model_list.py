"""The list of models, for clients of either API."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kiro_auth.surfaces.model_list import encode_models
from kiro_auth.surfaces.surface import ModelCard
from support.sdks import anthropic

SONNET = ModelCard(
    id="claude-sonnet-4.6",
    name="Claude Sonnet 4.6",
    context_window=200_000,
    max_output=64_000,
    inputs=frozenset({"text", "image"}),
    thinks=True,
)
AUTO = ModelCard(
    id="auto", name="Auto", context_window=1000, max_output=10, inputs=frozenset({"text"}), thinks=False
)


def test_a_row_holds_what_both_apis_call_a_model() -> None:
    listed = json.loads(encode_models([SONNET]))

    assert listed["object"] == "list"
    assert listed["data"] == [
        {
            "id": "claude-sonnet-4.6",
            "object": "model",
            "type": "model",
            "display_name": "Claude Sonnet 4.6",
            "owned_by": "kiro",
            "created": 0,
            "created_at": "1970-01-01T00:00:00Z",
            "lifecycle": "active",
            "context_window": 200_000,
            "max_input_tokens": 200_000,
            "max_output_tokens": 64_000,
            "max_tokens": 64_000,
            "input_modalities": ["image", "text"],
            "reasoning": True,
        }
    ]


def test_the_list_is_whole_and_in_the_order_given() -> None:
    listed = json.loads(encode_models([SONNET, AUTO]))

    assert [row["id"] for row in listed["data"]] == ["claude-sonnet-4.6", "auto"]
    assert (listed["first_id"], listed["last_id"]) == ("claude-sonnet-4.6", "auto")
    assert listed["has_more"] is False


def test_no_models_are_an_empty_list() -> None:
    listed = json.loads(encode_models([]))

    assert (listed["data"], listed["first_id"], listed["last_id"]) == ([], None, None)


@pytest.mark.outside
async def test_the_anthropic_sdk_reads_the_list_to_its_end() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=encode_models([SONNET, AUTO]), content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/models", answer)
    async with (
        TestServer(app) as server,
        anthropic().AsyncAnthropic(base_url=str(server.make_url("/")), api_key="k", max_retries=0) as client,
    ):
        models = [model async for model in client.models.list()]

    assert [(model.id, model.max_input_tokens, model.max_tokens) for model in models] == [
        ("claude-sonnet-4.6", 200_000, 64_000),
        ("auto", 1000, 10),
    ]
