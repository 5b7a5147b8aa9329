"""A stranger listens where the gateway was: neither generation of OpenCode sends him a key or a word."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.opencode import VERSIONS, OpenCode, Served
from support.opencode2 import opened
from support.processes import until_gone
from support.programs import Home
from support.stranger import NOBODY, Stranger, other_user, stranger

pytestmark = [
    pytest.mark.real,
    pytest.mark.clients,
    pytest.mark.usefixtures("signed_in"),
    pytest.mark.timeout(240),
]

PROMPT = "my very private prompt"
ANSWER = "Hello from the simulated model"
OTHERS = [pytest.param(NOBODY, id="of another user"), pytest.param(None, id="without the secret")]
MANNERS = ["claims", "polite", "garbage", "endless head", "hangs up", "silent"]


@pytest.fixture(autouse=True)
def kept_port(signed_in: Home) -> None:
    """Where the stranger listens once the gateway is gone, nobody else does."""
    signed_in.keep_address()


def gateway_of(home: Home) -> dict[str, Any]:
    return dict(json.loads((home.state / "gateway.json").read_text()))


def killed(home: Home) -> dict[str, Any]:
    """What a gateway announced that runs no more, and could not take it back."""
    gateway = gateway_of(home)
    os.kill(gateway["pid"], 9)
    until_gone(gateway["pid"])
    return gateway


def assert_nothing_was_given_away(there: Stranger, *gateways: dict[str, Any]) -> None:
    time.sleep(0.1)  # what was sent last is on its way
    heard = there.heard.decode(errors="replace")
    secrets = {gateway[name] for gateway in gateways for name in ("key", "secret")}
    assert not [word for word in (*secrets, PROMPT, "KiroProof") if word in heard]
    assert set(re.findall(r"^[A-Z]+ /\S*", heard, re.MULTILINE)) <= {"GET /kiro/proof"}


@pytest.mark.older_releases
@pytest.mark.parametrize("user", OTHERS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_window_of_1x_after_a_kill(home: Home, version: str, user: int | None) -> None:
    opencode = OpenCode(version, home)
    assert opencode.ask("Say hello.").returncode == 0
    before = killed(home)

    with stranger(before["port"], "claims", user=user and other_user()) as there:
        opencode.ask(PROMPT)

        assert_nothing_was_given_away(there, before, gateway_of(home))
    assert ANSWER in opencode.kept()[-1]
    assert gateway_of(home)["port"] != before["port"]


@pytest.fixture
def window(home: Home) -> Iterator[Served]:
    """OpenCode 1.18 that stays open."""
    with OpenCode(VERSIONS[0], home).serving() as served:
        yield served


@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.parametrize("user", OTHERS)
def test_a_window_of_1x_that_stays_open(home: Home, window: Served, user: int | None, end: str) -> None:
    assert ANSWER in window.ask("Say hello.")
    before = gateway_of(home)
    if end == "killed":
        killed(home)
    else:
        home.run("stop")  # it takes its address back, as at the end of an idle time

    with stranger(before["port"], "claims", user=user and other_user()) as there:
        assert ANSWER in window.ask(PROMPT)

        assert_nothing_was_given_away(there, before, gateway_of(home))


@pytest.mark.parametrize("runtime", ["node", "bun"])
@pytest.mark.parametrize("manner", MANNERS)
def test_2x_whatever_the_stranger_answers(signed_in: Home, runtime: str, manner: str) -> None:
    with opened(signed_in, runtime=runtime) as service:
        assert service.turn("Say hello.")["status"] == 200
        before = killed(signed_in)
        with stranger(before["port"], manner) as there:
            turn = service.turn(PROMPT)

            there.hears(b"GET /kiro/proof")
            assert_nothing_was_given_away(there, before, gateway_of(signed_in))
    assert turn["status"] == 200
    assert ANSWER in turn["words"]


def test_2x_and_a_listener_of_another_user(signed_in: Home) -> None:
    with opened(signed_in) as service:
        assert service.turn("Say hello.")["status"] == 200
        before = killed(signed_in)
        with stranger(before["port"], "polite", user=other_user()) as there:
            turn = service.turn(PROMPT)

            time.sleep(0.1)
            assert there.heard == b""  # not even the question
            told = service.ask("notices", file=str(signed_in.config / "plugin" / "kiro.js"))
    assert turn["status"] == 200
    assert ANSWER in turn["words"]
    assert any(f"127.0.0.1:{before['port']}" in notice for notice in told)


def test_2x_and_a_stranger_who_passes_the_question_on_to_the_real_gateway(signed_in: Home) -> None:
    """The proof says where the gateway listens, so it is none for another port."""
    with opened(signed_in) as service:
        assert service.turn("Say hello.")["status"] == 200
        real = gateway_of(signed_in)
        with stranger(0, f"relay:{real['port']}") as there:
            announced = {**real, "port": there.port}
            (signed_in.state / "gateway.json").write_text(json.dumps(announced))
            turn = service.turn(PROMPT)

            there.hears(b"GET /kiro/proof")
            assert_nothing_was_given_away(there, real)
            (signed_in.state / "gateway.json").write_text(json.dumps(real))
    # The gateway keeps its place, so no other can be started; that is said, and nothing is sent.
    assert turn["status"] == 400
    assert "no answer in 20 seconds" in turn["text"]
