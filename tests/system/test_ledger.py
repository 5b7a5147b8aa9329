"""The ledger of the real gateway: a month equal to the service's own books, kills, a full disk."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
import urllib.request
from calendar import monthrange
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from kiro_auth.ledger.local import FILE, LocalLedger
from kiro_auth.ledger.reading import recent
from support.programs import KEY, KIRO_AUTH, Home, Simulator, as_usual
from support.promptly import assert_in_time
from support.virtual import APIS, VirtualTime, body_for

HOUR, DAY = 3600.0, 86400.0
Sums = dict[str, dict[str, float]]
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (40960, resource.RLIM_INFINITY))
os.execv(sys.argv[1], sys.argv[1:])
"""


def next_month() -> list[datetime]:
    """Its days.  A registration for sign-ins lasts 90 days, so no later one."""
    now = datetime.now(UTC)
    year, month = now.year + now.month // 12, now.month % 12 + 1
    return [datetime(year, month, day + 1, tzinfo=UTC) for day in range(monthrange(year, month)[1])]


def spent_by(books: list[dict[str, Any]], asked: list[tuple[str, str]], names: dict[str, str]) -> Sums:
    """What the service charged, by each key.  Which project a reply was for is known by its place."""
    sums: Sums = {
        by: defaultdict(float) for by in ("day", "model", "project", "session", "client", "account")
    }
    for line, (project, session) in zip(books, asked, strict=True):
        keys = {
            "day": f"{datetime.fromtimestamp(line['time'], UTC):%Y-%m-%d}",
            "model": line["model"],
            "project": project,
            "session": session,
            "client": f"{session}-tool",
            "account": names[line["user"]],
        }
        for by, key in keys.items():
            sums[by][key] += line["credits"]
    return sums


def live(day: datetime, virtual: VirtualTime, chance: random.Random) -> list[tuple[str, str]]:
    """A day's work; the project and the session of each turn, in their order."""
    asked: list[tuple[str, str]] = []
    for project in ("shop", "blog", "café") * 2:
        session = f"s{len(asked)}-{day.day // 5}"
        path, model = chance.choice(APIS), chance.choice(("claude-sonnet-4-5", "claude-haiku-4-5"))
        words = "word " * chance.randrange(1, 3000)
        status, _, text = virtual.ask(
            path,
            body_for(path, words, model, stream=chance.random() < 0.5),
            x_kiro_project=quote(project),
            x_session_id=session,
            user_agent=f"{session}-tool/1",
        )
        assert status == 200, text
        asked.append((project, session))
        virtual.advance(chance.uniform(HOUR, 3 * HOUR))
    return asked


def until_written(home: Home, turns: int) -> None:
    """Wait until the ledger has so many turns."""
    ledger = LocalLedger(home.state / FILE)
    while len(list(recent(ledger, 100_000))) < turns:
        time.sleep(0.1)


@pytest.mark.clients
@pytest.mark.early
@pytest.mark.timeout(300)
def test_a_month_of_three_projects_on_two_accounts_is_what_the_service_has_in_its_books(
    home: Home, simulator: Simulator
) -> None:
    """With a gateway that is killed in the middle."""
    home.environment["TZ"] = "UTC"
    for _ in range(2):
        home.run("login", "--builder-id", "--no-browser")
    names = {
        stored["email"]: home.json("accounts", "show", stored["id"])["name"] for stored in home.accounts()
    }
    month, chance = next_month(), random.Random(18)
    asked: list[tuple[str, str]] = []
    with VirtualTime(home, simulator, month[0].timestamp() + 1) as virtual:
        for day in month:
            asked += live(day, virtual, chance)
            if day.day == 15:
                until_written(home, len(asked))  # the last second may be lost: another test
                virtual.kill()
                virtual.start()
            virtual.advance(day.timestamp() + DAY + 1 - virtual.now)
        virtual.end()

    books = simulator.ask("books")["books"]
    assert len(books) == len(asked) == 6 * len(month)
    sums, total = spent_by(books, asked, names), sum(line["credits"] for line in books)
    assert (len(sums["account"]), len(sums["day"])) == (2, len(month))
    within = ("--since", f"{month[0]:%Y-%m-%d}", "--until", f"{month[-1]:%Y-%m-%d}")
    for by, spent in sums.items():
        printed = home.json("usage", "--by", by, *within)
        assert {row["key"]: row["credits"] for row in printed["rows"]} == pytest.approx(
            dict(spent), abs=0.005
        )
        assert (printed["total"]["turns"], printed["total"]["failed"]) == (len(asked), 0)
        assert printed["total"]["credits"] == pytest.approx(total, abs=0.005)


@pytest.mark.timeout(120)
def test_a_disk_that_is_full_costs_no_turn_and_is_told_once(home: Home, simulator: Simulator) -> None:
    home.run("login", "--builder-id", "--no-browser")
    process = subprocess.Popen(
        as_usual(sys.executable, "-c", LIMITED, *KIRO_AUTH, "serve", "--port", "0"),
        env={**home.environment, "KIRO_GATEWAY_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(";")
        log = home.state / "gateway.log"
        count = 0
        while "cannot be written" not in log.read_text():
            assert ask(url, "/v1/messages", body_for("/v1/messages", "Hello"))[0] == 200
            count += 1
            time.sleep(0.05)
        assert ask(url, "/v1/messages", body_for("/v1/messages", "Hello"))[0] == 200
        notices = json.loads(ask(url, "/kiro/notices?after=0")[1])["notices"]
        assert len([notice for notice in notices if "ledger" in notice["message"]]) == 1

        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        while home.json("usage", "--by", "model")["total"]["turns"] < count + 1:
            time.sleep(0.2)
        process.terminate()
    assert log.read_text().count("cannot be written") == 1
    assert "is written again" in log.read_text()


def ask(url: str, path: str, body: object = None) -> tuple[int, str]:
    request = urllib.request.Request(
        url + path, data=None if body is None else json.dumps(body).encode(), headers={"x-api-key": KEY}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, answer.read().decode()


WRITING = """
import os, sys, time
from kiro_auth.ledger.sqlite import SqliteFile
from kiro_auth.ledger.writer import Writer
from pathlib import Path
from support.turns import turn_ended

def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # as a whole, as two threads tell

class File(SqliteFile):
    def add(self, rows):
        super().add(rows)
        tell("written", len(rows))

ledger = Writer(lambda: File(Path(sys.argv[1])))
for number in range(100_000):
    tell("ended", time.monotonic())
    ledger.on_turn_ended(turn_ended(when=time.time(), request_id=f"{sys.argv[2]}-{number}"))
    time.sleep(0.002)
"""


@pytest.mark.clients
@pytest.mark.early
@pytest.mark.timeout(300)
def test_a_ledger_whose_writer_is_killed_opens_and_lacks_the_last_second_at_most(tmp_path: Path) -> None:
    """What was written when the kill came is there; what was not is as a rule no older than a second."""
    chance, path, ages = random.Random(9), tmp_path / "ledger", list[float]()
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    for run in range(50):
        command = [sys.executable, "-c", WRITING, str(path), str(run)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        told = [process.stdout.readline().split()]
        time.sleep(chance.uniform(0.0, 2.4))
        killed = time.monotonic()
        process.kill()
        told += [line.split() for line in process.stdout.read().splitlines()]
        process.communicate()
        ended = [float(figure) for what, figure in told if what == "ended"]
        written = sum(int(figure) for what, figure in told if what == "written")
        names = [row.request_id for row in reversed(recent(LocalLedger(path), 100_000))]
        kept = [name for name in names if name.startswith(f"{run}-")]
        assert kept == [f"{run}-{number}" for number in range(len(kept))]
        assert len(kept) >= written, f"run {run}"
        ages += [killed - when for when in ended[len(kept) : len(kept) + 1]]
    assert_in_time(ages, 1)  # if nothing were written before the end, they would be 1.2 seconds old as a rule
