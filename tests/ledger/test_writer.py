"""The listener that keeps turns: it neither waits nor raises, and loses nothing that can be kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.ledger import writer
from kiro_auth.ledger.local import LocalLedger
from kiro_auth.ledger.reading import recent
from kiro_auth.ledger.row import Row
from kiro_auth.ledger.sqlite import SqliteFile
from kiro_auth.ledger.writer import Writer
from support.turns import turn_ended

FULL = Failure(code="KA-STORE", message="The disk is full.")
BATCH_SECONDS = writer.BATCH_SECONDS
"""As users have it."""


class Disk:
    """A file that can be full; `adding` is set when rows come."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.full = False
        self.tries = 0
        self.adding = threading.Event()

    def add(self, rows: Sequence[Row]) -> None:
        self.tries += 1
        self.adding.set()
        if self.full:
            raise StoreFailed(FULL)
        self.rows += rows

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCH_SECONDS", 0.01)
    monkeypatch.setattr(writer, "_AGAIN_SECONDS", 0.01)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_nothing_is_opened_before_the_first_turn(tmp_path: Path) -> None:
    ledger = Writer(lambda: SqliteFile(tmp_path / "ledger"))
    ledger.close()

    assert list(tmp_path.iterdir()) == []


def test_turns_are_written_within_a_second_and_all_of_them_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Writer(lambda: SqliteFile(path, clock=lambda: 1_800_000_000))
    ledger.on_turn_ended(turn_ended(request_id="first"))
    assert BATCH_SECONDS < 1
    until(lambda: recent(LocalLedger(path), 1))

    for number in range(100):
        ledger.on_turn_ended(turn_ended(request_id=str(number)))
    ledger.close()
    assert [row.request_id for row in recent(LocalLedger(path), 999)] == [
        *map(str, reversed(range(100))),
        "first",
    ]


def test_turns_that_cannot_be_written_wait_and_people_are_told_once() -> None:
    disk, troubles = Disk(), list[Failure]()
    disk.full = True
    ledger = Writer(lambda: disk, on_trouble=troubles.append)
    for _ in range(3):
        ledger.on_turn_ended(turn_ended())
        disk.adding.wait(40)
        disk.adding.clear()
    until(lambda: disk.tries > 5)
    disk.full = False
    until(lambda: len(disk.rows) == 3)
    ledger.close()

    assert troubles == [FULL]


def test_what_waits_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WAITING", 10)
    disk = Disk()
    disk.full = True
    ledger = Writer(lambda: disk)
    for number in range(50):
        ledger.on_turn_ended(turn_ended(request_id=str(number)))
    until(lambda: disk.tries > 3)
    disk.full = False
    until(lambda: disk.rows)
    ledger.close()

    assert [row.request_id for row in disk.rows] == [str(number) for number in range(40, 50)]


def test_a_defect_costs_rows_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    works, disk.add = disk.add, lambda rows: 1 / 0  # type: ignore[method-assign]
    ledger = Writer(lambda: disk)
    ledger.on_turn_ended(turn_ended())
    until(lambda: "by a defect" in caplog.text)
    disk.add = works  # type: ignore[method-assign]
    ledger.on_turn_ended(turn_ended(request_id="next"))
    ledger.close()

    assert [row.request_id for row in disk.rows] == ["next"]


def test_a_turn_that_makes_no_row_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    ledger = Writer(lambda: disk)
    ledger.on_turn_ended("no turn")  # type: ignore[arg-type]
    until(lambda: "by a defect" in caplog.text)
    ledger.on_turn_ended(turn_ended(request_id="next"))
    ledger.close()

    assert [row.request_id for row in disk.rows] == ["next"]
