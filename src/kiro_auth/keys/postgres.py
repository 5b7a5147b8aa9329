"""Client keys and their audit in the database that gateways share.

A request reads what is in memory.  A change gives the note `keys` another value, and every gateway fetches
the keys when its store's mirror sees that.  Whoever changes keys holds that note's row until it is done, so
of two commands that make one name the second sees the key of the first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from kiro_auth.events import noted
from kiro_auth.keys.key import ClientKey
from kiro_auth.keys.protocol import AuditRow, Change, missing
from kiro_auth.store.postgres import PostgresStore
from kiro_auth.store.schema import Connection

log = logging.getLogger("kiro_auth.keys")

_NOTE: Final = "keys"
# By the clock, as a counter would say the same again once a backup was put back.
_ALONE: Final = """
    INSERT INTO kiro_auth.notes AS notes (name, value)
    VALUES (%s, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text)
    ON CONFLICT (name) DO UPDATE SET value = greatest(notes.value::bigint + 1, excluded.value::bigint)::text
"""


class DatabaseKeys:
    """See `KeyStore`; in the database of the store."""

    def __init__(self, store: PostgresStore) -> None:
        self._database = store.database
        self._mirror = store.mirror
        self._keys: Sequence[ClientKey] = ()
        self._mirror.follow(_NOTE, self._fetch)
        self._is_read = False

    def keys(self) -> Sequence[ClientKey]:
        """See `KeyStore.keys`; the first time it waits for the database."""
        self._mirror.snapshot()
        if not self._is_read:  # the mirror may have been there before
            self._database.submit(self._database.run(self._mirror.refresh)).result()
            self._is_read = True
        return self._keys

    def change(self, decide: Change) -> ClientKey:
        """See `KeyStore.change`."""

        async def change(connection: Connection) -> ClientKey:
            async with connection.transaction():
                await connection.execute(_ALONE, [_NOTE])
                changed = decide(await _read(connection))
                await _put(connection, changed.key)
                await _enter(connection, changed.row)
                await self._database.give_notice(connection)
                after = await _read(connection)
            self._take(after)
            return changed.key

        return self._database.submit(self._database.run(change)).result()

    def add_missing(self, keys: Sequence[ClientKey], rows: Sequence[AuditRow]) -> int:
        """See `KeyStore.add_missing`."""

        async def add(connection: Connection) -> int:
            async with connection.transaction():
                await connection.execute(_ALONE, [_NOTE])
                new_keys, new_rows = missing(keys, rows, await _read(connection), await _audit(connection))
                for key in new_keys:
                    await _put(connection, key)
                for row in new_rows:
                    await _enter(connection, row)
                await self._database.give_notice(connection)
                after = await _read(connection)
            self._take(after)
            return len(new_keys)

        return self._database.submit(self._database.run(add)).result()

    def audit(self) -> list[AuditRow]:
        """See `KeyStore.audit`."""
        return self._database.submit(self._database.run(_audit)).result()

    async def _fetch(self, connection: Connection) -> None:
        self._take(await _read(connection))

    def _take(self, keys: Sequence[ClientKey]) -> None:
        if keys != self._keys:
            self._keys = keys


async def _read(connection: Connection) -> tuple[ClientKey, ...]:
    found = await connection.execute("SELECT key FROM kiro_auth.keys ORDER BY position")
    return tuple(key for (text,) in await found.fetchall() if (key := _opened(text)) is not None)


def _opened(text: str) -> ClientKey | None:
    """None for a key that cannot be read, with which nobody comes in."""
    try:
        return msgspec.json.decode(text, type=ClientKey)
    except msgspec.MsgspecError:
        log.warning("a client key in the database cannot be read", extra=noted("keys", state="unreadable"))
        return None


async def _put(connection: Connection, key: ClientKey) -> None:
    await connection.execute(
        "INSERT INTO kiro_auth.keys (id, key) VALUES (%s, %s) "
        "ON CONFLICT (id) DO UPDATE SET key = excluded.key",
        [key.id, msgspec.json.encode(key).decode()],
    )


async def _enter(connection: Connection, row: AuditRow) -> None:
    await connection.execute(
        "INSERT INTO kiro_auth.key_audit (moment, who, what, key_id, key_name, limits) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        [
            datetime.fromtimestamp(row.when, UTC),
            row.who,
            row.what,
            row.id,
            row.name,
            msgspec.json.encode(row.limits).decode(),
        ],
    )


async def _audit(connection: Connection) -> list[AuditRow]:
    found = await connection.execute(
        "SELECT moment, who, what, key_id, key_name, limits FROM kiro_auth.key_audit ORDER BY moment, number"
    )
    return [_row(*values) for values in await found.fetchall()]


def _row(moment: datetime, who: str, what: Any, key_id: str, key_name: str, limits: str) -> AuditRow:
    return AuditRow(
        when=moment.timestamp(),
        who=who,
        what=what,
        id=key_id,
        name=key_name,
        limits=msgspec.json.decode(limits),
    )
