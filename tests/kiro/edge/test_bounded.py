"""Answers that are read whole are read up to a limit, whatever they are packed as."""

from __future__ import annotations

import resource
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache, partial
from typing import Any

import pytest
from aiohttp import web

from kiro_auth.accounts.account import Account
from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.client import Credentials, KiroClient
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.kiro.request.payload import Payload
from kiro_auth.kiro.tokens import desktop
from support.scripted import reply, script

MIB = 1024 * 1024
CREDENTIALS = Credentials(kind="idc", token="the-token", region="eu-central-1")
SIGN_IN = Account(id="a", auth_method="social", refresh_token="r1", region="us-east-1")


@pytest.fixture
async def lines() -> AsyncIterator[Lines]:
    async with Lines(Trust()) as lines:
        yield lines


@cache
def bomb() -> bytes:
    """1.5 GB of spaces in 1.5 MB.  One mebibyte of them is packed and repeated, which takes no time."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    once = packer.compress(b" " * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(1500):
        checksum = zlib.crc32(b" " * MIB, checksum)
    header = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return header + once * 1500 + packer.flush() + struct.pack("<II", checksum, 1500 * MIB)


async def spaces(request: web.Request, status: int = 200) -> web.StreamResponse:
    """1.5 GB of them, as they are."""
    answer = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
    await answer.prepare(request)
    try:
        for _ in range(1500):
            await answer.write(b" " * MIB)
    except ConnectionError:
        pass
    return answer


SENT = Payload(body=b"{}", tool_names={}, repairs=(), input_tokens=0, tag_reasoning=False)


@pytest.mark.parametrize("what", ["packed", "plain"])
@pytest.mark.parametrize("call", ["list_models", "list_profiles", "usage_limits", "renew"])
async def test_an_answer_without_end_costs_neither_time_nor_memory(
    lines: Lines, what: str, call: str
) -> None:
    answer: Any = reply(bomb(), Content_Encoding="gzip") if what == "packed" else spaces
    memory, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()

    async with script(answer) as service:
        endpoints = Endpoints(dict.fromkeys(("management", "profiles", "desktop_auth"), (service.url,)))
        client = KiroClient(lines, endpoints, timeout=20)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "list_models": lambda: client.list_models(CREDENTIALS),
            "list_profiles": lambda: client.list_profiles(CREDENTIALS),
            "usage_limits": lambda: client.usage_limits(CREDENTIALS),
            "renew": lambda: desktop.renew(lines, endpoints, SIGN_IN),
        }
        with pytest.raises(TurnFailed) as raised:
            await calls[call]()

    assert raised.value.failure.code == "KA-SERVICE"
    assert "is longer than 2 MB" in raised.value.failure.message
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 60 * 1024  # KB


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("what", ["packed", "plain"])
async def test_what_comes_in_place_of_a_reply_costs_neither_time_nor_memory(
    lines: Lines, what: str, status: int
) -> None:
    page = reply(bomb(), status=status, Content_Type="application/json", Content_Encoding="gzip")
    answer: Any = page if what == "packed" else partial(spaces, status=status)
    memory, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()

    async with script(answer) as service:
        client = KiroClient(lines, Endpoints({"runtime": (service.url,)}), timeout=20)
        with pytest.raises(TurnFailed):
            await client.chat(CREDENTIALS, lambda _: SENT)

    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 60 * 1024  # KB


@pytest.mark.parametrize("damage", [b"\x1f\x8bgarbage", b"", b"\x1f\x8b\x08\x00" + b"\xff" * 500])
async def test_a_damaged_packing_is_a_failure_of_ours(lines: Lines, damage: bytes) -> None:
    async with script(reply(damage, Content_Encoding="gzip")) as service:
        client = KiroClient(lines, Endpoints({"management": (service.url,)}), timeout=5)
        with pytest.raises(TurnFailed) as raised:
            await client.list_models(CREDENTIALS)

    assert raised.value.failure.code in ("KA-NETWORK", "KA-SERVICE")


@pytest.mark.parametrize("token", [{"a": 1}, [1], 5, "", "a" * 100_000, None])
async def test_a_page_is_asked_for_only_by_a_token_that_is_one(lines: Lines, token: Any) -> None:
    async with script(reply({"models": [], "nextToken": token})) as service:
        client = KiroClient(lines, Endpoints({"management": (service.url,)}), timeout=5)
        await client.list_models(CREDENTIALS)

    assert len(service.asked) == 1
