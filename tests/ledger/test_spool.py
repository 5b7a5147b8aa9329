"""Lines that wait for the database: whole, in their order, each file one process's own until that is gone."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth.ledger import spool
from kiro_auth.ledger.spool import Spool, left_behind, new_spool
from support.examples import examples

OWNER = """
import sys
from pathlib import Path
from kiro_auth.ledger.spool import new_spool

spool = new_spool(Path(sys.argv[1]))
spool.append(b"first\\n")
spool.append(b"second\\n")
print("written", flush=True)
sys.stdin.read()
"""


def lines_of(lines: Spool) -> list[bytes]:
    return lines.page(10_000)[0]


def test_files_are_the_user_s_alone(tmp_path: Path) -> None:
    lines = new_spool(tmp_path / "state" / "spool")
    lines.append(b"line\n")

    assert stat.S_IMODE((tmp_path / "state" / "spool").stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state" / "spool").iterdir()}
    assert modes == {0o600}
    lines.close()


STEPS = st.lists(st.one_of(st.integers(1, 5), st.sampled_from(["take", "take all"])), max_size=30)


@settings(max_examples=examples(100), deadline=None)
@given(steps=STEPS)
def test_lines_come_once_and_in_their_order_and_nothing_is_left_of_those_that_were_sent(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | str]
) -> None:
    lines, added, taken = new_spool(tmp_path_factory.mktemp("spool")), 0, list[bytes]()
    for step in steps:
        if isinstance(step, int):
            for _ in range(step):
                lines.append(b"%d\n" % added)
                added += 1
        else:
            page, end = lines.page(2 if step == "take" else 10_000)
            taken += page
            lines.forget(end)
            assert lines.is_empty == (len(taken) == added)
            assert not lines.is_empty or lines.path.stat().st_size == 0
    taken += lines_of(lines)
    lines.close()

    assert taken == [b"%d\n" % number for number in range(added)]


@pytest.mark.outside
def test_a_killed_process_leaves_its_lines_to_one_other_and_none_takes_those_of_one_that_lives(
    tmp_path: Path,
) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"written\n"
        assert list(left_behind(tmp_path)) == []
        owner.send_signal(signal.SIGKILL)
        owner.wait()

        [left] = left_behind(tmp_path)
        assert list(left_behind(tmp_path)) == []
        assert lines_of(left) == [b"first\n", b"second\n"]
        left.forget(left.page(1)[1])
        left.close()  # this one ends too before it is done

        [left] = left_behind(tmp_path)
        assert lines_of(left) == [b"first\n", b"second\n"], "a line may come twice, never not at all"
        left.forget(left.page(9)[1])
        left.close()
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_was_cut_by_a_kill_counts_as_nothing_and_stays_with_nobody(tmp_path: Path) -> None:
    lines = new_spool(tmp_path)
    lines.append(b"whole\n")
    os.write(lines._writes, b"cut in the mid")
    assert lines_of(lines) == [b"whole\n"]
    lines.forget(lines.page(9)[1])
    lines.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_keeps_nobody_from_the_others(tmp_path: Path) -> None:
    lines = new_spool(tmp_path)
    lines.append(b"line\n")
    lines.close()
    (tmp_path / "0.jsonl").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "1.jsonl").mkdir()
    (tmp_path / "2.jsonl").touch()
    (tmp_path / "2.lock").mkdir()  # as a lock that is another user's, it cannot be opened

    [left] = left_behind(tmp_path)
    assert lines_of(left) == [b"line\n"]
    left.close()


def test_a_line_after_the_end_is_refused_and_written_nowhere(tmp_path: Path) -> None:
    lines = new_spool(tmp_path / "spool")
    lines.close()
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="Bad file descriptor"):
        lines.append(b"late\n")
    os.close(other)
    assert (tmp_path / "other").read_bytes() == b""


def test_on_a_full_disk_a_line_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    lines, line = new_spool(tmp_path), b"x" * 999 + b"\n"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    written = 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (4500, before[1]))
    try:
        while True:
            lines.append(line)
            written += 1
    except OSError:
        assert written == 4
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    lines.append(b"room again\n")

    assert lines_of(lines) == [line] * 4 + [b"room again\n"]
    lines.forget(lines.page(9)[1])
    lines.close()


def test_more_than_is_read_at_once_comes_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_PAGE", 25)
    lines = new_spool(tmp_path)
    for number in range(10):
        lines.append(b"line %04d\n" % number)
    found = list[bytes]()
    while not lines.is_empty:
        page, end = lines.page(500)
        assert 1 <= len(page) <= 2
        found += page
        lines.forget(end)
    lines.close()
    assert found == [b"line %04d\n" % number for number in range(10)]
