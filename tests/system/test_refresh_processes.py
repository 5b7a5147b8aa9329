"""One sign-in, many processes: renewed once, and never harmed by a process that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from kiro_auth.store.protocol import Renewed
from support.ports import free_port
from support.programs import KEY, Home
from support.storing import HandStore

TESTS = Path(__file__).parents[1]
GATEWAYS, REQUESTS, KILLS = 4, 30, 100


@contextlib.contextmanager
def gateway(home: Home) -> Iterator[str]:
    """One more gateway of this home, at a port of its own; its address."""
    port = free_port()
    with home.started("serve", "--port", str(port)) as process:
        assert process.stdout is not None
        assert f":{port}" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"


async def ask_all(urls: list[str]) -> list[int]:
    """The status of many requests to each, all at once."""
    body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    async with aiohttp.ClientSession(headers={"x-api-key": KEY}) as http:

        async def ask(url: str) -> int:
            async with http.post(f"{url}/v1/messages", json=body) as answer:
                await answer.read()
                return answer.status

        return await asyncio.gather(*(ask(url) for url in urls for _ in range(REQUESTS)))


@pytest.mark.timeout(180)
def test_four_gateways_with_thirty_requests_each_renew_once_and_answer_all(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.environment["KIRO_GATEWAY_KEY"] = KEY
    with home.simulator("--auto-approve") as simulator, contextlib.ExitStack() as running:
        home.run("login", "--builder-id", "--no-browser")
        urls = [running.enter_context(gateway(home)) for _ in range(GATEWAYS)]
        store = HandStore(home.config, home.state / "locks")
        store.change_account(home.accounts()[0]["id"], {"expiresAt": 1})
        simulator.ask("advance", {"seconds": 7200})
        before = len(simulator.calls("CreateToken"))

        statuses = asyncio.run(ask_all(urls))

        assert statuses == [200] * (GATEWAYS * REQUESTS)
        assert len(simulator.calls("CreateToken")) - before == 1
        assert len(simulator.calls()) == GATEWAYS * REQUESTS


@pytest.mark.clients
@pytest.mark.timeout(180)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to be quick")
def test_a_process_killed_while_it_renews_never_harms_the_file(tmp_path: Path) -> None:
    home = Home(tmp_path)
    seed = random.SystemRandom().randrange(10**6)
    with home.simulator() as simulator:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "support.kill_refreshing",
                str(tmp_path),
                simulator.url,
                str(KILLS),
                str(seed),
            ],
            env={**home.environment, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
            capture_output=True,
            text=True,
            timeout=500,
        )

    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    found = json.loads(done.stdout)
    assert found["renewed by the next"] + found.get("lost and said so", 0) == KILLS
    # Each kind of moment was met; a twentieth is far below what any machine makes of them.
    for moment in (
        "killed in time",
        "killed with the answer in hand",
        "killed with the new token written down",
    ):
        assert found[moment] >= KILLS / 20, f"seed {seed}: {found}"


@pytest.mark.timeout(120)
def test_the_next_start_saves_and_removes_what_a_killed_gateway_left(tmp_path: Path) -> None:
    home = Home(tmp_path)
    store = HandStore(home.config, home.state / "locks")
    store.add_account({"id": "a" * 32, "accessToken": "t", "refreshToken": "spent", "expiresAt": 1})
    store.ahead.keep(Renewed("a" * 32, "spent", {"accessToken": "new", "refreshToken": "newer"}))
    asyncio.run(store.ahead.prepare("b" * 32))
    left = [home.config / ".kiro-accounts.json-abcd3fgh", home.state / ".gateway.json-abcd3fgh"]
    for path in left:
        path.write_text("half")

    def still_left() -> list[Path]:
        hidden = [path for path in home.config.iterdir() if path.name.startswith(".")]
        return [*hidden, *(home.state / "renewals").iterdir(), *(path for path in left if path.exists())]

    with gateway(home):
        end = time.monotonic() + 60
        while store.accounts()[0]["refreshToken"] != "newer" or still_left():
            assert time.monotonic() < end, still_left()
            time.sleep(0.05)
