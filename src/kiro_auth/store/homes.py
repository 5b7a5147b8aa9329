"""Which account each conversation stays with, for all replicas of a database.

The ids of conversations, which clients choose, are kept as their SHA-256 alone.
"""

from __future__ import annotations

import contextlib
from hashlib import sha256
from typing import Final

from kiro_auth.failures import StoreFailed
from kiro_auth.store.database import Database, Work
from kiro_auth.store.schema import Connection

UNUSED_DAYS: Final = 30
"""After so many days without a request a conversation is forgotten."""


class DatabaseHomes:
    """See `Homes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def home(self, session: str | None) -> str | None:
        """See `Homes.home`."""
        if session is None:
            return None
        key = _hashed(session)

        async def look(connection: Connection) -> str | None:
            found = await connection.execute(
                "SELECT account, used < current_date FROM kiro_auth.homes WHERE session = %s", [key]
            )
            row = await found.fetchone()
            if row is None:
                return None
            account_id, is_of_another_day = row
            if is_of_another_day:
                await connection.execute(
                    "UPDATE kiro_auth.homes SET used = current_date WHERE session = %s", [key]
                )
            return str(account_id)

        return await self._database.call(look)

    def settle(self, session: str | None, account_id: str) -> None:
        """See `Homes.settle`.  Where it fails, the next request of the conversation settles it."""
        if session is None:
            return
        key = _hashed(session)

        async def settle(connection: Connection) -> None:
            await connection.execute(
                "INSERT INTO kiro_auth.homes (session, account) VALUES (%s, %s) "
                "ON CONFLICT (session) DO UPDATE SET account = excluded.account, used = excluded.used",
                [key, account_id],
            )
            if key[0] == 0:  # now and then, by chance, as hashes are spread evenly
                await forget_unused(connection)

        self._database.do_soon(lambda: self._database.keep_running(self._done(settle)))

    async def _done(self, work: Work[None]) -> None:
        with contextlib.suppress(StoreFailed):
            await self._database.run(work)


async def forget_unused(connection: Connection) -> None:
    """Remove the conversations that had no request for UNUSED_DAYS.  Raises psycopg.Error."""
    await connection.execute(
        "DELETE FROM kiro_auth.homes WHERE used < current_date - %s::integer", [UNUSED_DAYS]
    )


def _hashed(session: str) -> bytes:
    return sha256(session.encode(errors="surrogatepass")).digest()
