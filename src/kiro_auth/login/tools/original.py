"""The accounts in the database of the original plugin's later versions, and in the files that it set aside.

Its `kiro-accounts.json` needs no import: this program's own store is that very file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kiro_auth.accounts.account import Source
from kiro_auth.folders import Machine, config_folder
from kiro_auth.json_values import NotJson, as_list, as_object, decoded, first_text
from kiro_auth.kinds import BUILDER_ID_REGION, KINDS, stored_kind
from kiro_auth.login.tools.held import Held, moment
from kiro_auth.login.tools.sqlite import snapshot, tables
from kiro_auth.login.tools.tool import OnTrouble, held_in, is_there, looked_into, unreadable

_TOOL: Final = "original"
_REPLACED: Final = "Replaced by real email"


class Original:
    """See `Tool`."""

    def find(self, machine: Machine, on_trouble: OnTrouble) -> list[Held]:
        """The accounts in `kiro.db` and in `kiro-accounts.json.bak`."""
        database = config_folder(machine) / "kiro.db"
        backup = config_folder(machine) / "kiro-accounts.json.bak"
        in_database = looked_into((database,), _in_database, on_trouble)
        in_backup = looked_into((backup,), _in_backup, on_trouble)
        return [*_helds(database, in_database, on_trouble), *_helds(backup, in_backup, on_trouble)]


def _in_database(path: Path) -> list[dict[str, Any]]:
    if not is_there(path):
        return []
    with snapshot(path) as connection:
        if "accounts" not in tables(connection):
            return []
        return [_camel(row) for row in connection.execute("select * from accounts")]


def _camel(row: sqlite3.Row) -> dict[str, Any]:
    """A row with the names of the JSON file; columns come and go between versions."""
    return {
        "".join(part.title() if n else part for n, part in enumerate(name.split("_"))): value
        for name, value in dict(row).items()
    }


def _in_backup(path: Path) -> list[Any]:
    if not is_there(path):
        return []
    try:
        document = decoded(path.read_bytes())
    except (OSError, NotJson) as error:
        raise unreadable(path, error) from error
    return as_list(as_object(document).get("accounts"))


def _helds(path: Path, entries: Sequence[Any], on_trouble: OnTrouble) -> list[Held]:
    rows = [as_object(entry) for entry in entries]
    real = {first_text(row, "clientId") for row in rows if not _placeholder(row)} - {None}

    def is_replaced(row: Mapping[str, Any]) -> bool:
        return row.get("unhealthyReason") == _REPLACED or (
            _placeholder(row) and first_text(row, "clientId") in real
        )

    return held_in(path, [row for row in rows if not is_replaced(row)], _held, on_trouble)


def _placeholder(row: Mapping[str, Any]) -> bool:
    return str(row.get("email") or "").endswith("@awsapps.local")


def _held(path: Path, row: Mapping[str, Any]) -> Held | None:
    access, refresh = first_text(row, "accessToken"), first_text(row, "refreshToken")
    if not access and not refresh:
        return None
    start_url = first_text(row, "ssoStartUrl")
    return Held(
        source=Source(_TOOL, str(path), str(row.get("id") or ""), linked=False),
        kind=stored_kind(first_text(row, "authMethod") or KINDS["builder-id"].stored[0], start_url),
        access_token=access or "",
        refresh_token=(refresh or "").split("|")[0],
        expires_at=moment(row.get("expiresAt")),
        region=first_text(row, "region") or BUILDER_ID_REGION,
        start_url=start_url,
        client_id=first_text(row, "clientId"),
        client_secret=first_text(row, "clientSecret"),
        profile_arn=first_text(row, "profileArn"),
        email=first_text(row, "realEmail", "email"),
        id=first_text(row, "id"),
    )
