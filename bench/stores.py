"""What a store of many accounts costs, over the two JSON files and over SQLite: `python -m bench.stores`.

Prints a table of milliseconds, the median of single operations one after another, of a process that holds
10,000 accounts of 3 KB each; with `--accounts N` of so many.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

from kiro_auth.store.files import FileStore
from kiro_auth.store.protocol import Credits, KeptStore
from kiro_auth.store.sqlite import SqliteStore
from kiro_auth.store.written import Writing

Make: TypeAlias = Callable[[Path], KeptStore]
SECRET: Final = "s" * 900


def files(folder: Path) -> KeptStore:
    return FileStore(folder, folder / "locks")


def sqlite(folder: Path) -> KeptStore:
    return SqliteStore(folder, folder / "locks", Writing(None))


def record(number: int) -> dict[str, str]:
    return {"id": f"{number:032}", "accessToken": SECRET, "refreshToken": SECRET, "clientSecret": SECRET}


async def median(times: int, work: Callable[[int], Awaitable[object]]) -> float:
    """Milliseconds of one."""
    found = []
    for number in range(times):
        began = time.perf_counter()
        await work(number)
        found.append(time.perf_counter() - began)
    return statistics.median(found) * 1000


async def measure(make: Make, count: int, times: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, another = make(folder), make(folder)
        began = time.perf_counter()
        await asyncio.gather(*(store.add(record(number)) for number in range(count)))
        rows = {f"all {count:,} added at once": (time.perf_counter() - began) * 1000}
        await asyncio.gather(*(store.change_usage(record(n)["id"], {"usedCount": n}) for n in range(count)))
        fresh, began = make(folder), time.perf_counter()
        fresh.snapshot()
        rows["the first look"] = (time.perf_counter() - began) * 1000
        await asyncio.sleep(0.2)  # files younger than that are read again
        another.snapshot()

        async def look(_: int) -> None:
            another.snapshot()

        async def hear(number: int) -> None:
            began = time.perf_counter()
            another.snapshot()
            heard.append(time.perf_counter() - began)
            await store.change_usage(record(number)["id"], {"usedCount": -number})

        heard: list[float] = []
        rows["a look when nothing changed"] = await median(1000, look)
        rows["an account added"] = await median(times, lambda n: store.add(record(count + n)))
        rows["an account changed"] = await median(times, lambda n: store.change(record(n)["id"], {"x": n}))
        rows["a usage row changed"] = await median(
            times, lambda n: store.change_usage(record(n)["id"], {"usedCount": -n})
        )
        rows["credits of a turn added"] = await median(
            times, lambda n: store.add_credits({record(n)["id"]: Credits(0.1, 0.1)})
        )
        await median(times, hear)
        rows["a look after another process changed a usage row"] = statistics.median(heard) * 1000
        rows["an account removed"] = await median(times, lambda n: store.remove(record(count + n)["id"]))
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    here, there = (asyncio.run(measure(make, given.accounts, given.times)) for make in (files, sqlite))
    if given.json:
        print(json.dumps({"files": here, "sqlite": there}))
        return
    print("| Milliseconds | files | sqlite |\n|---|---|---|")
    for name in here:
        print(f"| {name} | {here[name]:,.3g} | {there[name]:,.3g} |")


if __name__ == "__main__":
    main()
