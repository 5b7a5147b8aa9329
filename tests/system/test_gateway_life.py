"""How a gateway ends: what it waits for, and what it does not."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from support.programs import KEY, Home
from support.storing import HandStore

pytestmark = pytest.mark.timeout(120)

IDLE_SECONDS = 5.0
"""After so long a gateway ends unused; a busy machine takes some until the first request."""


def call(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def status(gateway: http.client.HTTPConnection, sign_in: str) -> str:
    gateway.request("GET", f"/kiro/login/{sign_in}", headers={"x-api-key": KEY})
    return str(json.loads(gateway.getresponse().read())["status"])


@pytest.mark.clients
def test_a_sign_in_is_finished_by_the_gateway_that_began_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.environment["KIRO_GATEWAY_KEY"] = KEY
    home.keep_address()  # or another test's gateway may listen where this one has
    with contextlib.ExitStack() as stack:
        simulator = stack.enter_context(home.simulator())
        process = stack.enter_context(home.started("serve", "--idle-minutes", str(IDLE_SECONDS / 60)))
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(";")
        sign_in = call(f"{url}/kiro/login", {})
        # Connections that are there go on.
        asking = stack.enter_context(contextlib.closing(http.client.HTTPConnection(url.partition("://")[2])))
        assert status(asking, sign_in["id"]) == "pending"
        call(f"{url}/kiro/retire", {})
        time.sleep(2 * IDLE_SECONDS)
        assert status(asking, sign_in["id"]) == "pending"
        assert not (home.state / "gateway.json").exists(), "the place is free for the newer version"
        with pytest.raises(urllib.error.URLError):  # and so is its port
            call(f"{url}/health")

        simulator.ask("approve", {"userCode": sign_in["code"]})
        end = time.monotonic() + 60
        while (told := status(asking, sign_in["id"])) == "pending":
            assert time.monotonic() < end
            time.sleep(0.2)

        assert told == "done"
        assert len(home.accounts()) == 1
        assert process.wait(90) == 0, "with nothing left to do it ends"


@pytest.mark.clients
async def test_it_ends_at_once_though_another_program_holds_the_lock_of_an_account(tmp_path: Path) -> None:
    home = Home(tmp_path)
    store = HandStore(home.config, home.state / "locks")
    store.add_account({"id": "a", "accessToken": "old", "refreshToken": "r", "expiresAt": 1})
    with home.simulator(), store.leased("refresh-a"):
        with home.started("serve", "--port", "0") as process:
            assert process.stdout is not None
            url = process.stdout.readline().split()[2].rstrip(";")
            key = json.loads((home.state / "gateway.json").read_text())["key"]
            body = {
                "model": "claude-sonnet-4-5",
                "max_tokens": 9,
                "messages": [{"role": "user", "content": "Hi"}],
            }
            request = urllib.request.Request(
                f"{url}/v1/messages", json.dumps(body).encode(), {"x-api-key": key}
            )

            def ask() -> None:
                try:
                    urllib.request.urlopen(request, timeout=60).close()
                except urllib.error.HTTPError as error:
                    error.close()
                    raise

            asking = asyncio.create_task(asyncio.to_thread(ask))
            await asyncio.sleep(1)
            assert not asking.done(), "the renewal waits for the lock"
            began = time.monotonic()
            process.terminate()
            await asyncio.to_thread(process.wait, 60)
            took = time.monotonic() - began
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            await asking
    assert took < 20  # the lock would be waited for a minute
