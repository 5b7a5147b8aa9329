"""The ledger's file: private, bounded, mended, brought up to date, emptied."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from kiro_auth.failures import StoreFailed
from kiro_auth.ledger import sqlite
from kiro_auth.ledger.local import LocalLedger
from kiro_auth.ledger.reading import recent, totals
from kiro_auth.ledger.row import Row, row_of
from kiro_auth.ledger.schema import STEPS
from kiro_auth.ledger.sqlite import KEPT_DAYS, SqliteFile, forget, opened, trim
from support.turns import turn_ended

NOW = 1_800_000_000.0


def rows(count: int, when: float = NOW) -> list[Row]:
    return [row_of(turn_ended(when=when, request_id=f"req_{number}")) for number in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite3"


def file_at(path: Path, *, now: float = NOW) -> SqliteFile:
    return SqliteFile(path, clock=lambda: now)


def test_the_file_and_those_beside_it_are_the_user_s_alone(path: Path) -> None:
    file = file_at(path)
    file.add(rows(3))

    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    file.close()
    assert modes == dict.fromkeys(("ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm"), 0o600)


def test_what_is_written_can_be_read_while_it_is_open_and_after(path: Path) -> None:
    file = file_at(path)
    file.add(rows(2))
    assert [row.request_id for row in recent(LocalLedger(path), 9)] == ["req_1", "req_0"]
    file.close()
    assert [row.request_id for row in recent(LocalLedger(path), 9)] == ["req_1", "req_0"]


def test_rows_that_are_too_old_go(path: Path) -> None:
    file = file_at(path)
    file.add([*rows(1, NOW - KEPT_DAYS * 86400 - 1), *rows(1, NOW - KEPT_DAYS * 86400 + 1)])
    file.close()
    assert len(recent(LocalLedger(path), 9)) == 1


def test_when_rows_take_too_much_room_the_oldest_go(path: Path) -> None:
    file = file_at(path)
    file.add(rows(500))
    file.close()

    with closing(opened(path)) as connection:
        trim(connection, NOW, largest=50_000)

    left = recent(LocalLedger(path), 999)
    assert 50 < len(left) < 400
    assert [row.request_id for row in left] == [f"req_{499 - number}" for number in range(len(left))]


@pytest.mark.slow
def test_a_full_ledger_does_not_grow(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite.trim, "__defaults__", (300_000,))
    file = file_at(path)
    for _ in range(20):
        file.add(rows(1000))
    file.close()
    assert path.stat().st_size < 900_000  # a thousand rows are written between two looks


def test_a_damaged_file_is_kept_aside_and_a_new_one_begun(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    path.chmod(0o600)
    file = file_at(path)
    file.add(rows(1))
    file.close()

    assert len(recent(LocalLedger(path), 9)) == 1
    assert path.with_name("ledger.sqlite3.damaged").read_bytes().startswith(b"no database")


def test_the_file_of_a_newer_release_is_left_as_it_is(path: Path) -> None:
    file = file_at(path)
    file.add(rows(1))
    file.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"pragma user_version = {len(STEPS) + 1}")

    with pytest.raises(StoreFailed, match="newer release"):
        file_at(path).add(rows(1))
    assert len(recent(LocalLedger(path), 9)) == 1


def test_a_full_disk_is_a_failure_that_says_so_and_changes_nothing(path: Path) -> None:
    file = file_at(path)
    file.add(rows(1))
    file.close()
    file = file_at(path)
    file.add(rows(1))
    assert file._connection is not None
    file._connection.execute("pragma max_page_count = 5")  # SQLite's own limit: it ends with SQLITE_FULL

    with pytest.raises(StoreFailed, match=r"cannot be written: database or disk is full \(KA-STORE\)"):
        file.add(rows(500))
    file.close()
    assert len(recent(LocalLedger(path), 999)) == 2


def test_another_user_s_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StoreFailed, match="it is a link"):
        file_at(path).add(rows(1))
    assert not (tmp_path / "elsewhere").exists()


def test_forgetting_leaves_no_row_on_the_disk_also_while_a_gateway_writes(path: Path) -> None:
    file = file_at(path)
    file.add(rows(100))

    assert forget(path) == 100
    held = b"".join(each.read_bytes() for each in path.parent.iterdir())
    assert b"claude-sonnet" not in held
    file.add(rows(2))
    file.close()
    assert totals(LocalLedger(path), by="day")[0].turns == 2


def test_there_may_be_nothing_to_forget(path: Path) -> None:
    assert forget(path) == 0
    assert not path.exists()
