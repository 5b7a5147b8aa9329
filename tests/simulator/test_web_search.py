"""The simulated search of the web: JSON-RPC in InvokeMCP, in both dialects, where it is offered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from kiro_auth.simulator.app import create_app
from kiro_auth.simulator.world import World

pytestmark = pytest.mark.outside

ARN = "arn:aws:codewhisperer:us-east-1:210987654321:profile/SOCIALSHARED"
TARGET = "KiroRuntimeService.InvokeMCP"


class Service:
    def __init__(self, world: World, http: aiohttp.ClientSession, url: str) -> None:
        self.world = world
        self.http = http
        self.url = url

    async def invoke(
        self,
        method: str,
        params: Any = None,
        *,
        user: str = "ada@example.com",
        region: str = "",
        rest: bool = False,
        arn: str | None = None,
    ) -> tuple[int, Any]:
        """Status and answer of one JSON-RPC request."""
        token = self.world.issue("us-east-1", user, None).access
        headers = {"Authorization": f"Bearer {token}"}
        body = {"id": "1", "jsonrpc": "2.0", "method": method, "params": params or {}}
        if rest and arn:
            headers["x-amzn-kiro-profile-arn"] = arn
        elif arn:
            body["profileArn"] = arn
        if not rest:
            headers["X-Amz-Target"] = TARGET
        path = f"{self.url}{region}{'/mcp' if rest else '/'}"
        async with self.http.post(path, data=json.dumps(body), headers=headers) as answer:
            return answer.status, json.loads(await answer.read())

    async def search(self, query: Any, **more: Any) -> Any:
        params = {"name": "web_search", "arguments": {"query": query}}
        status, answer = await self.invoke("tools/call", params, **more)
        assert status == 200
        return answer

    async def order(self, name: str, body: Any) -> Any:
        async with self.http.post(f"{self.url}/_control/{name}", json=body) as answer:
            return await answer.json()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    world = World()
    async with TestServer(create_app(world)) as server, aiohttp.ClientSession() as http:
        yield Service(world, http, str(server.make_url("")).rstrip("/"))


@pytest.mark.parametrize("rest", [True, False], ids=["rest", "rpc"])
async def test_the_tool_is_listed_and_finds_pages_in_both_dialects(service: Service, rest: bool) -> None:
    status, listed = await service.invoke("tools/list", rest=rest)
    [tool] = listed["result"]["tools"]
    found = await service.search("old maps", rest=rest)

    assert (status, tool["name"], tool["inputSchema"]["required"]) == (200, "web_search", ["query"])
    content = json.loads(found["result"]["content"][0]["text"])
    assert content["query"] == "old maps"
    assert content["totalResults"] == len(content["results"]) == 2
    assert {"title", "url", "snippet", "publishedDate", "domain"} <= set(content["results"][0])


@pytest.mark.parametrize("rest", [True, False], ids=["rest", "rpc"])
async def test_it_is_not_offered_in_europe(service: Service, rest: bool) -> None:
    status, refusal = await service.invoke(
        "tools/list", user="linus@example.org", region="/eu-central-1", rest=rest
    )

    assert status == 404
    assert "UnknownOperation" in refusal["__type"]


@pytest.mark.parametrize("rest", [True, False], ids=["rest", "rpc"])
async def test_a_profile_counts_where_there_are_profiles(service: Service, rest: bool) -> None:
    joan = "joan@example.net"
    assert (await service.invoke("tools/list", user=joan, rest=rest))[0] == 403
    assert (await service.invoke("tools/list", user=joan, rest=rest, arn=ARN))[0] == 200
    assert (await service.invoke("tools/list", user=joan, rest=rest, arn=f"{ARN}X"))[0] == 403


async def test_an_organisation_may_turn_it_off(service: Service) -> None:
    await service.order("settings", {"webTools": False})
    _, listed = await service.invoke("tools/list")

    assert listed["result"]["tools"] == []
    assert (await service.search("x"))["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("query", "words"), [("", "required"), (" ", "required"), (5, "required"), ("x" * 201, "maximum length")]
)
async def test_a_query_is_needed_and_has_its_length(service: Service, query: Any, words: str) -> None:
    error = (await service.search(query))["error"]

    assert error["code"] == -32602
    assert words in error["message"]


async def test_searches_are_scripted_for_their_words(service: Service) -> None:
    rows = [{"title": "T", "url": "https://t.example"}]
    script = [
        {"contains": "tides", "results": rows},
        {"isError": True},
        {"error": {"code": -32000, "message": "Try later."}},
    ]
    assert await service.order("search", script) == {"searches": 3}
    failed, refused = await service.search("maps"), await service.search("maps")
    found = await service.search("high tides")

    assert failed["result"]["isError"] is True
    assert refused["error"] == {"code": -32000, "message": "Try later."}
    assert json.loads(found["result"]["content"][0]["text"])["results"] == rows
    assert (await service.order("search", [{"nonsense": 1}]))["error"]


@pytest.mark.parametrize("method", ["initialize", "notifications/initialized"])
async def test_a_session_may_begin_as_mcp_has_it(service: Service, method: str) -> None:
    assert "result" in (await service.invoke(method))[1]


async def test_other_methods_are_not_known(service: Service) -> None:
    assert (await service.invoke("resources/list"))[1]["error"]["code"] == -32601
