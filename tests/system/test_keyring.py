"""Tokens in a real keyring of the system: GNOME Keyring, with commands and gateways as people run them."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from kiro_auth.store.apart import SECRETS
from support.programs import KEY, Home, Simulator
from support.renew_in_keyring import opened, recovered
from support.secret_service import SecretService, secret_service
from support.storing import at_once
from system.test_database_store import ask
from system.test_refresh_processes import gateway

# The library leaves its connection to the system's garbage collection where a keyring refuses to open.
pytestmark = pytest.mark.filterwarnings("default:unclosed <socket.socket:ResourceWarning")
TESTS = Path(__file__).parents[1]
KILLS = 20


@pytest.fixture
def keyring() -> Iterator[SecretService]:
    with secret_service() as keyring:
        yield keyring
    gc.collect()  # here, where it is known, not in another test


@pytest.fixture
def home(tmp_path: Path, keyring: SecretService) -> Home:
    home = Home(tmp_path / "home")
    home.environment |= {"KIRO_GATEWAY_KEY": KEY, **keyring.environment}
    return home


def option(home: Home, value: str) -> None:
    (home.config / "kiro.json").write_text(json.dumps({"secrets": value}))


def accounts_file(home: Home) -> Any:
    document = json.loads((home.config / "kiro-accounts.json").read_bytes())
    document.pop("kiroAuth", None)
    return document


def files_of(home: Home) -> str:
    paths = [*home.config.rglob("*"), *home.state.rglob("*")]
    return "\n".join(path.read_bytes().decode(errors="replace") for path in paths if path.is_file())


def asked(url: str) -> tuple[int, str]:
    status, words, _ = asyncio.run(ask(url))
    return status, words


@pytest.mark.timeout(180)
def test_there_through_renewals_a_lock_and_a_kill_and_back_nothing_is_lost_and_nothing_is_in_clear(
    home: Home, keyring: SecretService
) -> None:
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        before = accounts_file(home)
        secrets = [before["accounts"][0][name] for name in SECRETS]
        option(home, "keyring")

        done = home.run("accounts", "migrate-secrets")

        assert "the tokens of 1 account are in the system's keyring now" in done.stdout
        assert "the original plugin" in done.stderr
        assert "cannot use them" in done.stderr
        held = "\n".join(keyring.entries().values())
        assert [secret for secret in secrets if secret not in held] == []
        assert [secret for secret in secrets if secret in files_of(home)] == []
        found = home.run("doctor", check=False).stdout
        assert "the system's keyring opens, and holds the tokens of 1 account" in found

        with gateway(home) as url:
            assert asked(url)[0] == 200
            simulator.ask("advance", {"seconds": 7200})
            assert asked(url)[0] == 200
            assert len(simulator.calls("CreateToken")) == 2
            assert len(keyring.entries()) == 1
            (entry,) = keyring.entries().values()
            new = json.loads(entry.partition(" ")[2])
            assert new["refreshToken"] not in secrets
            assert new["refreshToken"] not in files_of(home)

        lose_nothing_in_a_kill_while_it_is_locked(home, keyring, simulator)

        option(home, "files")
        home.run("accounts", "migrate-secrets")
        after = accounts_file(home)
        assert keyring.entries() == {}
        assert list(after) == list(before)
        assert list(after["accounts"][0]) == list(before["accounts"][0])
        assert after["accounts"][0]["clientSecret"] == before["accounts"][0]["clientSecret"]
        with gateway(home) as url:
            assert asked(url)[0] == 200


def lose_nothing_in_a_kill_while_it_is_locked(
    home: Home, keyring: SecretService, simulator: Simulator
) -> None:
    renewals = len(simulator.calls("CreateToken"))
    with home.started("serve", "--port", "0") as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(";")
        assert asked(url)[0] == 200
        keyring.lock()
        simulator.ask("advance", {"seconds": 7200})
        status, words = asked(url)
        assert status == 200, words  # with the new token, which is kept aside
        assert len(simulator.calls("CreateToken")) == renewals + 1
        told = home.run("doctor", check=False).stdout
        assert "could not be saved; it is kept aside" in told
        assert "is locked (KA-KEYRING)" in told
        assert "is locked (KA-KEYRING)" in home.run("status", check=False).stderr
        process.kill()
        process.wait()
    with gateway(home) as url:
        status, words = asked(url)
        assert (status == 200, "KA-KEYRING" in words, "Unlock it" in words) == (False, True, True), words
        done = home.process("accounts", check=False)
        assert (done.returncode, "is locked (KA-KEYRING)" in done.stderr) == (1, True)
        keyring.unlock()
        end = time.monotonic() + 60
        while asked(url)[0] != 200 or any((home.state / "renewals").iterdir()):
            assert time.monotonic() < end
            time.sleep(0.2)
        assert len(simulator.calls("CreateToken")) == renewals + 1
    assert home.json("accounts")["accounts"][0]["state"] == "ready"


@pytest.mark.clients
@pytest.mark.timeout(180)
def test_a_kill_at_any_moment_of_a_renewal_loses_no_token_and_leaves_no_other_entry(
    keyring: SecretService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in keyring.environment.items():
        monkeypatch.setenv(name, value)
    at_once(opened(tmp_path).add({"id": "a", "refreshToken": "refresh-0", "accessToken": "refresh-0"}))
    chance = random.Random(17)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    numbers = [0]
    for run in range(KILLS):
        command = [sys.executable, "-m", "support.renew_in_keyring", str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            first = "".join(process.stdout.readline() for _ in range(1 + run % 2))
            time.sleep(chance.uniform(0, 0.3))
            process.kill()
            written = [int(line) for line in (first + process.stdout.read()).split()]
        found = at_once(recovered(opened(tmp_path), "a"))
        assert found - written[-1] in (0, 1), "the newest may have come just before its number was printed"
        assert written[0] == numbers[-1] + 1
        numbers.append(found)
    assert list((tmp_path / "renewals").iterdir()) == []
    assert len(keyring.entries()) <= 2  # a spent one stays until the next renewal
    assert at_once(opened(tmp_path).remove("a"))
    assert keyring.entries() == {}


@pytest.mark.clients
@pytest.mark.timeout(120)
def test_with_the_option_a_sign_in_goes_to_the_keyring_and_logout_clears_it(
    home: Home, keyring: SecretService
) -> None:
    home.config.mkdir(parents=True, exist_ok=True)
    option(home, "keyring")
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        (record,) = accounts_file(home)["accounts"]
        assert [record[name] for name in SECRETS] == ["", "", ""]
        assert len(keyring.entries()) == 1

        asked = home.terminal("accounts", "migrate-secrets")
        asked.expect("Nothing to move")
        asked.expect(pexpect.EOF)
        option(home, "files")
        asked = home.terminal("accounts", "migrate-secrets")
        asked.expect("in clear")
        asked.expect_exact("Move them? [y/N]: ")
        asked.sendline("n")
        asked.expect("Nothing was changed")
        asked.expect(pexpect.EOF)
        assert len(keyring.entries()) == 1

        keyring.lock()
        option(home, "keyring")
        done = home.process("login", "--builder-id", "--no-browser", check=False)
        assert (done.returncode, "is locked (KA-KEYRING)" in done.stderr) == (1, True), done.stderr
        assert len(simulator.calls("StartDeviceAuthorization")) == 1  # nobody is asked in vain
        keyring.unlock()

        home.run("logout", "--yes", record["id"])

        assert keyring.entries() == {}
        assert accounts_file(home)["accounts"] == []


@pytest.mark.clients
@pytest.mark.timeout(120)
def test_a_command_in_a_session_without_a_keyring_says_what_to_do(home: Home, keyring: SecretService) -> None:
    home.config.mkdir(parents=True, exist_ok=True)
    option(home, "keyring")
    with home.simulator("--auto-approve"):
        home.run("login", "--builder-id", "--no-browser")
        for name in keyring.environment:
            del home.environment[name]
        done = home.process("accounts", check=False)
        assert done.returncode == 1
        assert "no keyring of the system here" in done.stderr
        option(home, "files")
        home.run("accounts", "migrate-secrets", "--give-up")
        assert home.json("accounts")["accounts"][0]["state"] == "sign-in"
        home.run("login", "--builder-id", "--no-browser")
        states = [account["state"] for account in home.json("accounts")["accounts"]]
        assert states == ["sign-in", "ready"]  # the simulator signs in one person after the other
