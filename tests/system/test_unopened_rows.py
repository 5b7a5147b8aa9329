"""One row that does not open, met by real programs: the others serve, and it is told, kept, and removable."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.store.sealed import Sealer
from support.postgres import KEY as STORE_KEY
from support.postgres import Cluster
from support.programs import KEY, Home
from support.rows import InPostgres, InSqlite, Place
from system.test_database_store import ask
from system.test_refresh_processes import gateway

pytestmark = [pytest.mark.timeout(180), pytest.mark.clients]
LOST_KEY, ID = bytes(range(9, 41)), "b" * 32
ADA = "a***@example.com"


@pytest.fixture(params=["sqlite", "postgres"])
def placed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Home, Place]]:
    home = Home(tmp_path)
    home.environment |= {
        "KIRO_GATEWAY_KEY": KEY,
        "KIRO_STORE": "sqlite",
        "KIRO_STORE_KEY": base64.b64encode(STORE_KEY).decode(),
    }
    place: Place = InSqlite(home.config)
    if request.param == "postgres":
        server: Cluster = request.getfixturevalue("postgres")
        home.environment["KIRO_STORE"] = url = server.new_database(f"r{os.urandom(6).hex()}")
        place = InPostgres(url, tmp_path)
    with home.simulator("--auto-approve"):
        home.run("store", "migrate")
        home.run("login", "--builder-id", "--no-browser")
        record = {"id": ID, "refreshToken": "token-of-another-key"}
        place.insert(ID, Sealer([LOST_KEY]).seal(record, ID))
        yield home, place


def get(url: str, path: str) -> Any:
    request = urllib.request.Request(url + path, headers={"x-api-key": KEY})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def test_the_others_serve_and_it_is_named_wherever_accounts_are_shown(placed: tuple[Home, Place]) -> None:
    home, place = placed
    before = place.row(ID)

    with gateway(home) as url:
        assert [asyncio.run(ask(url))[0] for _ in range(3)] == [200] * 3
        told = json.loads(get(url, "/kiro/accounts"))
        page = urllib.request.Request(
            home.run("dashboard", "--no-browser").stdout.split()[-1], headers={"accept": "text/html"}
        )
        with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(
            page, timeout=30
        ) as answer:
            shown = answer.read().decode()
    log = (home.state / "gateway.log").read_text()
    listed, checked = home.process("accounts"), home.process("store", "check", check=False)
    doctor = home.process("doctor", "--json", check=False)

    words = f"The account {ID} cannot be read: it was sealed with another key"
    assert [account["name"] for account in told["accounts"]] == [ADA]
    [unreadable] = told["unreadable"]
    assert (unreadable["id"], unreadable["code"]) == (ID, "KA-STORE")
    assert unreadable["message"].startswith(words)
    assert f"kiro-auth accounts remove {ID}" in unreadable["nextStep"]
    assert home.json("accounts")["unreadable"] == [unreadable]
    assert log.count(words) == 1, log
    assert words in shown.replace("\n", " ")
    assert (words in " ".join(listed.stderr.split()), ADA in listed.stdout) == (True, True)
    assert (checked.returncode, "2 accounts, 1 cannot be read" in checked.stdout) == (1, True), checked
    [found] = [each for each in json.loads(doctor.stdout)["checks"] if words in each["message"]]
    assert (found["level"], found["code"]) == ("warning", "KA-STORE")
    assert "token-of-another-key" not in log + shown + listed.stderr + checked.stderr + doctor.stdout
    assert place.row(ID) == before


def test_it_stays_as_it_is_through_changes_a_new_key_and_copies_until_it_is_removed_by_its_id(
    placed: tuple[Home, Place], tmp_path: Path
) -> None:
    home, place = placed
    before = place.row(ID)
    new = base64.b64encode(bytes(range(7, 39))).decode()
    home.environment["KIRO_STORE_KEY"] = f"{new} {home.environment['KIRO_STORE_KEY']}"

    migrated = home.process("store", "migrate", "--json")
    home.run("accounts", "set", ADA, "--label", "mine")
    home.run("login", "--builder-id", "--no-browser")
    home.process("accounts", "disable", ID, check=False)
    copied = home.process("store", "copy", "--to", "files", "--json")
    exported = home.process("accounts", "export", str(tmp_path / "out.json"))

    assert (
        json.loads(migrated.stdout)["sealedAnew"],
        json.loads(migrated.stdout)["unreadable"][0]["id"],
    ) == (1, ID)
    assert len(json.loads(copied.stdout)["added"]) == 2
    assert [told["id"] for told in json.loads(copied.stdout)["unreadable"]] == [ID]
    assert ID in exported.stderr
    assert place.row(ID) == before
    home.environment["KIRO_STORE_KEY"] += f" {base64.b64encode(LOST_KEY).decode()}"
    assert len(home.json("accounts")["accounts"]) == 3, "the key that fits opens it"
    home.environment["KIRO_STORE_KEY"] = new
    assert home.process("accounts", "remove", "bbbb", "--yes", check=False).returncode != 0, "too short"
    assert f"Removed: {ID}." in home.run("accounts", "remove", ID[:14], "--yes").stdout
    assert place.execute("SELECT count(*) FROM " + place.table()) == [(2,)]
    assert home.json("accounts")["unreadable"] == []


def test_with_a_key_that_fits_no_row_every_command_says_that_the_key_is_wrong(
    placed: tuple[Home, Place],
) -> None:
    home, place = placed
    rows = place.execute("SELECT id, record FROM " + place.table() + " ORDER BY id")
    home.environment["KIRO_STORE_KEY"] = base64.b64encode(bytes(32)).decode()

    for command in (
        ("accounts",),
        ("store", "check"),
        ("store", "migrate"),
        ("login", "--builder-id", "--no-browser"),
    ):
        done = home.process(*command, check=False)
        assert done.returncode == 1, done
        assert "sealed with another key" in " ".join(done.stderr.split())
    assert place.execute("SELECT id, record FROM " + place.table() + " ORDER BY id") == rows
