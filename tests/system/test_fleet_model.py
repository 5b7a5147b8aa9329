"""The model of a fleet counts what a real replica asks its database for."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from bench.fleet_model import BEAT_SECONDS, CONNECTIONS, LOOK_SECONDS, STATEMENTS, Fleet, play

from support.postgres import KEY as STORE_KEY
from support.postgres import Cluster, cluster
from support.programs import KEY, Home
from system.test_refresh_processes import gateway

KINDS = {
    "home": r"SELECT account, .* FROM kiro_auth\.homes",
    "settle": r"INSERT INTO kiro_auth\.homes",
    "take": r"WITH free AS .* INSERT INTO kiro_auth\.places",
    "give back": r"DELETE FROM kiro_auth\.places",
    "beat": r"(UPDATE|DELETE FROM) kiro_auth\.replicas (SET|WHERE until)",
    "look": r"SELECT id, revision FROM kiro_auth\.accounts|SELECT value FROM kiro_auth\.notes",
    "fetch": r"SELECT id, position, .* ORDER BY id$",
    "credits": r"BEGIN|COMMIT|SELECT id, position, .* FOR UPDATE$",
    "credits of an account": r"UPDATE kiro_auth\.accounts",
    "ledger": r".*kiro_auth\.(ledger|forgotten|sums)",
}
"""The statements of each kind, but for BEGIN and COMMIT of the ledger's, which are among those of credits."""
CONVERSATIONS, TURNS = 5, 4


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as server:
        yield server


def kind_of(statement: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if re.match(pattern, statement)), "other")


async def talk(url: str) -> None:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 900, "messages": [{"role": "user", "content": "Hi"}]}
    async with aiohttp.ClientSession(headers={"x-api-key": KEY}) as http:
        for number in range(CONVERSATIONS * TURNS):
            session = {"x-opencode-session-id": f"s{number % CONVERSATIONS}"}
            async with http.post(f"{url}/v1/messages", json=body, headers=session) as answer:
                assert answer.status == 200, await answer.text()


@pytest.mark.clients
@pytest.mark.timeout(120)
def test_a_real_replica_asks_for_as_many_statements_as_the_model_says(
    tmp_path: Path, server: Cluster
) -> None:
    home = Home(tmp_path)
    home.environment |= {
        "KIRO_GATEWAY_KEY": KEY,
        "KIRO_STORE": server.new_database("fleet"),
        "KIRO_STORE_KEY": base64.b64encode(STORE_KEY).decode(),
    }
    with home.simulator("--auto-approve"):
        home.process("store", "migrate")  # in processes that end, and look at nothing any more
        home.process("login", "--builder-id", "--no-browser")
        with gateway(home) as url:
            asyncio.run(talk(url))  # whatever comes once
            time.sleep(5)
            with server.logged("fleet") as statements:
                began = time.monotonic()
                # Settings count for new connections only.
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'fleet'"
                )
                time.sleep(2)
                asyncio.run(talk(url))
                time.sleep(3)
                seconds = time.monotonic() - began
                connections = server.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'fleet'")
    counts = Counter(map(kind_of, statements))
    requests = CONVERSATIONS * TURNS

    assert connections == [(CONNECTIONS,)]
    for kind in ("home", "take", "give back"):
        assert counts[kind] == requests * STATEMENTS[kind], (kind, counts)
    assert counts["settle"] == 0, "they are settled since the first time"
    beats, looks = seconds / BEAT_SECONDS, seconds / LOOK_SECONDS
    assert (beats - 1.5) * STATEMENTS["beat"] <= counts["beat"] <= (beats + 1.5) * STATEMENTS["beat"]
    assert counts["look"] <= (looks + 2) * STATEMENTS["look"]
    assert counts["fetch"] <= looks + 2
    kept = counts["credits of an account"]  # there is one account
    assert 1 <= kept <= looks + 2
    assert counts["credits"] == kept * STATEMENTS["credits"] + counts["ledger"] * 2 / (
        STATEMENTS["ledger"] - 2
    )
    assert counts["other"] <= 12, "three connections begin, and are looked at after a pause"


def test_the_model_asks_once_for_each_request_and_more_only_where_accounts_are_used_up() -> None:
    quiet = play(Fleet(replicas=5, rate=0.4, accounts_each=10, lasts=1.0, seconds=400)).per_second
    full = play(Fleet(replicas=5, rate=0.4, accounts_each=0.2, lasts=8.0, seconds=100)).per_second

    assert quiet["home"] == pytest.approx(2.0, rel=0.15)
    assert quiet["take"] == pytest.approx(quiet["home"], rel=0.05)
    assert quiet["give back"] == pytest.approx(quiet["take"], rel=0.05)
    assert quiet.get("refused take", 0.0) < 0.01
    assert quiet["beat"] == pytest.approx(5 / BEAT_SECONDS)
    assert full["take"] <= 4 / 8 * 1.3, "an account of four places, each used for eight seconds"
    # Each of five replicas asks again every 150 ms for the one account.
    assert 5 / 0.25 < full["refused take"] < 5 / 0.05
