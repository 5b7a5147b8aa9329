"""One gateway per user, and how it is found."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kiro_auth.gateway.discovery import STATE_FILE, Address, Seat, find

ADDRESS = Address(port=4000, key="k", secret="s", pid=1, version="1")


def test_of_two_starters_one_gets_the_seat(tmp_path: Path) -> None:
    first, second = Seat(tmp_path / "state"), Seat(tmp_path / "state")

    assert [first.take(), second.take()] == [True, False]
    first.leave()
    assert second.take()
    second.leave()


def test_what_is_announced_is_found_and_only_the_user_may_read_it(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    seat.take()
    seat.announce(ADDRESS)

    assert find(tmp_path) == ADDRESS
    assert stat.S_IMODE((tmp_path / STATE_FILE).stat().st_mode) == 0o600
    seat.leave()
    assert find(tmp_path) is None


def test_a_start_waits_for_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a power cut no gateway runs that could be found."""
    waited: list[int] = []
    monkeypatch.setattr(os, "fsync", waited.append)
    seat = Seat(tmp_path)
    seat.take()
    seat.announce(ADDRESS)
    seat.leave()

    assert waited == []


@pytest.mark.outside
def test_the_seat_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from kiro_auth.gateway.discovery import Seat;"
        "s = Seat(Path(sys.argv[1])); print(s.take(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert not Seat(tmp_path).take()
        process.kill()
        process.wait()

    seat = Seat(tmp_path)
    assert seat.take()
    seat.leave()


def test_a_broken_state_file_is_no_gateway(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_text('{"port": "x"')

    assert find(tmp_path) is None


@pytest.mark.parametrize("secret", ["", '"secret": "",'])
def test_a_state_file_without_a_secret_is_no_gateway(tmp_path: Path, secret: str) -> None:
    """What holds nothing to prove anything with is sent nothing."""
    text = f'{{"port": 4000, {secret} "key": "k", "pid": 1, "version": "1"}}'
    (tmp_path / STATE_FILE).write_text(text)

    assert find(tmp_path) is None


def test_a_look_at_the_place_takes_it_from_nobody(tmp_path: Path) -> None:
    holder, other = Seat(tmp_path), Seat(tmp_path)

    assert other.is_free()
    assert not list(tmp_path.iterdir()), "nor makes a file"
    assert holder.take()
    holder.announce(ADDRESS)
    assert not other.is_free()
    assert find(tmp_path) == ADDRESS
    holder.leave()
    assert other.is_free()
    assert holder.take()
    holder.leave()


def test_leaving_without_the_seat_keeps_the_holder_s_announcement(tmp_path: Path) -> None:
    holder, other = Seat(tmp_path), Seat(tmp_path)
    holder.take()
    holder.announce(ADDRESS)
    other.take()
    other.leave()

    assert find(tmp_path) == ADDRESS
    holder.leave()
