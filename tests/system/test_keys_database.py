"""Client keys in a real PostgreSQL, at gateways that share it; and budgets of many keys on either store."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kiro_auth.keys.changes import Changes, Limits
from kiro_auth.keys.files import FileKeys
from kiro_auth.keys.key import Budget
from kiro_auth.keys.postgres import DatabaseKeys
from kiro_auth.keys.protocol import KeyStore
from kiro_auth.store.postgres import PostgresStore
from support.postgres import KEY as STORE_KEY
from support.postgres import Cluster
from support.programs import KEY, Home, Simulator
from system.test_client_keys import Connection

SHARED = ("KIRO_GATEWAY_KEY", "KIRO_STORE", "KIRO_STORE_KEY")


def in_database(home: Home, postgres: Cluster) -> None:
    home.environment |= {
        "KIRO_GATEWAY_KEY": KEY,
        "KIRO_STORE": postgres.new_database(f"d{os.urandom(6).hex()}"),
        "KIRO_STORE_KEY": base64.b64encode(STORE_KEY).decode(),
    }


@pytest.fixture
def home(tmp_path: Path, postgres: Cluster) -> Home:
    """A home whose store is an empty database."""
    home = Home(tmp_path / "here")
    in_database(home, postgres)
    return home


@pytest.fixture
def simulator(home: Home) -> Iterator[Simulator]:
    """With two people's accounts."""
    with home.simulator("--auto-approve") as simulator:
        home.run("store", "migrate")
        for _ in range(2):
            home.run("login", "--builder-id", "--no-browser")
        yield simulator


@contextlib.contextmanager
def gateway(home: Home) -> Iterator[str]:
    with home.gateway() as url:
        yield url


def another(home: Home) -> Home:
    """The home of another machine, with the same database."""
    other = Home(home.folder.parent / "there")
    names = [*SHARED, *(name for name in home.environment if "ENDPOINT" in name)]
    other.environment |= {name: home.environment[name] for name in names}
    return other


def owned(home: Home) -> list[str]:
    return [account["name"] for account in home.json("accounts")["accounts"]]


def until(holds: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.usefixtures("one_day")
def test_every_replica_takes_a_new_key_at_once_and_refuses_a_revoked_one_within_a_second(
    home: Home, simulator: Simulator
) -> None:
    """Answers under way and what was spent count on both as well."""
    there = another(home)
    first, _ = owned(home)
    with gateway(home) as here_url, gateway(there) as there_url:
        made = there.json(
            "keys", "create", "ann", "--accounts", first, "--concurrency", "1", "--budget", "5/month"
        )
        with (
            closing(Connection(here_url, made["key"])) as here,
            closing(Connection(there_url, made["key"])) as other,
        ):
            simulator.script(spending(0.75), {"steps": [{"text": "Hello"}, {"pause": 20}]})
            assert here.turn()[0] == 200
            stream = Connection(here_url, made["key"])
            assert stream.begin().status == 200
            status, said = other.turn()
            assert (status, "KA-KEY-CONCURRENCY" in said["error"]["message"]) == (429, True)
            _, me = other.ask("GET", "/kiro/me")
            assert me["concurrency"] == {"limit": 1, "running": 1}
            assert (me["budget"]["spent"], me["budget"]["left"]) == (0.75, 4.25)
            in_the_ledger = {"turns": 2, "credits": 0.75, "failed": 1}
            until(lambda: other.ask("GET", "/kiro/me")[1]["usage"]["month"] == in_the_ledger, 30)
            assert [account["name"] for account in me["accounts"]] == [first]
            stream.close()
            until(lambda: other.turn()[0] == 200, 30)

            home.run("keys", "revoke", "ann")
            for held in (here, other):
                until(lambda held=held: held.turn()[0] == 401, 20)  # a second, and what a busy machine adds

                status, said = held.turn()
                assert (status, "KA-KEY-REVOKED" in said["error"]["message"]) == (401, True)


def test_who_asks_one_replica_after_the_other_has_never_two_answers_under_way(
    home: Home, simulator: Simulator
) -> None:
    there = another(home)
    made = there.json("keys", "create", "ann", "--accounts", owned(home)[0], "--concurrency", "1")
    with (
        gateway(home) as here_url,
        gateway(there) as there_url,
        closing(Connection(here_url, made["key"])) as here,
        closing(Connection(there_url, made["key"])) as other,
    ):
        turns = [connection.turn() for _ in range(20) for connection in (here, other)]
        assert [status for status, _ in turns] == [200] * len(turns)


@pytest.mark.clients
def test_readings_of_the_ledger_that_take_long_hold_up_nothing_else(home: Home, simulator: Simulator) -> None:
    made = home.json("keys", "create", "ann", "--accounts", owned(home)[0])

    def ask(path: str, key: str) -> int:
        with closing(Connection(url, key)) as connection:
            return int(connection.ask("GET", path)[0])

    with gateway(home) as url, ThreadPoolExecutor(40) as pool:
        with psycopg.connect(home.environment["KIRO_STORE"]) as other:
            other.execute("LOCK TABLE kiro_auth.ledger IN ACCESS EXCLUSIVE MODE")
            views = [pool.submit(ask, "/kiro/me", made["key"]) for _ in range(40)]
            until(lambda: other.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone(), 30)
            for _ in range(3):
                until(lambda: ask("/ready", KEY) == 200, 30)  # on a busy machine one look may take too long
                time.sleep(1)  # for as long what the store said counts
        assert {view.result() for view in views} == {200}


def spending(credits_: float) -> Any:
    metered = {"name": "meteringEvent", "payload": {"usage": credits_, "unit": "credit"}}
    return {"steps": [{"text": "Hello"}, {"event": metered}, {"tail": {"withMetering": False}}]}


def test_a_key_to_everybody_s_accounts_is_made_only_where_the_configuration_says_so(
    home: Home, simulator: Simulator
) -> None:
    refused = home.run("keys", "create", "ann", check=False)
    assert refused.returncode == 1
    assert "several people's" in refused.stderr
    assert "--accounts NAME" in refused.stderr
    assert "share_accounts" in refused.stderr
    assert home.json("keys", "list")["keys"] == []
    first, second = owned(home)
    home.run("keys", "create", "ann", "--accounts", first)
    assert (
        "The key ann is for one" in home.run("keys", "create", "b", "--accounts", first, check=False).stderr
    )
    home.run("keys", "create", "bob", "--accounts", second)
    home.config.mkdir(parents=True, exist_ok=True)
    (home.config / "kiro.json").write_text('{"share_accounts": true}')
    home.run("keys", "create", "all")
    assert [key["accounts"] is None for key in home.json("keys", "list")["keys"]] == [False, False, True]


@pytest.mark.clients
def test_of_commands_on_two_machines_that_make_one_name_one_wins_and_the_audit_names_the_machine(
    home: Home, simulator: Simulator
) -> None:
    first, second = owned(home)
    with ThreadPoolExecutor(2) as pool:
        done = list(
            pool.map(
                lambda each: each[0].process("keys", "create", "ann", "--accounts", each[1], check=False),
                [(home, first), (another(home), second)],
            )
        )
    assert sorted(each.returncode for each in done) == [0, 1]
    assert "There is a key ann already" in next(each.stderr for each in done if each.returncode)
    audit = home.json("keys", "list", "--audit")["audit"]
    assert [(row["what"], row["name"], " at " in row["who"]) for row in audit] == [("create", "ann", True)]


def test_keys_go_from_files_to_the_database_and_back_and_work_there(
    tmp_path: Path, postgres: Cluster
) -> None:
    home = Home(tmp_path / "here")
    with home.simulator("--auto-approve"):
        home.run("login", "--builder-id", "--no-browser")
        old = home.json("keys", "create", "ann")
        in_database(home, postgres)
        home.run("store", "migrate")
        copied = home.json("store", "copy", "--from", "files")
        assert (copied["keys"], len(copied["added"])) == (1, 1)
        assert home.json("store", "copy", "--from", "files")["keys"] == 0
        with gateway(home) as url, closing(Connection(url, old["key"])) as ann:
            assert ann.turn()[0] == 200
        [kept] = home.json("keys", "list")["keys"]
        assert kept["accounts"] == copied["added"]  # those of the files' owner, no longer everybody's
        home.run("keys", "create", "bob", "--accounts", "1", check=False)
        (home.config / "client-keys.json").unlink()
        back = home.run("store", "copy", "--to", "files").stdout
        assert "1 client key" in back
        del home.environment["KIRO_STORE"]
        assert [key["id"] for key in home.json("keys", "list")["keys"]] == [old["id"]]


@pytest.mark.clients
@pytest.mark.usefixtures("one_day")
@pytest.mark.parametrize("where", ["files", "database"])
def test_of_200_keys_those_over_their_budgets_are_refused_as_an_independent_count_says(
    tmp_path: Path, postgres: Cluster, where: str
) -> None:
    """Also by a gateway that begins in the middle, after the one before has ended.

    What the simulator metered, answer by answer, is the independent count.
    """
    home = Home(tmp_path)
    if where == "database":
        in_database(home, postgres)
    with home.simulator("--auto-approve") as simulator:
        if where == "database":
            home.run("store", "migrate")
        home.run("login", "--builder-id", "--no-browser")
        spend_over_budgets(home, simulator)


def spend_over_budgets(home: Home, simulator: Simulator) -> None:
    chance = random.Random(19)
    spenders = set(chance.sample(range(200), 20))
    budgets = {n: Budget(1.0 if n in spenders else 50.0, chance.choice(["day", "month"])) for n in range(200)}  # type: ignore[arg-type]
    with keys_of(home) as store:
        changes = Changes(store, "tester", time.time())
        keys = {n: changes.create(f"k{n}", Limits(budget=budgets[n])).secret for n in range(200)}
    order = [*range(200), *(n for n in spenders for _ in range(3))]
    chance.shuffle(order)
    costs = [chance.choice([0.4, 0.7, 1.1]) for _ in order]
    simulator.script(*map(spending, costs))
    metered: defaultdict[int, float] = defaultdict(float)
    seen, expected, answered = [], [], iter(costs)
    for half in (order[: len(order) // 2], order[len(order) // 2 :]):
        with gateway(home) as url:
            for n in half:
                calls = len(simulator.calls())
                with closing(Connection(url, keys[n])) as held:
                    status, said = held.turn()
                expected.append((n, 200 if round(metered[n], 6) < budgets[n].credits else 402))
                seen.append((n, status))
                if len(simulator.calls()) > calls:
                    metered[n] += next(answered)
                if status != 200:
                    message = said["error"]["message"]
                    assert f"The budget of the key k{n}, 1 credits a {budgets[n].period}" in message
                    assert "KA-KEY-BUDGET" in message

    assert seen == expected
    assert {n for n in range(200) if metered[n] >= budgets[n].credits} == spenders
    assert {n for n, status in seen if status == 402} <= spenders
    assert sum(status == 402 for _, status in seen) >= 20
    listed = {key["name"]: key["credits"]["month"] for key in home.json("keys", "list")["keys"]}
    assert listed == {f"k{n}": pytest.approx(metered[n]) for n in range(200)}


@contextlib.contextmanager
def keys_of(home: Home) -> Iterator[KeyStore]:
    if "KIRO_STORE" not in home.environment:
        yield FileKeys(home.config, home.state)
        return
    store = PostgresStore(home.environment["KIRO_STORE"], [STORE_KEY], home.folder / "locks")
    try:
        yield DatabaseKeys(store)
    finally:
        store.close()
