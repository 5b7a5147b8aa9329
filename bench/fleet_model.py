"""How many gateways one database can serve, by a model: `make bench-fleet`.

It plays a minute of a fleet: requests come by chance to every replica, take a place of an account, last, and
give it back; those that find none ask again; replicas beat, look at the accounts every two seconds, and hear
of changes.  It counts what the database is asked for.  What each of that costs the database's processor is
measured here, on a real PostgreSQL (`bench.fleet_costs`), with the program's own code.

That a real replica asks for as much as the model says is a test (`tests/system/test_fleet_model.py`).
`--write` puts the table into docs/store.md.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from bench.fleet_costs import Costs, measured

PAGE = Path(__file__).parents[1] / "docs" / "store.md"
MARKS = "<!-- fleet: begin -->\n", "<!-- fleet: end -->"

STATEMENTS = {
    "home": 1,
    "settle": 1,
    "take": 1,
    "refused take": 1,
    "give back": 1,
    "ledger": 5,  # BEGIN, the turn, whether it was forgotten, the sums, COMMIT
    "credits": 3,  # BEGIN, the rows, COMMIT
    "credits of an account": 1,
    "beat": 2,
    "look": 2,  # revisions; the account in use
    "fetch": 1,  # the rows that changed
    "change": 5,  # of an account's record: BEGIN, the row, its change, NOTIFY, COMMIT
}
"""What each thing that a replica does asks of the database, in statements."""
BEAT_SECONDS = 4.5
LOOK_SECONDS = 2.0
AGAIN_SECONDS = (0.05, 0.25)
CREDITS_SECONDS = 2.0
CONNECTIONS = 2
"""Of each replica: one for all statements, one that hears notices."""


class Fleet(Struct, frozen=True):
    """`rate`: requests that come to each replica in a second, in conversations of `turns`.

    `throttled`: the share of turns after which an account's state changes, and changes back.
    """

    replicas: int
    rate: float
    accounts_each: float = 1.0
    limit: int = 4
    lasts: float = 8.0
    turns: int = 20
    throttled: float = 0.01
    renewal: float = 3300.0
    seconds: float = 60.0

    @property
    def accounts(self) -> int:
        return max(1, round(self.replicas * self.accounts_each))


class Played(Struct):
    """What a second of the fleet asked for, by kind, and how many rows the looks fetched."""

    fleet: Fleet
    per_second: dict[str, float]
    rows_fetched: float
    waited: float
    """The share of requests that found no place at once."""

    @property
    def statements(self) -> float:
        return sum(STATEMENTS[kind] * times for kind, times in self.per_second.items())


def play(fleet: Fleet, seed: int = 1) -> Played:
    """Play `fleet.seconds` of it, after a time in which it fills."""
    return _Play(fleet, random.Random(seed)).run()


class _Play:
    def __init__(self, fleet: Fleet, chance: random.Random) -> None:
        self.fleet = fleet
        self.chance = chance
        self.now = 0.0
        self.warm = 3 * fleet.lasts
        self.counts: Counter[str] = Counter()
        self.requests = self.waited = 0
        self.used: Counter[int] = Counter()
        self.waiting: dict[int, list[int]] = defaultdict(list)  # accounts that requests wait for, by replica
        self.looks: set[int] = set()
        self.metered: dict[int, set[int]] = defaultdict(set)  # accounts with credits to keep, by replica
        self.changed = 0
        self.events: list[tuple[float, int, Callable[..., None], tuple[int, ...]]] = []
        self.order = itertools.count()

    def run(self) -> Played:
        fleet = self.fleet
        end = self.warm + fleet.seconds
        for replica in range(fleet.replicas):
            self.later(self.chance.expovariate(fleet.rate), self.arrive, replica)
        while self.events and self.events[0][0] < end:
            self.now, _, happens, what = heapq.heappop(self.events)
            happens(*what)
        per_second = {kind: count / fleet.seconds for kind, count in self.counts.items()}
        self.add_what_comes_by_the_clock(per_second)
        # Each row that changed is fetched once by each replica; within one look it is one row.
        rows = self.changed / fleet.seconds * fleet.replicas
        return Played(fleet, per_second, rows, self.waited / max(1, self.requests))

    def add_what_comes_by_the_clock(self, per_second: dict[str, float]) -> None:
        fleet = self.fleet
        changes = fleet.accounts / fleet.renewal + 2 * fleet.throttled * per_second.get("ledger", 0.0)
        looks = fleet.replicas / LOOK_SECONDS + fleet.replicas * changes  # a notice has all look
        any_usage = 1.0 if self.changed / fleet.seconds * LOOK_SECONDS >= 1 else self.changed / fleet.seconds
        per_second["change"] = changes
        per_second["beat"] = fleet.replicas / BEAT_SECONDS
        per_second["look"] = looks
        per_second["fetch"] = fleet.replicas * (any_usage / LOOK_SECONDS + changes)

    def later(self, seconds: float, happens: Callable[..., None], *what: int) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.order), happens, what))

    def count(self, kind: str, times: int = 1) -> None:
        if self.now >= self.warm:
            self.counts[kind] += times

    def arrive(self, replica: int) -> None:
        self.later(self.chance.expovariate(self.fleet.rate), self.arrive, replica)
        account = self.chance.randrange(self.fleet.accounts)
        self.requests += 1
        self.count("home")
        if not self.takes(replica, account):
            self.waited += 1
            self.wait(replica, account)

    def takes(self, replica: int, account: int) -> bool:
        if self.used[account] >= self.fleet.limit:
            self.count("refused take")
            return False
        self.count("take")
        if self.chance.random() < 1 / self.fleet.turns:
            self.count("settle")
        self.used[account] += 1
        self.later(self.chance.expovariate(1 / self.fleet.lasts), self.end, replica, account)
        return True

    def wait(self, replica: int, account: int) -> None:
        self.waiting[replica].append(account)
        if replica not in self.looks:
            self.looks.add(replica)
            self.later(self.chance.uniform(*AGAIN_SECONDS), self.ask_again, replica)

    def ask_again(self, replica: int) -> None:
        """All that wait in a replica ask at once, and one refusal is enough for all of an account."""
        self.looks.discard(replica)
        waiting, self.waiting[replica] = self.waiting[replica], []
        refused: set[int] = set()
        for account in waiting:
            if self.chance.random() < 1 / self.fleet.turns:
                self.count("home")  # it is new, and another of its requests may have settled
            if account in refused or not self.takes(replica, account):
                refused.add(account)
                self.wait(replica, account)

    def end(self, replica: int, account: int) -> None:
        self.used[account] -= 1
        self.count("give back")
        self.count("ledger")
        if not self.metered[replica]:
            self.later(CREDITS_SECONDS, self.keep, replica)
        self.metered[replica].add(account)

    def keep(self, replica: int) -> None:
        accounts, self.metered[replica] = self.metered[replica], set()
        self.count("credits")
        self.count("credits of an account", len(accounts))
        if self.now >= self.warm:
            self.changed += len(accounts)


# ----------------------------------------------------------------------------------- what it costs

RATES = (0.05, 0.25)
"""Requests a second that each replica gets; the second one keeps half of all places busy."""
SIZES = (3, 10, 30, 100, 300, 1000, 3000)
DEFAULT_CONNECTIONS = 97
"""PostgreSQL's `max_connections` of 100, less the three that it keeps for its operator."""
CORES = 8
"""Of a database that is large for what it does."""


def cores(played: Played, costs: Costs) -> dict[str, float]:
    """How many processors of the database each kind keeps busy."""
    fleet = played.fleet
    micros = {kind: costs.micros[kind] * times for kind, times in played.per_second.items()}
    micros["look"] += played.per_second["look"] * fleet.accounts * costs.look_each
    micros["beat"] += played.per_second["beat"] * fleet.replicas * costs.beat_each
    micros["fetch"] += played.rows_fetched * costs.fetch_each
    micros["notices"] = played.per_second["change"] * fleet.replicas * costs.notice_each
    return {kind: value / 1e6 for kind, value in micros.items()}


def breaking(rate: float, accounts_each: float, costs: Costs) -> tuple[int, str]:
    """The replicas with which CORES are no longer enough, to a twentieth, and what takes most of them."""
    low, high = 1, 100_000
    while high > low * 1.05:
        middle = round((low * high) ** 0.5)
        seconds = min(60.0, 20_000 / (middle * rate))
        used = cores(play(Fleet(middle, rate, accounts_each, seconds=seconds)), costs)
        low, high = (middle, high) if sum(used.values()) < CORES else (low, middle)
    return high, max(used, key=lambda kind: used[kind])


def page(costs: Costs, rates: tuple[float, ...] = RATES) -> str:
    lines = [f"{costs.machine} Processor time of the server for one, in microseconds: {costs.sentence()}", ""]
    lines += ["| Replicas | Accounts | Requests a second | Statements a second | Rows fetched a second | "]
    lines[-1] += "Connections | Processors of the database | Most of it |"
    lines.append("|---" * 8 + "|")
    for rate, size in itertools.product(rates, SIZES):
        fleet = Fleet(size, rate, seconds=min(60.0, max(10.0, 60_000 / (size * rate))))
        played = play(fleet)
        used = cores(played, costs)
        most = max(used, key=lambda kind: used[kind])
        lines.append(
            f"| {size:,} | {fleet.accounts:,} | {size * rate:,.4g} | {played.statements:,.0f} "
            f"| {played.rows_fetched:,.0f} | {CONNECTIONS * size:,} | {sum(used.values()):,.2f} | {most} |"
        )
    lines.append("")
    for rate in rates:
        size, most = breaking(rate, 1.0, costs)
        lines.append(
            f"- At {rate:g} requests a second for each replica, {CORES} processors of the database are busy "
            f"with about {size:,} replicas (most of it: {most})."
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet_model", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table into docs/store.md")
    arguments = parser.parse_args()
    text = page(measured())
    print(text)
    if arguments.write:
        before, after = (re.escape(mark) for mark in MARKS)
        written = PAGE.read_text()
        PAGE.write_text(
            re.sub(f"(?s)({before}).*({after})", lambda found: found[1] + text + found[2], written)
        )


if __name__ == "__main__":
    main()
