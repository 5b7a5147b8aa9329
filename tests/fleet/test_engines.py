"""A fleet whose database has no notices, as engines that span regions: a real PostgreSQL that says so.

Neither CockroachDB nor YugabyteDB was run.  What can be seen without them is which statements the program
sends when it takes its database for one of them; tests/store/test_statements.py has their documented limits.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest

from store.test_statements import NOTICES, UNSUPPORTED
from support.crowd import Client, Ended
from support.fleet import Fleet, fleet, note, until
from support.postgres import Cluster, cluster
from support.virtual import APIS

pytestmark = [pytest.mark.clients, pytest.mark.outside, pytest.mark.timeout(120)]

ENGINES: Final = {
    "CockroachDB": "CockroachDB CCL v25.4.0 (x86_64-pc-linux-gnu)",
    "YugabyteDB": "PostgreSQL 15.12-YB-2025.2.0.0-b0 on x86_64-pc-linux-gnu, 64-bit",
}
_LOGGED: Final = re.compile(r"^(\d+)\|LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)", re.MULTILINE)


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as server:
        server.execute("ALTER SYSTEM SET log_line_prefix = '%p|'")
        server.execute("SELECT pg_reload_conf()")
        yield server


def saying(server: Cluster, name: str, version: str) -> str:
    """A new database which says that it is of this version, and logs all statements; its address."""
    url = server.new_database(name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA engine")
        connection.execute(
            f"CREATE FUNCTION engine.version() RETURNS text LANGUAGE sql AS $$ SELECT '{version}'::text $$"
        )
        connection.execute(f"ALTER DATABASE \"{name}\" SET log_statement = 'all'")
    return f"{url}?options=-csearch_path%3Dengine,pg_catalog"


def logged(server: Cluster, since: int) -> list[tuple[str, str]]:
    """The process and the text of every statement that came after so many characters of the log."""
    return [(found[1], found[2]) for found in _LOGGED.finditer(server.log()[since:])]


async def asked(found: Fleet, secret: str, count: int) -> list[Ended]:
    async with Client(found.url) as client:
        return await asyncio.gather(
            *(
                client.turn("ann", secret, APIS[n % 3], f"ann-{n % 10}", stream=n % 2 == 0)
                for n in range(count)
            )
        )


def worked(found: Fleet) -> None:
    """What a team does with its database."""
    secret = found.create_key("ann", "--budget", "50/day", "--concurrency", "80")
    turns = asyncio.run(asked(found, secret, 60))
    assert [turn.words[-300:] for turn in turns if not turn.is_whole] == []
    found.until_rows_of({turn.request_id or "" for turn in turns})
    found.home.run("keys", "rotate", "ann")
    found.home.run("keys", "list")
    found.home.run("keys", "revoke", "ann")
    found.home.run("usage", "--by", "key")
    found.home.run("store", "check")
    found.home.run("store", "migrate")
    until(lambda: asyncio.run(asked(found, secret, 1))[0].status == 401, "the revoked key is refused")
    name = found.home.json("accounts")["accounts"][0]["name"]
    found.home.run("accounts", "remove", name, "--yes")


@pytest.mark.parametrize("engine", ENGINES)
def test_where_the_engine_has_no_notices_none_is_used_and_nothing_else_that_it_lacks(
    engine: str, server: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = saying(server, engine.lower(), ENGINES[engine])
    begin = len(server.log())
    with fleet(tmp_path, server, accounts=2, database=url) as found:
        worked(found)
        time.sleep(3)  # polls and beats
    sent = logged(server, begin)
    texts = {text for _, text in sent}

    assert len(sent) > 300
    assert [text for text in texts if NOTICES.match(text)] == []
    for feature, pattern in UNSUPPORTED.items():
        found_there = [t for t in texts if re.search(pattern, t, re.IGNORECASE | re.DOTALL)]
        assert found_there == [], feature
    assert changes_in_transactions(sent) == []
    note(
        capsys, f"statements to a database that says it is {engine}", {"sent": len(sent), "kinds": len(texts)}
    )


def changes_in_transactions(sent: list[tuple[str, str]]) -> list[str]:
    """Statements that make tables while a transaction was open: those engines commit it before."""
    open_, found = set(), []
    for process, text in sent:
        word = text.split(None, 1)[0].upper().rstrip(";")
        if word == "BEGIN":
            open_.add(process)
        elif word in ("COMMIT", "ROLLBACK"):
            open_.discard(process)
        elif word in ("CREATE", "ALTER", "DROP") and process in open_:
            found.append(text)
    return found
