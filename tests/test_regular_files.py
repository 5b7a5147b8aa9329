"""What lies where a file is expected is opened only if it is one: no reader hangs, or reads without end."""

from __future__ import annotations

import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kiro_auth import config
from kiro_auth.atomic import replace_file
from kiro_auth.failures import StoreFailed
from kiro_auth.gateway import discovery
from kiro_auth.gateway.model_lists import read_lists
from kiro_auth.gateway.request_log import RequestLog
from kiro_auth.opencode.models import USUAL_MODELS, read_models
from kiro_auth.regular_files import Unusable, make_folder, open_to_append, read_file
from kiro_auth.store.files import ACCOUNTS, FileStore

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def looped(path: Path) -> None:
    path.symlink_to(path)


PLACED = [pipe, endless, folder, huge, looped]
Placed = Callable[[Path], None]


@pytest.mark.parametrize("placed", [*PLACED, pytest.param(bound_socket, marks=pytest.mark.outside)])
def test_what_is_no_file_of_sensible_size_is_refused_at_once(tmp_path: Path, placed: Placed) -> None:
    placed(tmp_path / "a")

    with pytest.raises(OSError, match=r"it is|it holds|levels of symbolic links|No such device"):
        read_file(tmp_path / "a")


def test_a_refusal_names_what_lies_there(tmp_path: Path) -> None:
    pipe(tmp_path / "a")

    with pytest.raises(Unusable) as raised:
        read_file(tmp_path / "a")

    assert raised.value.strerror == "it is a named pipe and not a file"
    assert raised.value.filename == str(tmp_path / "a")


def test_no_more_is_kept_in_memory_than_the_limit_of_a_file(tmp_path: Path) -> None:
    huge(tmp_path / "a")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(Unusable, match="it holds more than 1 MB"):
        read_file(tmp_path / "a", 1 << 20)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


@pytest.mark.parametrize("size", [0, 1, 1000, 3_000_000])
def test_a_file_behind_links_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    body = os.urandom(size)
    (tmp_path / "a").write_bytes(body)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to("b")

    assert read_file(tmp_path / "c") == body
    assert read_file(tmp_path / "c", max(size, 1)) == body


@pytest.mark.outside
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_refused_and_one_of_root_is_read(tmp_path: Path) -> None:
    for name, owner in (("root's", 0), ("mine", 4321), ("theirs", 4322)):
        (tmp_path / name).write_text(name)
        os.chown(tmp_path / name, owner, owner)
    for above in [tmp_path, *tmp_path.parents]:
        above.chmod(above.stat().st_mode | 0o055)
    reading = (
        "import os, sys; from pathlib import Path; from kiro_auth.regular_files import read_file\n"
        "os.setuid(4321)\n"
        "for name in (\"root's\", 'mine', 'theirs'):\n"
        "    try: print(read_file(Path(sys.argv[1]) / name).decode())\n"
        "    except OSError as error: print(error.strerror)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", reading, str(tmp_path)], capture_output=True, text=True, timeout=120
    )

    assert done.stdout.splitlines() == ["root's", "mine", "it belongs to another user"], done.stderr


# ------------------------------------------------------------------------------------- its readers


@pytest.mark.slow
@pytest.mark.parametrize("placed", PLACED)
def test_each_reader_says_what_it_cannot_read_or_does_without(tmp_path: Path, placed: Placed) -> None:
    for name in (ACCOUNTS, config.FILE, discovery.STATE_FILE, "lists", "models"):
        placed(tmp_path / name)

    with pytest.raises(StoreFailed, match=r"kiro-accounts\.json cannot be read or written: "):
        FileStore(tmp_path, tmp_path / "locks").snapshot()
    (problem,) = config.load(environment={}, folder=tmp_path).problems
    assert f"{tmp_path / config.FILE} cannot be read: " in problem.message
    assert problem.next_step
    assert discovery.find(tmp_path) is None
    assert read_lists(tmp_path / "lists") == {}
    assert read_models(tmp_path / "models") == USUAL_MODELS


@pytest.mark.parametrize("placed", [pipe, endless, folder])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, placed: Placed) -> None:
    placed(tmp_path / "a")
    before = (tmp_path / "a").lstat()

    with pytest.raises(OSError, match="it is"):
        replace_file(tmp_path / "a", b"x")

    assert (tmp_path / "a").lstat() == before
    assert os.listdir(tmp_path) == ["a"]
    assert not list(Path("/dev").glob(".zero-*"))


# ------------------------------------------------------------------------------- appending, folders


@pytest.mark.parametrize("placed", [pipe, endless, folder])
def test_nothing_is_appended_to_what_is_no_file(tmp_path: Path, placed: Placed) -> None:
    placed(tmp_path / "a")

    with pytest.raises(OSError, match=r"it is|Is a directory|No such device"):
        os.close(open_to_append(tmp_path / "a"))


def test_a_log_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "requests.jsonl").symlink_to(tmp_path / "precious")

    with pytest.raises(OSError, match="it is a link"):
        RequestLog(tmp_path / "requests.jsonl")

    assert (tmp_path / "precious").read_text() == "mine"


def test_whatever_the_umask_folders_and_files_are_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_folder(tmp_path / "a" / "b" / "c")
        os.close(open_to_append(tmp_path / "a" / "b" / "c" / "log"))
        replace_file(tmp_path / "a" / "b" / "c" / "file", b"x")
    finally:
        os.umask(before)

    made = [*(tmp_path / "a").rglob("*"), tmp_path / "a"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()} == {0o600}
