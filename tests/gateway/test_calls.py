"""Who answers a call: the gateway itself, or anybody else, who learns nothing."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from kiro_auth.gateway.calls import CALL_SECONDS, Listener, call, reach, trouble
from kiro_auth.gateway.discovery import Address, Seat, find
from support.programs import KEY, Home
from support.stranger import Stranger, other_user, stranger

GONE = Address(port=1, key=KEY, secret="the-secret-of-the-gateway-before", pid=1, version="1")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def gateway(home: Home) -> Iterator[Address]:
    """One that runs."""
    with home.gateway():
        found = find(home.state)
        assert found is not None
        yield found


def learnt_nothing(there: Stranger, address: Address) -> bool:
    """Whether all that it heard was the question for the proof."""
    time.sleep(0.1)  # what was sent last is on its way
    heard = there.heard.decode()
    asked = re.findall(r"^(?:GET|POST) .*?\r\n\r\n", heard, re.DOTALL | re.MULTILINE)
    questions = all(text.startswith("GET /kiro/proof ") for text in asked)
    return questions and not any(
        word in heard for word in (address.key, address.secret, "KiroProof", "authorization")
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/health", 200), ("GET", "/kiro/accounts", 200), ("GET", "/nowhere", 404)],
)
def test_the_gateway_answers_whoever_proves_to_know_its_secret(
    gateway: Address, method: str, path: str, status: int
) -> None:
    answer = call(gateway, method, path)

    assert (answer.listener, answer.status) == (Listener.OURS, status)


def test_the_gateway_of_another_state_file_is_a_stranger(gateway: Address) -> None:
    assert call(replace(gateway, secret="another")).listener is Listener.STRANGER


def test_where_nobody_listens_there_is_nobody() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert call(replace(GONE, port=bound.getsockname()[1])).listener is Listener.NOBODY


@pytest.mark.parametrize(
    ("manner", "listener"),
    [
        ("polite", Listener.STRANGER),
        ("claims", Listener.STRANGER),
        ("garbage", Listener.STRANGER),
        pytest.param("endless head", Listener.SILENT, marks=pytest.mark.clients),
        pytest.param("endless continue", Listener.SILENT, marks=pytest.mark.clients),
        ("says nothing", Listener.SILENT),
        ("hangs up", Listener.SILENT),
    ],
)
def test_a_stranger_is_found_out_in_good_time_and_learns_nothing(manner: str, listener: Listener) -> None:
    with stranger(manner=manner) as there:
        address = replace(GONE, port=there.port)
        begun = time.monotonic()

        assert call(address).listener is listener
        assert time.monotonic() - begun < CALL_SECONDS + 5  # on a busy machine
        there.hears(b"GET /kiro/proof HTTP/1.1\r\n")
        assert learnt_nothing(there, address)


def test_who_takes_no_connection_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # fills its queue
            begun = time.monotonic()
            assert call(replace(GONE, port=port)).listener is Listener.SILENT
            assert time.monotonic() - begun < CALL_SECONDS + 5  # on a busy machine


def test_a_stranger_who_passes_the_question_on_to_the_gateway_fails(gateway: Address) -> None:
    with stranger(manner=f"relay:{gateway.port}") as there:
        address = replace(gateway, port=there.port)

        assert call(address, "POST", "/kiro/stop").listener is Listener.STRANGER
        assert learnt_nothing(there, gateway)
    assert call(gateway).listener is Listener.OURS


def test_a_program_of_another_user_is_not_even_connected_to(gateway: Address) -> None:
    user = other_user()
    with stranger(manner=f"relay:{gateway.port}", user=user) as there:
        answer = call(replace(gateway, port=there.port))

        assert (answer.listener, answer.uid) == (Listener.STRANGER, user)
        assert there.heard == b""


def test_what_is_said_of_a_stranger_names_address_and_user(home: Home) -> None:
    user = other_user()
    with stranger(user=user) as there:
        lost = Home(home.folder / "lost")
        announced(lost.state, replace(GONE, port=there.port))
        said = trouble(reach(lost.state))

    assert said is not None
    assert said.sentence() == (
        f"Where your gateway listened last (127.0.0.1:{there.port}), a program of the user nobody "
        f"(uid {user}) listens now. Neither the key nor a word of yours was sent there (KA-STRANGER). "
        "A program that you told this address by hand sends both there: end it, and tell it "
        "the new one (kiro-auth env)."
    )


def test_a_program_of_one_s_own_is_called_that(tmp_path: Path) -> None:
    with stranger() as there:
        announced(tmp_path, replace(GONE, port=there.port))
        said = trouble(reach(tmp_path))

    assert said is not None
    assert f"(127.0.0.1:{there.port}), another program of yours listens now." in said.message


def test_of_a_gateway_that_is_gone_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert trouble(reach(tmp_path)) is None
    announced(tmp_path, GONE)
    found = reach(tmp_path)

    assert (found.answer.listener, found.held, trouble(found)) == (Listener.NOBODY, False, None)


def test_one_that_has_just_begun_is_waited_for(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.started("serve") as process:
        end = time.monotonic() + 20
        while Seat(home.state).is_free() and time.monotonic() < end:
            time.sleep(0.01)
        found = reach(home.state)

        assert found.ours is not None
        assert found.ours.pid == process.pid


def test_a_gateway_that_hangs_is_told_from_a_stranger(tmp_path: Path) -> None:
    """Its place is taken, so that it is the one who does not answer."""
    seat = Seat(tmp_path)
    assert seat.take()
    with stranger(manner="says nothing") as there:
        seat.announce(replace(GONE, port=there.port, pid=os.getpid()))
        said = trouble(reach(tmp_path))
    seat.leave()

    assert said is not None
    assert said.message == f"The gateway at 127.0.0.1:{there.port} runs, but it does not answer."
    assert f"end process {os.getpid()}, if that is `kiro-auth serve`" in (said.next_step or "")


def announced(folder: Path, address: Address) -> None:
    """The state file that a gateway which was killed left behind."""
    seat = Seat(folder)
    assert seat.take()
    seat.announce(address)
    text = (folder / "gateway.json").read_bytes()
    seat.leave()
    (folder / "gateway.json").write_bytes(text)
