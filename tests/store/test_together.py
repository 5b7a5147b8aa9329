"""Changes that come at once are written together, and each is as good as one that came alone."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from kiro_auth.failures import StoreFailed
from kiro_auth.store.files import ACCOUNTS, USAGE, FileStore
from kiro_auth.store.json_file import JsonFile, failed
from kiro_auth.store.together import Outcome, Together


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path, tmp_path / "locks")


@pytest.mark.slow
async def test_ten_thousand_accounts_are_read_and_changed_in_seconds(
    store: FileStore, tmp_path: Path
) -> None:
    """One by one each change writes all 30 MB anew: more than ten minutes."""
    secret = "s" * 900
    rows = [
        {"id": f"{n:032}", "accessToken": secret, "refreshToken": secret, "clientSecret": secret}
        for n in range(10_000)
    ]
    (tmp_path / ACCOUNTS).write_text(json.dumps({"accounts": rows, "kiroAuth": {}}))
    began = time.process_time()  # in which others have no part

    await asyncio.gather(*(store.change_usage(row["id"], {"usedCount": 1}) for row in rows))
    await asyncio.gather(*(store.change(row["id"], {"state": "ready"}) for row in rows[::100]))

    assert time.process_time() - began < 30
    assert len(json.loads((tmp_path / USAGE).read_text())["usage"]) == 10_000
    assert sum("state" in record for record in store.snapshot().accounts) == 100


async def test_changes_that_wait_cost_few_writes(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    write = JsonFile.write

    def counting(self: JsonFile[object], *arguments: object, **named: object) -> None:
        nonlocal written
        written += 1
        write(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(JsonFile, "write", counting)
    await asyncio.gather(*(store.add({"id": str(n)}) for n in range(300)))

    assert [record["id"] for record in store.snapshot().accounts] == [str(n) for n in range(300)]
    assert written < 20


async def test_one_that_cannot_be_made_hinders_no_other(store: FileStore) -> None:
    outcomes = await asyncio.gather(*(store.add({"id": id_}) for id_ in "abacb"), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        type(None),
        ValueError,
        type(None),
        ValueError,
    ]
    assert [record["id"] for record in store.snapshot().accounts] == ["a", "b", "c"]


async def test_what_stops_all_is_told_to_each(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / ACCOUNTS).write_text("{")

    outcomes = await asyncio.gather(*(store.add({"id": id_}) for id_ in "abc"), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [StoreFailed] * 3
    assert len(set(map(id, outcomes))) == 3


async def test_who_is_cancelled_leaves_the_change_to_be_made(store: FileStore) -> None:
    leaving = [asyncio.create_task(store.add({"id": str(n)})) for n in range(5)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await store.add({"id": "last"})

    assert [record["id"] for record in store.snapshot().accounts] == ["0", "1", "2", "3", "4", "last"]
    assert all(task.cancelled() for task in leaving)


def test_changes_of_several_loops_are_made(store: FileStore) -> None:
    """As in tests, and in programs that run one loop after the other."""
    for number in range(3):
        asyncio.run(store.add({"id": str(number)}))

    assert len(store.snapshot().accounts) == 3


async def test_those_that_come_meanwhile_are_the_next_to_be_written() -> None:
    batches: list[list[int]] = []
    is_over = threading.Event()

    def write(changes: Sequence[int]) -> list[Outcome]:
        batches.append(list(changes))
        is_over.wait(60)
        return [failed("No.", "Go.") if change == 3 else None for change in changes]

    together = Together(write)
    first = asyncio.create_task(together.make(0))
    while not batches:
        await asyncio.sleep(0.001)
    later = asyncio.gather(*(together.make(number) for number in (1, 2, 3)), return_exceptions=True)
    await asyncio.sleep(0)  # they have begun
    is_over.set()
    outcomes = await later
    await first
    await together.make(4)

    assert batches == [[0], [1, 2, 3], [4]]
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), StoreFailed]
