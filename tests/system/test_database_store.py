"""Gateways that share their accounts in a real PostgreSQL: as one of them, and without it for a while."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.postgres import KEY as STORE_KEY
from support.postgres import Cluster, Stores
from support.programs import KEY, Home, Simulator
from support.promptly import assert_in_time
from support.storing import at_once
from system.test_refresh_processes import ask_all, gateway

PASSWORD = "correct-horse-battery"
SECRETS = ("accessToken", "refreshToken", "clientSecret", "apiKey")


@pytest.fixture(scope="module")
def server(postgres: Cluster) -> Cluster:
    return postgres


@pytest.fixture
def home(tmp_path: Path, server: Cluster, request: pytest.FixtureRequest) -> Home:
    """A home whose accounts are in an empty database."""
    name = f"d{abs(hash(request.node.name))}"
    home = Home(tmp_path)
    home.environment |= {
        "KIRO_GATEWAY_KEY": KEY,
        "KIRO_STORE": server.new_database(name),
        "KIRO_STORE_KEY": base64.b64encode(STORE_KEY).decode(),
    }
    return home


def another(home: Home, folder: Path) -> Home:
    """The home of another machine, with the same database."""
    other = Home(folder)
    names = ("KIRO_GATEWAY_KEY", "KIRO_STORE", "KIRO_STORE_KEY")
    other.environment |= {name: home.environment[name] for name in names}
    other.environment |= {name: value for name, value in home.environment.items() if "ENDPOINT" in name}
    return other


@contextlib.contextmanager
def signed_in(home: Home) -> Iterator[Simulator]:
    with home.simulator("--auto-approve") as simulator:
        home.run("store", "migrate")
        home.run("login", "--builder-id", "--no-browser")
        yield simulator


async def ask(url: str, *, stream: bool = False) -> tuple[int, str, float]:
    """The status and words of one request, and how many seconds they took."""
    said = [{"role": "user", "content": "Hi"}]
    body = {"model": "claude-sonnet-4-5", "max_tokens": 900, "messages": said, "stream": stream}
    began = time.monotonic()
    async with (
        aiohttp.ClientSession(headers={"x-api-key": KEY}) as http,
        http.post(f"{url}/v1/messages", json=body) as answer,
    ):
        return answer.status, await answer.text(), time.monotonic() - began


def dumped(server: Cluster, home: Home) -> bytes:
    """Every row of every table, as the database gives them."""
    name = home.environment["KIRO_STORE"].rpartition("/")[2]
    tables = server.execute(
        "SELECT table_schema, table_name FROM information_schema.tables "
        "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')",
        name,
    )
    assert len(tables) >= 4
    rows: list[Any] = [
        cell if isinstance(cell, bytes) else str(cell).encode()
        for schema, table in tables
        for row in server.execute(f"SELECT * FROM {schema}.{table}", name)
        for cell in row
    ]
    return b"\n".join(rows)


@pytest.mark.timeout(120)
def test_gateways_of_two_machines_renew_once_and_no_secret_stands_in_the_database(
    home: Home, server: Cluster, tmp_path: Path
) -> None:
    with signed_in(home) as simulator, contextlib.ExitStack() as running:
        other = another(home, tmp_path / "other")
        urls = [running.enter_context(gateway(each)) for each in (home, other)]
        stores = Stores(home.environment["KIRO_STORE"], empty=False)
        running.callback(stores.close)
        store = stores.opened(tmp_path)
        account = at_once(store.load()).accounts[0]
        at_once(store.change(account["id"], {"expiresAt": 1}))
        simulator.ask("advance", {"seconds": 7200})
        before = len(simulator.calls("CreateToken"))

        statuses = asyncio.run(ask_all(urls))

        assert statuses == [200] * len(statuses)
        assert len(simulator.calls("CreateToken")) - before == 1
        renewed = at_once(store.load()).accounts[0]
        assert renewed["refreshToken"] != account["refreshToken"]
        text = dumped(server, home)
        held = [str(record[name]) for record in (account, renewed) for name in SECRETS if record.get(name)]
        assert len(held) >= 6
        assert [name for name in SECRETS if name.encode() in text] == []
        assert [secret for secret in held if secret.encode() in text] == []
        assert not (home.config / "kiro-accounts.json").exists()


@pytest.mark.timeout(120)
def test_without_its_database_a_gateway_says_so_within_two_seconds_and_recovers_by_itself(
    home: Home, server: Cluster
) -> None:
    with signed_in(home) as simulator, gateway(home) as url, ThreadPoolExecutor(1) as pool:
        assert asyncio.run(ask(url))[0] == 200
        began = time.monotonic()
        home.process("store", "check")
        usual = time.monotonic() - began  # Python's own start is most of it
        simulator.script({"steps": [{"text": "begun"}, {"pause": 15}, {"text": " finished"}]})
        running = pool.submit(asyncio.run, ask(url, stream=True))
        while len(simulator.calls()) < 2:
            time.sleep(0.05)
        with server.stopped():
            time.sleep(2)  # a moment is bridged
            assert not running.done()
            failed = [asyncio.run(ask(url)) for _ in range(3)]
            assert all("KA-DATABASE" in words and status != 200 for status, words, _ in failed)
            assert_in_time([seconds for _, _, seconds in failed], 2)
            status, words, _ = running.result()
            assert (status, "finished" in words, "message_stop" in words) == (200, True, True), words
            began = time.monotonic()
            done = home.process("store", "check", check=False)
            assert (done.returncode, "KA-DATABASE" in done.stderr) == (1, True), done.stderr
            assert time.monotonic() - began < 3 * usual + 5
        end = time.monotonic() + 30
        while asyncio.run(ask(url))[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.1)


@pytest.mark.clients
@pytest.mark.timeout(120)
def test_places_of_a_killed_gateway_are_free_within_twenty_seconds_and_never_before_ten(
    home: Home, server: Cluster, tmp_path: Path
) -> None:
    """With its pauses as they are: a row lasts fifteen seconds, and is prolonged and looked at every five."""
    with signed_in(home) as simulator, contextlib.ExitStack() as running:
        pool = running.enter_context(ThreadPoolExecutor(1))
        other = another(home, tmp_path / "other")
        for each in (home, other):
            each.environment["KIRO_MAX_CONCURRENT_PER_ACCOUNT"] = "1"
        url = running.enter_context(gateway(other))
        assert asyncio.run(ask(url))[0] == 200
        with home.started("serve", "--port", "0") as killed:
            assert killed.stdout is not None
            found = re.search(r"http://[0-9.]+:[0-9]+", killed.stdout.readline())
            assert found is not None
            before = len(simulator.calls())
            simulator.script({"steps": [{"text": "begun"}, {"pause": 60}, {"text": " finished"}]})
            streaming = pool.submit(asyncio.run, ask(found[0], stream=True))
            while len(simulator.calls()) == before:
                time.sleep(0.05)
            before_it = last_until(server, home)
            while last_until(server, home) == before_it:  # it beats every 4.5 seconds
                time.sleep(0.05)
            killed.kill()
            began, last = time.time(), last_until(server, home)
            assert isinstance(streaming.exception(), aiohttp.ClientError)

        status, _, _ = asyncio.run(ask(url))
        free = time.time()

        assert status == 200
        assert last - began > 10, "a row lasts 15 s from a beat, which has only just come"
        assert last < free < last + 5 + 30, "a look comes after up to 5 s, and a busy machine adds some"


def last_until(server: Cluster, home: Home) -> float:
    """When the row of the one gateway that holds a place ends, unless it beats again."""
    name = home.environment["KIRO_STORE"].rpartition("/")[2]
    of_places = "kiro_auth.replicas JOIN kiro_auth.places ON replica = id"
    [(until,)] = server.execute(f"SELECT extract(epoch FROM until)::float FROM {of_places}", name)
    return float(until)


def readiness(url: str) -> tuple[int, float]:
    """What a balancer is told, and within how many seconds."""

    async def asked() -> tuple[int, float]:
        began = time.monotonic()
        async with aiohttp.ClientSession() as http, http.get(f"{url}/ready") as answer:
            await answer.read()
            return answer.status, time.monotonic() - began

    return asyncio.run(asked())


@pytest.mark.clients
@pytest.mark.timeout(120)
def test_a_gateway_is_not_ready_without_its_database_and_says_so_in_time(home: Home, server: Cluster) -> None:
    with signed_in(home), gateway(home) as url:
        while readiness(url)[0] != 200:  # in its first moment
            time.sleep(0.1)
        for away in (server.stopped, server.frozen):
            told: list[tuple[int, float]] = []
            with away():
                end = time.monotonic() + 30
                while not told or told[-1][0] != 503:
                    assert time.monotonic() < end
                    told.append(readiness(url))
                    time.sleep(0.1)
                told += [readiness(url) for _ in range(5)]
                assert [status for status, _ in told[-5:]] == [503] * 5
            end = time.monotonic() + 30
            while readiness(url)[0] != 200:
                assert time.monotonic() < end
                time.sleep(0.1)
            assert_in_time([seconds for _, seconds in told], 2)
