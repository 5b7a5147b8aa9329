"""Two gateways of one machine that share their accounts in one SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kiro_auth.store.sqlite import FILE, SqliteStore
from kiro_auth.store.written import Writing
from support.ports import free_port
from support.programs import KEY, Home
from support.storing import HandStore, at_once
from system.test_database_store import ask
from system.test_refresh_processes import ask_all, gateway

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.environment |= {"KIRO_GATEWAY_KEY": KEY, "KIRO_STORE": "sqlite"}
    return home


@pytest.mark.clients
def test_two_gateways_renew_once_and_count_requests_of_an_account_together(home: Home) -> None:
    home.environment["KIRO_MAX_CONCURRENT_PER_ACCOUNT"] = "1"
    with (
        home.simulator("--auto-approve") as simulator,
        contextlib.ExitStack() as running,
        ThreadPoolExecutor(1) as pool,
    ):
        home.run("login", "--builder-id", "--no-browser")
        url = running.enter_context(gateway(home))
        store = SqliteStore(home.config, home.state / "locks", Writing(None))
        running.callback(store.close)
        account = store.snapshot().accounts[0]
        at_once(store.change(account["id"], {"expiresAt": 1}))
        simulator.ask("advance", {"seconds": 7200})
        before = len(simulator.calls("CreateToken"))
        port = free_port()
        with home.started("serve", "--port", str(port)) as killed:
            assert killed.stdout is not None
            assert f":{port}" in killed.stdout.readline()
            second = f"http://127.0.0.1:{port}"
            statuses = asyncio.run(ask_all([url, second]))
            assert statuses == [200] * len(statuses)
            assert len(simulator.calls("CreateToken")) - before == 1
            assert store.snapshot().accounts[0]["refreshToken"] != account["refreshToken"]

            calls = len(simulator.calls())
            simulator.script({"steps": [{"text": "begun"}, {"pause": 60}, {"text": " finished"}]})
            streaming = pool.submit(asyncio.run, ask(second, stream=True))
            while len(simulator.calls()) == calls:
                time.sleep(0.02)
            waiting = ThreadPoolExecutor(1)
            other = waiting.submit(asyncio.run, ask(url))
            time.sleep(1)
            assert not other.done(), "the other gateway holds the account's only place"
            killed.kill()
            assert other.result()[0] == 200
            assert streaming.exception() is not None
            waiting.shutdown()

        assert not (home.config / "kiro-accounts.json").exists()
        assert {path.stat().st_mode & 0o777 for path in home.config.glob(f"{FILE}*")} == {0o600}


def status_with(key: str, url: str) -> int:
    said = [{"role": "user", "content": "Hi"}]
    body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": said}
    request = urllib.request.Request(
        f"{url}/v1/messages",
        json.dumps(body).encode(),
        {"x-api-key": key, "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.clients
def test_accounts_and_keys_go_from_the_files_into_the_file_and_back(home: Home) -> None:
    with home.simulator("--auto-approve"):
        home.environment["KIRO_STORE"] = "files"
        home.run("login", "--builder-id", "--no-browser")
        made = json.loads(home.run("keys", "create", "ann", "--json").stdout)
        key, key_id = made["key"], made["id"]
        name = home.json("accounts")["accounts"][0]["id"]

        said = home.run("store", "copy", "--to", "sqlite").stdout
        assert "Copied 1 account, 1 client key and 0 turns of the ledger; 0 accounts there already" in said
        home.environment["KIRO_STORE"] = "sqlite"
        (home.config / "kiro-accounts.json").unlink()
        (home.config / "client-keys.json").unlink()
        checked = home.run("store", "check").stdout
        assert re.sub(r"\s+", " ", checked).startswith("Accounts are kept in the file ")
        assert "in clear: 1 account, all readable" in checked
        home.environment["KIRO_STORE_KEY"] = "A" * 43 + "="
        assert "1 account not sealed with the newest key" in home.run("store", "check").stderr
        assert "had all tables already; 1 account sealed anew" in home.run("store", "migrate").stdout
        assert "sealed: 1 account, all readable" in home.run("store", "check").stdout
        assert [account["id"] for account in home.json("accounts")["accounts"]] == [name]
        assert b"refreshToken" not in (home.config / FILE).read_bytes()
        with gateway(home) as url:
            assert status_with(key, url) == 200
            home.run("keys", "revoke", "ann")
            end = time.monotonic() + 20  # a second, and what a busy machine adds

            while status_with(key, url) == 200:
                assert time.monotonic() < end
                time.sleep(0.05)
        (row,) = home.json("usage", "--by", "key")["rows"]
        assert row["key"] == key_id
        assert home.run("store", "copy", "--to", "files").stdout.startswith("Copied 1 account, 1 client key")
        assert home.accounts()[0]["refreshToken"]


@pytest.mark.parametrize(("used", "other"), [("sqlite", "files"), ("files", "sqlite")])
def test_logout_says_where_the_account_was_left_by_a_copy_and_forgets_it_there(
    home: Home, used: str, other: str
) -> None:
    tokens = [b"secret-access", b"secret-refresh"]
    record = {"id": "a" * 32, "accessToken": "secret-access", "refreshToken": "secret-refresh"}
    HandStore(home.config, home.state / "locks").add_account({**record, "expiresAt": 1})
    home.environment["KIRO_STORE"] = "files"
    home.run("store", "copy", "--to", "sqlite")

    def holders() -> list[str]:
        files = (file for file in home.folder.rglob("*") if file.is_file())
        return [file.name for file in files if any(token in file.read_bytes() for token in tokens)]

    home.environment["KIRO_STORE"] = used
    words = " ".join(home.run("logout", "a" * 32, "--yes").stderr.split())
    assert f"Its tokens may still be in {other}" in words
    assert {name.removesuffix("-wal") for name in holders()} == {
        {"sqlite": FILE, "files": "kiro-accounts.json"}[other]
    }
    home.environment["KIRO_STORE"] = other
    command = words.rpartition(f"KIRO_STORE={other} kiro-auth ")[2]
    assert home.run(*shlex.split(command), "--yes").stderr == ""
    assert holders() == []


def test_doctor_closes_the_file_to_others_and_a_place_that_is_none_is_refused(home: Home) -> None:
    assert "made 1 step; 0 accounts sealed anew" in home.run("store", "migrate").stdout
    (home.config / FILE).chmod(0o640)
    assert f"others can read {home.config / FILE}" in home.run("doctor", check=False).stdout
    for arguments in (("--from", "sqlite"), ("--to", "sqlite"), ("--from", "files", "--to", "files")):
        assert "copied to where it is" in home.run("store", "copy", *arguments, check=False).stderr
    refused = home.run("store", "copy", "--from", "mysql://db", check=False)
    assert (refused.returncode, "files, sqlite, or the address" in refused.stderr) == (2, True)
