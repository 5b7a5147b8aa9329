"""Two releases on one schema: what a later step adds disturbs nobody who does not know of it."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from kiro_auth.store.schema import STEPS
from support import next_release
from support.crowd import Client, Ended, reply
from support.fleet import Fleet, fleet, note, until
from support.postgres import Cluster, cluster

pytestmark = [pytest.mark.clients, pytest.mark.outside, pytest.mark.timeout(150)]

CHATS: Final = 12
NEXT: Final = [sys.executable, "-P", str(Path(next_release.__file__))]
_COLUMNS: Final = """
    SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity
    FROM information_schema.columns WHERE table_schema = 'kiro_auth' ORDER BY 1, 2
"""
_KEYS: Final = """
    SELECT conrelid::regclass::text, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'kiro_auth'::regnamespace ORDER BY 1, 2, 3
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as server:
        yield server


def migrated_by_next(found: Fleet) -> None:
    done = subprocess.run(
        [*NEXT, "store", "migrate"], env=found.home.environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


def renewals(found: Fleet) -> list[int]:
    """Their statuses, as the service gave them."""
    calls = found.simulator.calls("CreateToken")
    return [call["status"] for call in calls if call["body"]["grantType"] == "refresh_token"]


async def upgraded(found: Fleet, secret: str) -> list[Ended]:
    """Under load the next release migrates, replaces one replica, and goes; an older one starts anew."""
    over = asyncio.Event()
    async with Client(found.url) as client:
        chats = [
            asyncio.create_task(
                client.turns(
                    "team", secret, (f"team-{n}-{k}" for k in itertools.count()), lambda: not over.is_set(), n
                )
            )
            for n in range(CHATS)
        ]
        try:
            await asyncio.sleep(1)
            await asyncio.to_thread(migrated_by_next, found)
            first, second, _ = found.replicas
            for replica, command in ((first, NEXT), (second, second.command), (first, second.command)):
                await asyncio.to_thread(replica.drain)
                replica.command = command
                replica.begin()
                await asyncio.to_thread(replica.until_ready)
                await asyncio.sleep(2)
            await asyncio.to_thread(until, lambda: renewals(found), "a token is renewed")
        finally:
            over.set()
        return [turn for turns in await asyncio.gather(*chats) for turn in turns]


def test_replicas_go_on_while_the_next_release_adds_a_step_and_serve_beside_it(
    server: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, margin = {"tokenSeconds": 38}, {"KIRO_TOKEN_EXPIRY_BUFFER_MS": "30000"}
    with fleet(tmp_path, server, settings=settings, KIRO_MAX_CONCURRENT_PER_ACCOUNT="6", **margin) as found:
        secret = found.create_key("team", "--budget", "1000/day")
        found.simulator.script(*(reply(0.1, 0.3, 0.3) for _ in range(2000)))
        turns = asyncio.run(upgraded(found, secret))

        failed = [turn for turn in turns if not turn.is_whole]
        # What came as a replica closed its door is nginx's refusal, as it does not ask for /ready here.
        assert [(t.status, t.broke, t.words[-300:]) for t in failed if t.status != 502] == []
        assert len(failed) <= CHATS
        found.until_rows_of({turn.request_id or "" for turn in turns if turn.is_whole})
        assert found.rows("SELECT max(number) FROM kiro_auth.steps") == [(len(STEPS) + 1,)]
        assert found.rows("SELECT count(*) FROM kiro_auth.accounts WHERE later_still = 7") == [(4,)]
        assert set(renewals(found)) == {200}
        assert "KA-DATABASE" not in "".join(replica.errors for replica in found.replicas)
        found.home.run("store", "check")
    figures = {"turns": len(turns), "failed": len(failed), "steps": f"{len(STEPS)} and {len(STEPS) + 1}"}
    note(capsys, "two releases on one schema", figures)


def described(url: str) -> tuple[set[Any], set[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return set(connection.execute(_COLUMNS).fetchall()), set(connection.execute(_KEYS).fetchall())


def test_each_step_only_adds_so_that_what_a_release_before_it_reads_and_writes_stays(
    server: Cluster, tmp_path: Path
) -> None:
    """Columns, types, defaults and keys of before are as they were, and a new column may be left out."""
    url = server.new_database(f"steps{time.time_ns()}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA kiro_auth")
        for statements in (*STEPS, next_release.STEP):
            columns, keys = described(url)
            for statement in statements:
                connection.execute(statement)
            after_columns, after_keys = described(url)
            old_tables = {column[0] for column in columns}
            added = {column for column in after_columns - columns if column[0] in old_tables}

            assert columns <= after_columns
            assert {key for key in after_keys if key[0].split(".")[-1] in old_tables} == keys
            assert [c for c in added if c[3] == "NO" and c[4] is None and c[5] == "NO"] == []
