"""What lies where files are expected, and what stays behind: the real program, from outside."""

from __future__ import annotations

import json
import os
import random
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kiro_auth.store.protocol import Renewed
from support.ports import free_port
from support.programs import KEY, KIRO_AUTH, Home
from support.storing import HandStore

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes, links and modes of POSIX")

ACCOUNTS, USAGE, CONFIG = "kiro-accounts.json", "kiro-usage.json", "kiro.json"
RECORD = {
    "id": "a" * 32,
    "label": "Mine",
    "authMethod": "idc",
    "accessToken": "access-of-mine",
    "refreshToken": "refresh-of-mine",
    "clientSecret": "secret-of-mine",
    "expiresAt": 4_000_000_000_000,
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def written(home: Home) -> None:
    """As the original wrote it."""
    home.config.mkdir(parents=True)
    (home.config / ACCOUNTS).write_text(json.dumps({"version": 1, "accounts": [RECORD], "activeIndex": 0}))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("placed", [pipe, endless])
@pytest.mark.parametrize("name", [ACCOUNTS, USAGE, CONFIG])
@pytest.mark.parametrize(
    "command", [["accounts"], ["status"], ["doctor"], ["logout", "Mine"], ["config", "check"]]
)
@pytest.mark.outside
def test_no_command_hangs_on_what_is_no_file(
    home: Home, placed: Callable[[Path], None], name: str, command: list[str]
) -> None:
    written(home)
    (home.config / name).unlink(missing_ok=True)
    placed(home.config / name)
    began = time.monotonic()

    done = home.run(*command, check=False)

    assert time.monotonic() - began < 40
    assert "Traceback" not in done.stderr
    if name == ACCOUNTS and command != ["config", "check"]:
        said = done.stdout + done.stderr
        assert "and not a file" in said
        assert str(home.config / ACCOUNTS) in said


@pytest.mark.parametrize("placed", [pipe, endless])
@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["key", "show"], "address.json"),
        (["key", "rotate"], "address.json"),
        (["env", "claude"], "address.json"),
        (["env", "claude"], "gateway.log"),
        (["logs"], "gateway.log"),
        (["logs"], "gateway.log.1"),
    ],
)
@pytest.mark.outside
def test_no_command_hangs_on_what_is_no_file_of_the_gateway(
    home: Home, placed: Callable[[Path], None], command: list[str], name: str
) -> None:
    home.state.mkdir(parents=True)
    home.environment["KIRO_API_KEY"] = f"ksk_{'a' * 40}"
    placed(home.state / name)
    began = time.monotonic()

    done = home.run(*command, check=False)

    assert time.monotonic() - began < 40
    assert done.returncode == 1
    assert str(home.state / name) in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr


@pytest.mark.outside
def test_the_gateway_starts_and_says_what_is_no_file(home: Home) -> None:
    home.config.mkdir(parents=True)
    home.state.mkdir(parents=True)
    for path in (home.config / CONFIG, home.config / USAGE, home.state / "gateway.json"):
        pipe(path)
    home.environment["KIRO_GATEWAY_KEY"] = KEY

    done = subprocess.run(
        [*KIRO_AUTH, "serve", "--port", "0"],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 1
    assert f"Move away what is at {home.state / 'gateway.json'}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("rest", ["nothing", "killed writers", "a copy", "a renewal"])
def test_after_logout_no_secret_of_the_account_is_anywhere(home: Home, rest: str) -> None:
    written(home)
    if rest == "killed writers":
        (home.config / f".{ACCOUNTS}-abcd3fgh").write_text(json.dumps(RECORD))
    elif rest == "a copy":
        home.run("accounts", "disable", "Mine")
    elif rest == "a renewal":
        fields = {"accessToken": "new-of-mine", "refreshToken": "newer-of-mine"}
        store = HandStore(home.config, home.state / "locks")
        store.ahead.keep(Renewed(RECORD["id"], RECORD["refreshToken"], fields))

    home.run("logout", "Mine")

    assert home.accounts() == []
    left = [path for path in home.folder.rglob("*") if path.is_file() and b"of-mine" in path.read_bytes()]
    assert left == []


def test_whatever_the_umask_what_a_command_makes_is_for_this_user_alone(home: Home) -> None:
    before = os.umask(0)
    try:
        home.run("accounts", "import", "--all", check=False)
        HandStore(home.config, home.state / "locks").add_account(RECORD)
        home.run("accounts", "disable", "Mine")
    finally:
        os.umask(before)

    for path in home.folder.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def malformed(number: int) -> list[bytes]:
    """Heads and bodies that no server can read, each with the key in it."""
    key = KEY.encode()
    head = b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: " + key + b"\r\n"
    sound = head + b"Content-Length: 2\r\n\r\n{}"
    heads = [
        head + b"Content-Length: abc\r\n\r\n{}",
        head + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n" + key,
        head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        head + b"bad header " + key + b"\r\n\r\n",
        head + b"x-a\x00b: " + key + b"\r\n\r\n",
        head + b"Expect: " + key + b"\r\n\r\n",
        head + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
        head + b"Cookie: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /v1/models?key=" + key + b" HTTP/9.9\r\n\r\n",
        b"GET http://[::1" + key + b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01" + key,
        key + b"\r\n\r\n",
    ]
    chance = random.Random(1)
    for _ in range(number):
        changed = bytearray(chance.choice([sound, *heads[:6]]))
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.choice([0, 10, 13, 32, 58, 65, 255])
        heads.append(bytes(changed))
    return heads


@pytest.mark.outside
def test_a_key_in_a_request_that_cannot_be_read_is_in_no_log(home: Home) -> None:
    home.environment |= {"KIRO_GATEWAY_KEY": KEY, "KIRO_ENABLE_LOG_API_REQUEST": "true"}
    port = free_port()
    said = home.folder / "said"
    with said.open("wb") as output:
        serving = subprocess.Popen(
            [*KIRO_AUTH, "serve", "--verbose", "--port", str(port)],
            env=home.environment,
            stdout=output,
            stderr=output,
        )
        try:
            end = time.monotonic() + 30
            while b"KIRO" not in said.read_bytes() and f":{port}".encode() not in said.read_bytes():
                assert time.monotonic() < end
                time.sleep(0.05)
            for sent in malformed(150):
                with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                    client.sendall(sent)
                    client.settimeout(0.03)
                    try:
                        client.recv(10)
                    except OSError:
                        continue
        finally:
            serving.terminate()
            serving.wait(30)

    logs = said.read_bytes() + b"".join(p.read_bytes() for p in home.state.rglob("*") if p.is_file())
    assert b"could not be read" in logs
    assert KEY.encode() not in logs
    assert b"Traceback" not in logs, logs[logs.find(b"Traceback") - 300 :][:3000].decode()
