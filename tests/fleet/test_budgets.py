"""Two hundred people with budgets at three gateways: who is refused, and in which words, is counted apart."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support.crowd import Client, Ended, reply
from support.fleet import Fleet, fleet, note
from support.postgres import Cluster, cluster
from support.virtual import APIS

pytestmark = [
    pytest.mark.clients,
    pytest.mark.outside,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("one_day"),
]

KEYS, OVER = 200, 20
PLENTY, LITTLE = 50.0, 1.0
AT_ONCE: Final = 30


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as server:
        yield server


class Count:
    """What each key has spent by the service's own books, and so who is to be refused."""

    def __init__(self, found: Fleet, budgets: dict[str, tuple[float, str]]) -> None:
        self._found = found
        self._budgets = budgets
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._read = 0

    def look(self) -> None:
        """Read on in the books; each conversation is named after its key."""
        said = {
            state["conversationId"]: state["currentMessage"]["userInputMessage"]["content"]
            for call in self._found.simulator.calls()
            for state in [call["body"]["conversationState"]]
        }
        books = self._found.simulator.ask("books")["books"]
        for line in books[self._read :]:
            name = said[line["conversation"]].partition("fleet ")[2].partition("-")[0]
            self.spent[name] += line["credits"]
        self._read = len(books)

    def expected(self, name: str) -> str | None:
        """The words with which this key is refused now; None: it is let in."""
        most, period = self._budgets[name]
        spent = round(self.spent[name], 6)
        if spent < most:
            return None
        return (
            f"The budget of the key {name}, {most:g} credits a {period}, is used up: {spent:.2f} were spent"
        )


async def asked(found: Fleet, secrets: dict[str, str], names: Iterable[str], label: str) -> list[Ended]:
    """A turn of each, so many at a time, in the APIs in turn."""
    gate = asyncio.Semaphore(AT_ONCE)
    async with Client(found.url) as client:

        async def one(number: int, name: str) -> Ended:
            async with gate:
                session = f"{name}-{label}-{number}"
                return await client.turn(
                    name, secrets[name], APIS[number % 3], session, stream=number % 2 == 0
                )

        return await asyncio.gather(*(one(number, name) for number, name in enumerate(names)))


async def asked_everywhere(found: Fleet, secrets: dict[str, str], names: Iterable[str]) -> list[Ended]:
    """Each key at each replica in each API."""
    turns: list[Ended] = []
    async with Client(found.url) as client:
        for name in names:
            turns += await asyncio.gather(
                *(
                    client.turn(name, secrets[name], api, f"{name}-everywhere", url=replica.url)
                    for replica in found.replicas
                    for api in APIS
                )
            )
    return turns


def check(turns: list[Ended], count: Count) -> tuple[int, int]:
    """Each turn was refused as it was to be, and with those words; how many were, and how many not."""
    wrong = []
    for turn in turns:
        words = count.expected(turn.key)
        if words is None:
            if not turn.is_whole:
                wrong.append((turn.key, "let in", turn.status, turn.words[-300:]))
        elif turn.status != 402 or turn.code != "KA-KEY-BUDGET" or words not in turn.words:
            wrong.append((turn.key, words, turn.status, turn.words[-300:]))
    assert wrong == []
    refused = sum(turn.code is not None for turn in turns)
    return refused, len(turns) - refused


def test_of_200_keys_at_three_replicas_those_over_their_budgets_are_refused_as_counted_apart(
    server: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(200)
    names = [f"k{number}" for number in range(KEYS)]
    over = set(chance.sample(names, OVER))
    budgets = {name: (LITTLE if name in over else PLENTY, chance.choice(["day", "month"])) for name in names}
    with fleet(tmp_path, server, KIRO_MAX_CONCURRENT_PER_ACCOUNT="10") as found:
        secrets = {
            name: found.create_key(name, "--budget", f"{most:g}/{period}")
            for name, (most, period) in budgets.items()
        }
        found.simulator.script(*(reply(chance.choice([0.4, 0.7, 1.1])) for _ in range(1000)))
        count = Count(found, budgets)
        refused = let_in = 0
        rounds = [names, *([*over, *chance.sample(names, 20)] for _ in range(3))]
        for number, of_round in enumerate(rounds):
            unique = list(dict.fromkeys(of_round))
            turns = asyncio.run(asked(found, secrets, unique, f"round{number}"))
            checked = check(turns, count)
            refused, let_in = refused + checked[0], let_in + checked[1]
            found.until_rows_of({turn.request_id or "" for turn in turns})
            count.look()
        assert {name for name in names if count.expected(name)} == over
        checked = check(asyncio.run(asked_everywhere(found, secrets, over)), count)
        assert checked == (OVER * 9, 0)
        listed = {key["name"]: key["credits"]["month"] for key in found.home.json("keys", "list")["keys"]}
        assert listed == pytest.approx({name: count.spent[name] for name in names})
    figures: dict[str, Any] = {"keys": KEYS, "over": len(over), "refused": refused + checked[0]}
    note(capsys, "budgets of 200 keys at three replicas", figures | {"let in": let_in, "wrong": 0})


async def at_once(found: Fleet, secret: str, count: int) -> list[Ended]:
    async with Client(found.url) as client:
        return await asyncio.gather(
            *(client.turn("ann", secret, APIS[n % 3], f"ann-at-once-{n}") for n in range(count))
        )


def test_the_concurrency_of_a_key_is_exact_over_three_replicas(server: Cluster, tmp_path: Path) -> None:
    allowed, asked_for = 7, 30
    with fleet(tmp_path, server, KIRO_MAX_CONCURRENT_PER_ACCOUNT="10") as found:
        secret = found.create_key("ann", "--concurrency", str(allowed))
        found.simulator.script(*(reply(0.1, 10) for _ in range(asked_for)))
        turns = asyncio.run(at_once(found, secret, asked_for))

    assert sum(turn.is_whole for turn in turns) == allowed
    refused = [(turn.status, turn.code) for turn in turns if not turn.is_whole]
    assert refused == [(429, "KA-KEY-CONCURRENCY")] * (asked_for - allowed)
