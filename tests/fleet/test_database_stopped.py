"""The database of three gateways goes away for twenty seconds in the middle of their work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import pytest

from support.crowd import Client, Ended, reply
from support.fleet import Fleet, fleet, note, until
from support.postgres import Cluster, Stores, cluster
from support.promptly import assert_in_time
from support.storing import at_once
from support.virtual import APIS

pytestmark = [pytest.mark.clients, pytest.mark.outside, pytest.mark.timeout(180)]

AWAY_SECONDS: Final = 20.0
PROMISED_SECONDS: Final = 2.0
"""The longest that a new request waits for its failure."""
AWAY: Final[dict[str, Callable[[Cluster], AbstractContextManager[None]]]] = {
    "stopped at once": Cluster.stopped,
    "stopped in order": lambda server: server.stopped("fast"),
    "frozen": Cluster.frozen,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as server:
        yield server


class Stage:
    """A fleet, the key that clients have, and the one account whose token is renewed in the middle."""

    def __init__(self, found: Fleet, folder: Path) -> None:
        self.found = found
        self.secret = found.create_key("team")
        self._stores = Stores(found.home.environment["KIRO_STORE"], empty=False)
        self._folder = folder
        self.account = found.home.json("accounts")["accounts"][0]

    def record(self) -> dict[str, Any]:
        with contextlib.closing(self._stores):
            return dict(at_once(self._stores.opened(self._folder).load()).record(self.account["id"]) or {})

    def expire(self) -> None:
        """The account's next turn needs a new token."""
        with contextlib.closing(self._stores):
            at_once(self._stores.opened(self._folder).change(self.account["id"], {"expiresAt": 1}))

    def renewals(self) -> list[int]:
        """The statuses of all renewals, of whatever account."""
        calls = self.found.simulator.calls("CreateToken")
        return [call["status"] for call in calls if call["body"].get("grantType") == "refresh_token"]

    def under_way(self) -> int:
        return sum(load["now"] for load in self.found.simulator.ask("loads")["loads"].values())


def check_shape(turn: Ended) -> None:
    """A failure in its API's own form, which names the code and says what to do."""
    said = json.loads(turn.words)
    error = said["error"]
    assert turn.status == (400 if turn.api == "/v1/responses" else 424)
    assert (said.get("type") == "error") == (turn.api == "/v1/messages")
    assert set(error) >= ({"type", "message"} if turn.api == "/v1/messages" else {"type", "message", "code"})
    assert "(KA-DATABASE)" in error["message"]
    assert "cannot be reached" in error["message"]


async def asked_meanwhile(client: Client, stage: Stage, over: asyncio.Event) -> list[Ended]:
    """New requests in all APIs at once, again and again until it is over."""
    asked: list[Ended] = []
    while not over.is_set():
        asked += await asyncio.gather(
            *(
                client.turn("team", stage.secret, api, f"meanwhile-{len(asked)}-{n}", stream=n % 2 == 0)
                for n, api in enumerate(APIS)
            )
        )
        await asyncio.sleep(0.5)
    return asked


async def until_it_answers(client: Client, stage: Stage) -> float:
    """How long it takes until each replica answers again."""
    began = time.monotonic()
    for number, replica in enumerate(stage.found.replicas):
        while True:
            turn = await client.turn("team", stage.secret, "/v1/messages", f"after-{number}", url=replica.url)
            if turn.is_whole:
                break
            assert time.monotonic() - began < 30, turn.words
            await asyncio.sleep(0.2)
    return time.monotonic() - began


async def renewing(client: Client, stage: Stage) -> asyncio.Task[Ended]:
    """A turn whose account is getting a new token."""
    while True:
        await asyncio.to_thread(stage.expire)
        await asyncio.sleep(3)  # all replicas have seen it, as a look comes every two seconds
        turn = asyncio.create_task(
            client.turn("team", stage.secret, "/v1/messages", "renewing", account=stage.account["name"])
        )
        while not turn.done() and not await asyncio.to_thread(stage.renewals):
            await asyncio.sleep(0.02)
        if stage.renewals():
            return turn


async def begun(client: Client, stage: Stage) -> list[asyncio.Task[Ended]]:
    """Streams that outlast the outage; and a turn whose account gets a new token without a database."""
    streams = [
        asyncio.create_task(client.turn("team", stage.secret, APIS[n % 3], f"long-{n}")) for n in range(6)
    ]
    while await asyncio.to_thread(stage.under_way) < len(streams):
        await asyncio.sleep(0.05)
    stage.found.simulator.ask("settings", {"tokenPause": 3})
    return [*streams, await renewing(client, stage)]


async def played(stage: Stage, away: AbstractContextManager[None]) -> tuple[list[Ended], list[Ended], float]:
    """The streams that had begun, the requests that came meanwhile, and how long the recovery took."""
    async with Client(stage.found.url) as client:
        streams = await begun(client, stage)
        over = asyncio.Event()
        with away:
            await asyncio.sleep(1)  # a moment is bridged
            meanwhile = asyncio.create_task(asked_meanwhile(client, stage, over))
            await asyncio.sleep(AWAY_SECONDS / 2)
            for replica in stage.found.replicas:
                assert not await asyncio.to_thread(replica.is_ready)
            await asyncio.sleep(AWAY_SECONDS / 2)
            over.set()
            failed = await meanwhile
            assert sum(stream.done() for stream in streams) <= 1, "the long streams ended before"
        recovery = await until_it_answers(client, stage)
        return await asyncio.gather(*streams), failed, recovery


@pytest.mark.parametrize("kind", AWAY)
def test_without_the_database_what_runs_finishes_what_comes_fails_soon_and_nothing_is_lost(
    kind: str, server: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fleet(tmp_path, server, KIRO_MAX_CONCURRENT_PER_ACCOUNT="8") as found:
        stage = Stage(found, tmp_path / "looking")
        before = stage.record()
        found.simulator.script(*(reply(0.3, *[4.5] * 13) for _ in range(6)))
        streams, failed, recovery = asyncio.run(played(stage, AWAY[kind](server)))

        assert [(turn.session, turn.words[-300:]) for turn in streams if not turn.is_whole] == []
        for turn in failed:
            check_shape(turn)
        assert {turn.api for turn in failed} == set(APIS)
        waits = [turn.ended - turn.began for turn in failed]
        assert_in_time(waits, PROMISED_SECONDS)
        until(lambda: all(replica.is_ready() for replica in found.replicas), "all are ready")
        found.until_rows_of({turn.request_id or "" for turn in streams})
        check_token(stage, before)
        note(
            capsys,
            f"the database {kind} for {AWAY_SECONDS:g} s",
            {
                "streams that went on": len(streams),
                "cut": 0,
                "requests meanwhile": len(failed),
                "longest wait for the failure s": round(max(waits), 2),
                "all answer again after s": round(recovery, 2),
            },
        )


def check_token(stage: Stage, before: dict[str, Any]) -> None:
    """The token that came meanwhile is in the database, and its refresh token is good for the next one."""

    def kept() -> bool:
        return bool(stage.record()["refreshToken"] != before["refreshToken"])

    until(kept, "the renewed token is saved")
    assert stage.renewals() == [200]
    stage.expire()
    stage.found.simulator.ask("settings", {"tokenPause": 0})

    def renewed_again() -> bool:
        turn = asyncio.run(_one(stage))  # which a replica may serve that has not seen yet that it expired
        assert turn.is_whole, turn.words
        return stage.renewals() == [200, 200]

    until(renewed_again, "the token is renewed again")


async def _one(stage: Stage) -> Ended:
    async with Client(stage.found.url) as client:
        return await client.turn(
            "team", stage.secret, "/v1/messages", "at the end", account=stage.account["name"]
        )
