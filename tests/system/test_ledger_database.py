"""Gateways that share their ledger in a real PostgreSQL: kills, budgets, what commands and pages say."""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import random
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from support.postgres import KEY as STORE_KEY
from support.postgres import Cluster
from support.programs import KEY, Home, Simulator
from support.promptly import assert_in_time
from support.virtual import APIS, body_for
from system.test_budgets import expensive, write_options
from system.test_refresh_processes import gateway

SHARED = ("KIRO_GATEWAY_KEY", "KIRO_STORE", "KIRO_STORE_KEY")
CLIENTS = 6


@pytest.fixture
def home(tmp_path: Path, postgres: Cluster) -> Home:
    """A home whose accounts and ledger are in an empty database."""
    home = Home(tmp_path / "here")
    home.environment |= {
        "TZ": "UTC",
        "KIRO_GATEWAY_KEY": KEY,
        "KIRO_STORE": postgres.new_database(f"d{random.getrandbits(48):x}"),
        "KIRO_STORE_KEY": base64.b64encode(STORE_KEY).decode(),
    }
    return home


@pytest.fixture
def simulator(home: Home) -> Iterator[Simulator]:
    with home.simulator("--auto-approve") as simulator:
        home.run("store", "migrate")
        home.run("login", "--builder-id", "--no-browser")
        yield simulator


def another(home: Home, folder: Path) -> Home:
    """The home of another machine, with the same database."""
    other = Home(folder)
    names = [*SHARED, *(name for name in home.environment if "ENDPOINT" in name)]
    other.environment |= {name: home.environment[name] for name in names} | {"TZ": "Asia/Tokyo"}
    return other


def ask(url: str, path: str = APIS[0], *, stream: bool = False, **headers: str) -> tuple[int, str, str]:
    """Status, request id and text of an answer that came whole."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(
        url + path,
        json.dumps(body_for(path, "Hi", stream=stream)).encode(),
        {"x-api-key": KEY, "content-type": "application/json", **named},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["x-request-id"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-request-id"], error.read().decode()


def rows_of(server: Cluster, home: Home, what: str = "request_id") -> list[Any]:
    name = home.environment["KIRO_STORE"].rpartition("/")[2]
    return [row[0] for row in server.execute(f"SELECT {what} FROM kiro_auth.ledger", name)]


def sums_of(server: Cluster, home: Home) -> list[Any]:
    """What budgets go by: scope, name, day and credits."""
    name = home.environment["KIRO_STORE"].rpartition("/")[2]
    return sorted(server.execute("SELECT scope, name, day, credits FROM kiro_auth.sums", name))


def until_there(server: Cluster, home: Home, count: int) -> None:
    end = time.monotonic() + 60
    while len(rows_of(server, home)) < count:
        assert time.monotonic() < end
        time.sleep(0.02)


class Clients:
    """Some that ask again and again, whole answers and streams; `ended` are turns whose end they saw."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.broken = 0
        self.url = ""
        self._stop = threading.Event()

    @contextlib.contextmanager
    def asking(self, url: str) -> Iterator[None]:
        self.url = url
        self._stop.clear()
        with ThreadPoolExecutor(CLIENTS) as pool:
            for number in range(CLIENTS):
                pool.submit(self._ask, number)
            try:
                yield
            finally:
                self._stop.set()

    def _ask(self, number: int) -> None:
        while not self._stop.is_set():
            stream, path = number % 3 != 0, APIS[number % 2]
            try:
                status, request_id, text = ask(self.url, path, stream=stream)
            except (OSError, urllib.error.URLError, ValueError, EOFError):
                self.broken += 1
                return  # the gateway is gone
            except Exception:  # http.client: the answer broke off
                self.broken += 1
                return
            if status == 200 and (not stream or "message_stop" in text or "[DONE]" in text):
                self.ended.append(request_id)


@pytest.mark.timeout(300)
@pytest.mark.clients
@pytest.mark.parametrize("kills", [20])
def test_of_gateways_that_are_killed_under_load_each_turn_that_a_client_saw_end_is_there_once(
    home: Home, simulator: Simulator, postgres: Cluster, kills: int
) -> None:
    clients, chance = Clients(), random.Random(kills)
    for _ in range(kills):
        with home.started("serve", "--port", "0") as process:
            assert process.stdout is not None
            url = process.stdout.readline().split()[2].rstrip(";")
            with clients.asking(url):
                enough, end = len(clients.ended) + chance.randrange(10, 40), time.monotonic() + 60
                while len(clients.ended) < enough and time.monotonic() < end:
                    time.sleep(chance.uniform(0.001, 0.02))
                process.kill()
                process.wait()
    with gateway(home) as url:  # the next start on this state folder
        assert ask(url)[0] == 200
        until_there(postgres, home, len(clients.ended) + 1)
        time.sleep(0.5)
    rows = rows_of(postgres, home)

    assert len(clients.ended) >= 10 * kills
    assert set(clients.ended) - set(rows) == set(), "a turn was lost"
    assert len(rows) == len(set(rows))
    unseen = len(rows) - 1 - len(clients.ended)
    assert unseen <= clients.broken <= CLIENTS * kills, "beyond those that the kill broke off, nothing"
    spent = sum(Decimal(repr(credits_)) for credits_ in rows_of(postgres, home, "credits") if credits_)
    name = home.environment["KIRO_STORE"].rpartition("/")[2]
    sums = postgres.execute("SELECT scope, sum(credits) FROM kiro_auth.sums GROUP BY scope", name)
    assert {scope: total for scope, total in sums if scope in ("day", "key")} == dict.fromkeys(
        ("day", "key"), spent
    )
    assert not list((home.state / "ledger-spool").iterdir())


@pytest.mark.usefixtures("one_day")
@pytest.mark.timeout(120)
def test_a_budget_that_one_gateway_used_up_refuses_at_once_at_another_in_every_zone(
    home: Home, simulator: Simulator, postgres: Cluster, tmp_path: Path
) -> None:
    other = another(home, tmp_path / "there")
    for each in (home, other):
        write_options(each, budgets={"day": 1})
    with gateway(home) as here, gateway(other) as there:
        expensive(simulator, 0.85, 0.2)
        assert ask(here, stream=True)[0] == 200
        assert ask(there)[0] == 200
        until_there(postgres, home, 2)  # it is sent within milliseconds; the machine may be busy
        calls = len(simulator.calls())
        for number in range(6):
            status, _, text = ask((here, there)[number % 2], APIS[number % 3], stream=number > 2)
            assert (status, "KA-BUDGET" in text, "1.05 were spent" in text) == (402, True, True), text
        assert len(simulator.calls()) == calls

        with postgres.stopped():
            waits = []
            for _ in range(3):
                began = time.monotonic()
                status, _, text = ask(there)
                waits.append(time.monotonic() - began)
                assert (status != 200, "KA-DATABASE" in text) == (True, True)
            assert_in_time(waits, 2)
        end = time.monotonic() + 30
        while "KA-BUDGET" not in ask(there)[2]:
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.usefixtures("one_day")
@pytest.mark.clients
@pytest.mark.timeout(120)
def test_commands_and_the_dashboard_read_the_turns_of_all_gateways(
    home: Home, simulator: Simulator, postgres: Cluster, tmp_path: Path
) -> None:
    other = another(home, tmp_path / "there")
    with gateway(home) as here, gateway(other) as there:
        expensive(simulator, 0.5, 0.25, 0.125)
        ask(here, x_kiro_project="shop")
        ask(there, x_kiro_project="shop", stream=True)
        ask(there, x_kiro_project="blog", user_agent="codex/1")
        until_there(postgres, home, 3)

        for each in (home, other):
            printed = each.json("usage", "--by", "project")
            assert {row["key"]: row["credits"] for row in printed["rows"]} == {"shop": 0.75, "blog": 0.125}
        lines = list(csv.reader(home.run("usage", "--by", "client", "--csv").stdout.splitlines()))
        assert ["codex", "1", "0.125"] in [line[:3] for line in lines]
        assert home.json("usage", "--since", "2030-01-01")["rows"] == []
        assert home.json("usage", "--diet")["turns"] == 3
        assert re.search(r"\b0\.88\b", dashboard(there)), "the sum of all three"
    assert not (home.state / "ledger.sqlite3").exists()
    assert home.run("usage", "--forget", "--yes").stdout == "The ledger is empty: 3 turns were forgotten.\n"
    assert rows_of(postgres, home) == []


def dashboard(url: str) -> str:
    """The page that a browser gets, by a link that is good once."""
    new = urllib.request.Request(url + "/kiro/dashboard", b"", {"x-api-key": KEY}, method="POST")
    with urllib.request.urlopen(new, timeout=30) as answer:
        link = url + json.load(answer)["path"]
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    opener.open(link, timeout=30).read()
    page = opener.open(urllib.request.Request(url + "/", headers={"accept": "text/html"}), timeout=30)
    return str(page.read().decode())


def test_the_ledger_of_a_user_goes_into_the_database_and_back(
    home: Home, simulator: Simulator, postgres: Cluster
) -> None:
    with gateway(home) as url:
        ids = [ask(url, path)[1] for path in APIS]
        until_there(postgres, home, 3)
    for count in (3, 0):
        assert home.json("store", "copy", "--to", "files")["turns"] == count
    counted = sums_of(postgres, home)
    assert home.run("usage", "--forget", "--yes").returncode == 0
    for count in (3, 0):
        assert home.json("store", "copy", "--from", "files")["turns"] == count
    assert sorted(rows_of(postgres, home)) == sorted(ids)
    assert counted != []
    assert sums_of(postgres, home) == counted, "no budget counts a turn again that was forgotten and copied"
    in_database = home.json("usage", "--by", "day")
    store = home.environment.pop("KIRO_STORE")
    assert home.json("usage", "--by", "day") == in_database
    home.environment["KIRO_STORE"] = store
