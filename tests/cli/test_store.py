"""`kiro-auth store` with a real database: what it prints, and that no password stands in what is shown."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest

from kiro_auth.ledger.local import FILE, LocalLedger
from kiro_auth.ledger.row import row_of
from kiro_auth.ledger.spool import FOLDER, new_spool
from kiro_auth.store.schema import STEPS
from support.postgres import KEY as STORE_KEY
from support.postgres import Cluster
from support.programs import Home
from support.storing import HandStore
from support.turns import turn_ended

PASSWORD = "correct-horse-battery"
ACCOUNT = {"id": "a" * 32, "accessToken": "secret-access", "refreshToken": "secret-refresh", "expiresAt": 1}


@pytest.fixture(scope="module")
def server(postgres: Cluster) -> Cluster:
    return postgres


def key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


@pytest.fixture
def home(tmp_path: Path, server: Cluster) -> Home:
    home = Home(tmp_path)
    url = server.new_database(f"d{tmp_path.name}").replace("@", f":{PASSWORD}@")
    home.environment |= {"KIRO_STORE": url, "KIRO_STORE_KEY": base64.b64encode(STORE_KEY).decode()}
    return home


def test_files_go_into_the_database_and_back_and_a_key_is_changed(home: Home) -> None:
    HandStore(home.config, home.state / "locks").add_account(ACCOUNT)
    LocalLedger(home.state / FILE).add_missing([row_of(turn_ended(when=time.time(), request_id="req_1"))])

    assert "lacks tables" in home.process("store", "check", check=False).stderr
    assert f"made {len(STEPS)} steps; 0 accounts sealed anew" in home.run("store", "migrate").stdout
    assert "had all tables already" in home.run("store", "migrate").stdout
    assert (
        "Copied 1 account, 0 client keys and 1 turn of the ledger; 0 accounts there already"
        in home.run("store", "copy", "--from", "files").stdout
    )
    assert (
        "Copied 0 accounts, 0 client keys and 0 turns of the ledger; 1 account there already"
        in home.run("store", "copy", "--from", "files").stdout
    )
    assert [account["id"] for account in home.json("accounts")["accounts"]] == [ACCOUNT["id"]]

    old = home.environment["KIRO_STORE_KEY"]
    home.environment["KIRO_STORE_KEY"] = key(7)
    assert "sealed with another key" in home.process("store", "check", check=False).stderr
    home.environment["KIRO_STORE_KEY"] = f"{key(7)} {old}"
    assert "1 account not sealed with the newest key" in home.process("store", "check").stderr
    assert "1 account sealed anew" in home.run("store", "migrate").stdout
    home.environment["KIRO_STORE_KEY"] = key(7)
    assert home.json("store", "check")["accounts"] == 1

    spool = new_spool(home.state / FOLDER)
    spool.append(b"{}\n")
    assert home.json("store", "check")["turnsWaiting"] == 1
    assert "1 turn of this machine not in the ledger yet" in home.run("store", "check").stderr
    spool.forget(3)
    spool.close()
    assert home.json("store", "check")["turnsWaiting"] == 0

    (home.config / "kiro-accounts.json").unlink()
    assert home.json("store", "copy", "--to", "files") == {
        "added": [ACCOUNT["id"]], "thereAlready": [], "keys": 0, "keysLeftOut": [], "turns": 0,
        "unreadable": [],
    }  # fmt: skip
    del home.environment["KIRO_STORE"]
    assert home.accounts()[0]["refreshToken"] == "secret-refresh"


def test_no_command_shows_the_password_of_the_address(home: Home) -> None:
    home.run("store", "migrate")
    commands = ["config show", "config show --json", "config check", "store check", "doctor", "status",
                "accounts"]  # fmt: skip
    shown = [home.run(*command.split(), check=False) for command in commands]
    shown.append(home.process("config", "show"))
    home.run("report", "report.md", folder=home.folder)
    for store in (
        f"postgresql://kiro:{PASSWORD}@127.0.0.1:1/kiro",
        f"postgresql://kiro:{PASSWORD}@127.0.0.1:port/kiro",
        f"postgresql://127.0.0.1/kiro?password={PASSWORD}",
        f"mysql://kiro:{PASSWORD}@127.0.0.1/kiro",
    ):
        home.environment["KIRO_STORE"] = store
        shown.append(home.run("store", "check", check=False))
    shown.append(home.process("store", "check", check=False))

    texts = [done.stdout + done.stderr for done in shown]
    texts += [path.read_text(errors="replace") for path in home.folder.rglob("*") if path.is_file()]
    assert [text for text in texts if PASSWORD in text] == []
    assert [done.returncode for done in shown[-5:]] == [1] * 5
    options = {row["name"]: row["value"] for row in json.loads(shown[1].stdout)["options"]}
    assert options["store"].startswith("postgresql://…@127.0.0.1:")


def test_a_store_that_cannot_be_understood_is_never_replaced_by_the_files(home: Home) -> None:
    HandStore(home.config, home.state / "locks").add_account(ACCOUNT)
    for wrong, words in [
        ({"KIRO_STORE": "postgres//db"}, "KIRO_STORE is"),
        ({"KIRO_STORE_KEY": ""}, "no key for it is set"),
    ]:
        right = dict(home.environment)
        home.environment |= wrong
        done = home.process("accounts", check=False)
        home.environment |= right
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
