"""Three gateways on one PostgreSQL behind nginx under load: what is shared is exact, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support.crowd import Client, Ended, reply
from support.fleet import Fleet, fleet, note
from support.postgres import Cluster, cluster

pytestmark = [
    pytest.mark.clients,
    pytest.mark.outside,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("one_day"),
]

ACCOUNTS, SLOTS = 4, 3
TOKEN_SECONDS, MARGIN_SECONDS = 42, 30
"""A token lasts so long, and is renewed so long before its end: so it serves for twelve seconds."""
LOAD_SECONDS: Final = 36.0
KILLED_AT, BACK_AT = 8.0, 12.0
PEOPLE, CHATS = 6, 4
BUDGETS: Final = {"poor0": 2.0, "poor1": 3.0}
"""Of those who have little, with one chat each."""
SEEN_SECONDS: Final = 15.0
"""After so long every replica knows what a turn used, also on a busy machine: its row comes at once, in a
transaction of its own.  A replica that never heard of it would let turns in until the end."""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as server:
        yield server


def sessions(name: str, turns_each: int = 1) -> Iterator[str]:
    for number in itertools.count():
        yield f"{name}-{number // turns_each}"


async def under_load(found: Fleet, keys: dict[str, str], goes_on: Callable[[], bool]) -> list[Ended]:
    """All chats of all people through the balancer, until it is over and each last turn has ended."""
    async with Client(found.url) as client:
        chats = [
            client.turns(name, secret, sessions(f"{name}-{chat}"), goes_on, first=chat)
            for name, secret in keys.items()
            for chat in range(1 if name in BUDGETS else CHATS)
        ]
        done = await asyncio.gather(*chats)
    return [turn for turns in done for turn in turns]


async def with_a_kill(found: Fleet, keys: dict[str, str]) -> list[Ended]:
    """The load; one replica is killed in its middle, and comes back on its state folder."""
    begun = time.monotonic()
    load = asyncio.create_task(under_load(found, keys, lambda: time.monotonic() - begun < LOAD_SECONDS))
    victim = found.replicas[0]
    await asyncio.sleep(KILLED_AT)
    await asyncio.to_thread(victim.kill)
    await asyncio.sleep(BACK_AT - KILLED_AT)
    victim.begin()
    await asyncio.to_thread(victim.until_ready)
    return await load


class Books:
    """What the simulated service wrote down itself, by the sessions that clients named in their words."""

    def __init__(self, found: Fleet) -> None:
        said = {
            call["body"]["conversationState"]["conversationId"]: _session(call["body"])
            for call in found.simulator.calls()
        }
        self.by_session: defaultdict[str, float] = defaultdict(float)
        for line in found.simulator.ask("books")["books"]:
            self.by_session[said[line["conversation"]]] += line["credits"]

    def of(self, keys: dict[str, Any], without: set[str]) -> dict[str, float]:
        """Credits by key, without those sessions."""
        spent = dict.fromkeys(keys, 0.0)
        for session, credits_ in self.by_session.items():
            if session not in without:
                spent[session.partition("-")[0]] += credits_
        return spent


def _session(body: Any) -> str:
    content = body["conversationState"]["currentMessage"]["userInputMessage"]["content"]
    found = re.search(r"fleet (\S+)", content)
    assert found
    return found[1]


def renewals(found: Fleet) -> dict[str, list[float]]:
    """When each member's token was renewed."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for call in found.simulator.calls("CreateToken"):
        if call["body"].get("grantType") == "refresh_token":
            assert call["status"] == 200
            times[call["user"]].append(call["time"])
    return times


def test_under_load_with_a_replica_killed_all_that_is_shared_is_exact_and_no_row_is_lost(
    server: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(19)
    shared = {
        "KIRO_MAX_CONCURRENT_PER_ACCOUNT": str(SLOTS),
        "KIRO_TOKEN_EXPIRY_BUFFER_MS": str(MARGIN_SECONDS * 1000),
    }
    settings = {"tokenSeconds": TOKEN_SECONDS}
    with fleet(tmp_path, server, accounts=ACCOUNTS, settings=settings, **shared) as found:
        keys = {f"rich{n}": found.create_key(f"rich{n}") for n in range(PEOPLE)}
        keys |= {name: found.create_key(name, "--budget", f"{most:g}/day") for name, most in BUDGETS.items()}
        found.simulator.script(
            *(
                reply(round(chance.uniform(0.2, 0.8), 2), *(chance.uniform(0.05, 0.25) for _ in range(3)))
                for _ in range(6000)
            )
        )
        turns = asyncio.run(with_a_kill(found, keys))
        whole = [turn for turn in turns if turn.is_whole]
        figures: dict[str, Any] = {"turns": len(turns), "whole": len(whole)}

        figures |= check_slots(found)
        figures |= check_renewals(found)
        figures |= check_clients(turns, whole)
        found.until_rows_of({turn.request_id or "" for turn in whole})
        figures |= check_ledger(found, keys, turns, whole)
        figures |= check_budgets(found, turns)
        note(capsys, "three replicas under load, one killed", figures)


def check_slots(found: Fleet) -> dict[str, Any]:
    """No account ever served more than its slots, and each did serve so many."""
    loads = found.simulator.ask("loads")["loads"]
    most = {email: load["most"] for email, load in loads.items() if email.startswith("member")}

    assert most == {f"member{n}@example.com": SLOTS for n in range(ACCOUNTS)}
    return {"most at a time per account": SLOTS}


def check_renewals(found: Fleet) -> dict[str, Any]:
    """Tokens were renewed several times, and none while the one before was to serve still.

    One whose renewal the kill has hit keeps its token until the killed replica is back.
    """
    times = renewals(found)
    gaps = [after - before for of_one in times.values() for before, after in itertools.pairwise(of_one)]

    assert len(times) == ACCOUNTS
    assert min(gaps) > TOKEN_SECONDS - MARGIN_SECONDS - 1
    assert sum(map(len, times.values())) >= 2 * ACCOUNTS
    return {"renewals": sum(map(len, times.values())), "shortest gap s": round(min(gaps), 1)}


def check_clients(turns: list[Ended], whole: list[Ended]) -> dict[str, Any]:
    """Besides refusals of a budget only the killed replica's clients met anything: a broken connection."""
    refused = [turn for turn in turns if turn.code == "KA-KEY-BUDGET"]
    broken = [turn for turn in turns if turn.broke or turn.status == 502]
    others = [turn for turn in turns if turn not in whole and turn not in refused and turn not in broken]

    assert [(turn.status, turn.words[-300:]) for turn in others] == []
    assert len(broken) <= ACCOUNTS * SLOTS + PEOPLE * CHATS
    return {"refused": len(refused), "broken by the kill": len(broken)}


def check_ledger(
    found: Fleet, keys: dict[str, str], turns: list[Ended], whole: list[Ended]
) -> dict[str, Any]:
    """A row for each turn that ended, and one only; credits as in the service's own books, by key and day."""
    rows = found.rows("SELECT request_id, session, credits, outcome, caller, ended FROM kiro_auth.ledger")
    names = {key["id"]: key["name"] for key in found.home.json("keys", "list")["keys"]}
    answered = {row[0]: row for row in rows if row[3] == "answered"}
    broken = {turn.session for turn in turns if turn.broke or turn.status == 502}
    books = Books(found)

    assert len({row[0] for row in rows}) == len(rows)
    assert {turn.request_id for turn in whole} <= answered.keys()
    by_session: Counter[str] = Counter()
    for _, session, credits_, *_ in answered.values():
        by_session[session] += credits_
    assert {s: round(c, 6) for s, c in by_session.items() if s not in broken} == {
        s: round(c, 6) for s, c in books.by_session.items() if s not in broken
    }
    by_key = dict.fromkeys(keys, 0.0)
    for row in answered.values():
        if row[1] not in broken:
            by_key[names[row[4]]] += row[2]
    assert by_key == pytest.approx(books.of(keys, broken))
    check_sums(found, rows)
    return {
        "rows": len(rows),
        "credits": round(sum(by_key.values()), 2),
        "charged for broken turns, without a row": round(
            sum(books.by_session.values()) - sum(row[2] or 0 for row in rows), 2
        ),
    }


def check_sums(found: Fleet, rows: list[tuple[Any, ...]]) -> None:
    """What budgets go by is, for each key and day, the sum of the ledger's rows."""
    counted: defaultdict[tuple[str, str], float] = defaultdict(float)
    for _, _, credits_, _, caller, ended in rows:
        if credits_:
            counted[caller, time.strftime("%Y-%m-%d", time.gmtime(ended))] += credits_
    sums = found.rows("SELECT name, day, credits FROM kiro_auth.sums WHERE scope = 'key'")

    assert {(name, day): float(credits_) for name, day, credits_ in sums} == pytest.approx(dict(counted))


def check_budgets(found: Fleet, turns: list[Ended]) -> dict[str, Any]:
    """Nobody is refused before the budget is spent, and everybody after the turn that went over."""
    books, over = Books(found), {}
    for name, most in BUDGETS.items():
        own = sorted((turn for turn in turns if turn.key == name), key=lambda turn: turn.began)
        spent, crossed = 0.0, None
        for turn in own:
            if turn.code == "KA-KEY-BUDGET":
                assert turn.status == 402
                assert spent >= most - 1e-6
                assert f"The budget of the key {name}, {most:g} credits a day, is used up" in turn.words
            elif turn.is_whole:
                assert crossed is None or turn.began < crossed + SEEN_SECONDS
            if turn.code != "KA-KEY-BUDGET":
                spent += books.by_session.get(turn.session, 0.0)
                crossed = crossed or (turn.ended if spent >= most else None)
        assert crossed is not None
        assert own[-1].code == "KA-KEY-BUDGET"
        over[name] = round(spent - most, 2)
    return {"over the budget by": over}


async def one_conversation(client: Client, found: Fleet, name: str, secret: str, turns: int) -> list[Ended]:
    """Its turns go to one replica after the other."""
    urls = itertools.cycle([replica.url for replica in found.replicas])
    return [
        await client.turn(name, secret, "/v1/messages", f"{name}-talk", url=next(urls)) for _ in range(turns)
    ]


async def conversations(found: Fleet, secret: str) -> list[list[Ended]]:
    async with Client(found.url) as client:
        return await asyncio.gather(
            *(one_conversation(client, found, f"talk{n}", secret, 9) for n in range(ACCOUNTS * SLOTS // 2))
        )


def test_a_conversation_keeps_its_account_whichever_replica_it_comes_to(
    server: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = {"KIRO_MAX_CONCURRENT_PER_ACCOUNT": "12"}
    with fleet(tmp_path, server, accounts=ACCOUNTS, **shared) as found:
        found.simulator.script(*(reply(0.1, 0.05) for _ in range(200)))
        talks = asyncio.run(conversations(found, found.create_key("talker")))
    used = {turn.account for talk in talks for turn in talk}
    assert all(turn.is_whole for talk in talks for turn in talk)
    assert len(used) == ACCOUNTS, "one account for all would keep it too"
    assert [len({turn.account for turn in talk}) for talk in talks] == [1] * len(talks)
    note(
        capsys,
        "conversations over three replicas",
        {"conversations": len(talks), "turns each": len(talks[0]), "accounts used": len(used), "moved": 0},
    )


CHATS_OF_AN_UPGRADE: Final = 18


async def upgraded(found: Fleet, secret: str) -> tuple[list[Ended], list[float]]:
    """Each replica in turn ends by SIGTERM, and a new one takes its place; chats go on all the while."""
    over = asyncio.Event()
    async with Client(found.url) as client:
        chats = [
            asyncio.create_task(
                client.turns("team", secret, sessions(f"team-{n}"), lambda: not over.is_set(), first=n)
            )
            for n in range(CHATS_OF_AN_UPGRADE)
        ]
        took = []
        try:
            await asyncio.sleep(2)
            for replica in found.replicas:
                began = time.monotonic()
                await asyncio.to_thread(replica.drain)
                took.append(time.monotonic() - began)
                replica.begin()
                await asyncio.to_thread(replica.until_ready)
                await asyncio.sleep(2)
        finally:
            over.set()
        done = await asyncio.gather(*chats)
    return [turn for turns in done for turn in turns], took


@contextlib.contextmanager
def asking_for_ready(found: Fleet) -> Iterator[None]:
    """The balancer sends requests to replicas alone that say at /ready that they are."""
    over = threading.Event()
    asking = threading.Thread(target=found.balancer.follow, args=[over])
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()


@pytest.mark.parametrize("asks", [True, False], ids=["a balancer that asks", "one that only sees refusals"])
def test_no_stream_is_cut_in_a_rolling_upgrade(
    asks: bool, server: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the balancer asks for /ready, no request fails either; else one of each chat may."""
    options = {"KIRO_MAX_CONCURRENT_PER_ACCOUNT": "8", "KIRO_DRAIN_SECONDS": "6" if asks else "0"}
    with fleet(tmp_path, server, **options) as found:
        secret = found.create_key("team")
        found.simulator.script(*(reply(0.1, 2, 2, 1) for _ in range(2000)))
        with asking_for_ready(found) if asks else contextlib.nullcontext():
            turns, took = asyncio.run(upgraded(found, secret))
        whole = [turn for turn in turns if turn.is_whole]
        failed = [turn for turn in turns if not turn.is_whole]
        assert [(t.status, t.broke, t.words[-300:]) for t in failed if t.status != 502] == []
        assert len(failed) <= (0 if asks else CHATS_OF_AN_UPGRADE)
        found.until_rows_of({turn.request_id or "" for turn in whole})
        rows = found.rows("SELECT count(*) FROM kiro_auth.ledger WHERE outcome = 'answered'")
    assert rows == [(len(whole),)]
    title = f"a rolling upgrade of three replicas, {'by /ready' if asks else 'by refused connections'}"
    drains = [round(seconds, 1) for seconds in took]
    note(capsys, title, {"turns": len(turns), "cut": 0, "failed": len(failed), "seconds of each end": drains})
