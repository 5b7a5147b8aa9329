"""The port and the key that stay, and what makes them others."""

from __future__ import annotations

import contextlib
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from kiro_auth.failures import ConfigFailed
from kiro_auth.gateway.discovery import Address, Seat
from kiro_auth.gateway.kept_address import (
    FILE,
    NEWS_SECONDS,
    PORTS,
    KeptAddress,
    forget_news,
    listen_there,
    read,
    read_or_make,
    rotate,
)
from kiro_auth.gateway.sockets import HERE
from kiro_auth.socket_owners import Occupant
from support.ports import free_port
from support.stranger import other_user, stranger

pytestmark = pytest.mark.outside


def taken(folder: Path, wanted: int | None = None) -> KeptAddress:
    """What a gateway gets that begins and ends there."""
    there = listen_there(folder, HERE, wanted)
    for sock in there.sockets:
        assert sock.getsockname()[1] == there.kept.port
        sock.close()
    assert read(folder) == there.kept
    return there.kept


@contextlib.contextmanager
def busy(port: int) -> Iterator[None]:
    """A program of one's own that listens there."""
    with socket.create_server(("127.0.0.1", port)):
        yield


def told(kept: KeptAddress) -> tuple[str, str]:
    """What people hear of its change."""
    news = kept.news(time.time())
    assert news is not None
    return news.code, news.sentence()


def test_each_start_has_the_port_and_the_key_of_the_first(tmp_path: Path) -> None:
    first = taken(tmp_path / "state")

    assert [taken(tmp_path / "state") for _ in range(3)] == [first] * 3
    assert first.news(time.time()) is None
    path = tmp_path / "state" / FILE
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


def test_the_first_port_is_none_that_a_connection_going_out_may_get(tmp_path: Path) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert taken(tmp_path).port in PORTS
    assert PORTS.stop <= min(lowest, 32768, 49152), "Linux here and by default; macOS and Windows"


def test_the_next_free_port_instead_of_one_that_a_program_of_one_s_own_has_and_the_key_stays(
    tmp_path: Path,
) -> None:
    before = taken(tmp_path, free_port(2))
    with busy(before.port):
        after = taken(tmp_path)

    assert (after.port, after.key) == (before.port + 1, before.key)
    code, sentence = told(after)
    assert code == "KA-PORT"
    assert f"another program of yours listened at its address (127.0.0.1:{before.port})." in sentence
    assert f"moved to port {after.port}, with the key it had (KA-PORT)." in sentence
    assert read(tmp_path) == listen_and_close(tmp_path), "it stays there when the old port is free again"


def listen_and_close(folder: Path) -> KeptAddress:
    there = listen_there(folder, HERE)
    for sock in there.sockets:
        sock.close()
    assert there.news is None, "told once"
    return there.kept


def test_the_key_counts_as_told_to_another_user_s_program_at_the_port(tmp_path: Path) -> None:
    user = other_user()
    before = taken(tmp_path, free_port(2))
    with stranger(before.port, user=user) as there:
        after = taken(tmp_path)

        assert there.heard == b""
    assert after.port == before.port + 1
    assert after.key != before.key
    code, sentence = told(after)
    assert code == "KA-STRANGER"
    listened = f"(uid {user}) listened at its address (127.0.0.1:{before.port})."
    assert f"a program of the user nobody {listened}" in sentence
    assert f"moved to port {after.port}, and has a new key (KA-STRANGER)." in sentence
    assert "kiro-auth env" in sentence


def test_a_listener_whose_user_the_system_does_not_tell_counts_as_a_stranger() -> None:
    assert Occupant(None).is_stranger


def test_a_port_that_cannot_be_had_though_nothing_listens_there_is_not_called_a_listener(
    tmp_path: Path,
) -> None:
    before = taken(tmp_path, free_port(2))
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", before.port))  # and takes no connections
        after = taken(tmp_path)

    code, sentence = told(after)
    assert (code, after.port, after.key) == ("KA-PORT", before.port + 1, before.key)
    assert f"did not let the gateway listen at its address (127.0.0.1:{before.port})." in sentence


def test_a_port_that_only_ipv6_has_taken_is_not_used_either(tmp_path: Path) -> None:
    before = taken(tmp_path, free_port(2))
    with socket.create_server(("::1", before.port), family=socket.AF_INET6):
        assert taken(tmp_path).port == before.port + 1


def test_a_port_that_was_asked_for_is_kept_and_that_it_is_another_is_told(tmp_path: Path) -> None:
    before = taken(tmp_path)
    chosen = before.port + 7
    there = listen_there(tmp_path, HERE, chosen)
    for sock in there.sockets:
        sock.close()
    after = there.kept

    assert after == KeptAddress(chosen, before.key)
    assert there.news is not None
    sentence = f"The gateway's port is {chosen} from now on, as you chose; it was {before.port}."
    assert there.news.message == sentence
    assert after.news(time.time()) is None, "told where it was chosen, and there alone"
    with busy(chosen + 1), pytest.raises(ConfigFailed, match=f"port {chosen + 1} cannot be used"):
        listen_there(tmp_path, HERE, chosen + 1)
    assert read(tmp_path) == after


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b'{"port": "x", "key": "k"}',
        b'{"port": 70000, "key": "k"}',
        b'{"port": 1, "key": ""}',
        b"\xff",
    ],
    ids=["empty", "cut", "no number", "no port", "no key", "no text"],
)
def test_a_damaged_file_is_made_anew_and_that_is_told(tmp_path: Path, damaged: bytes) -> None:
    before = taken(tmp_path)
    (tmp_path / FILE).write_bytes(damaged)
    after = taken(tmp_path)

    assert after.key != before.key
    code, sentence = told(after)
    assert (code, sentence.startswith("address.json could not be read, so ")) == ("KA-PORT", True)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("damaged", [b"{", None], ids=["damaged", "gone"])
def test_a_gateway_that_runs_or_was_killed_still_says_what_the_file_said(
    tmp_path: Path, damaged: bytes | None
) -> None:
    before = taken(tmp_path)
    seat = Seat(tmp_path)
    assert seat.take()
    seat.announce(Address(port=before.port, key=before.key, secret="s", pid=1, version="1"))
    (tmp_path / FILE).unlink()
    if damaged:
        (tmp_path / FILE).write_bytes(damaged)

    assert read_or_make(tmp_path) == before
    assert read(tmp_path) == before
    seat.leave()


def test_another_key_leaves_the_port(tmp_path: Path) -> None:
    before = read_or_make(tmp_path)
    after = rotate(tmp_path)

    assert (after.port, taken(tmp_path)) == (before.port, after)
    assert after.key != before.key
    assert len(after.key) >= 43


def test_news_are_told_for_a_week_or_until_they_are_taken_away(tmp_path: Path) -> None:
    before = taken(tmp_path)
    with busy(before.port):
        after = taken(tmp_path)
    now = time.time()

    assert after.news(now + NEWS_SECONDS - 60) is not None
    assert after.news(now + NEWS_SECONDS + 60) is None
    forget_news(tmp_path)
    assert read(tmp_path) == replace(after, change=None)


def test_processes_that_make_one_at_once_make_the_same(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from kiro_auth.gateway.kept_address import read_or_make;"
        "sys.stdin.read(); kept = read_or_make(Path(sys.argv[1])); print(kept.port, kept.key)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "state")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    said = {process.stdout.read() for process in processes if process.stdout}
    for process in processes:
        assert process.wait(40) == 0
        assert process.stdout is not None
        process.stdout.close()

    kept = read(tmp_path / "state")
    assert kept is not None
    assert said == {f"{kept.port} {kept.key}\n"}


def test_the_file_says_nothing_but_port_key_and_change(tmp_path: Path) -> None:
    kept = taken(tmp_path)

    assert msgspec.json.decode((tmp_path / FILE).read_bytes()) == {
        "port": kept.port,
        "key": kept.key,
        "change": None,
    }
