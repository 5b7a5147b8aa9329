"""The accounts in the database of the original plugin's later versions, and in the files that it set aside.

Its `kiro-accounts.json` needs no import: this program's own store is that very file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kiro_auth.accounts.account import Source, account_of
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.folders import Machine, config_folder
from kiro_auth.json_values import NotJson, as_object, as_objects, decoded, first_text
from kiro_auth.login.tools.held import Held, moment
from kiro_auth.login.tools.sqlite import snapshot, tables
from kiro_auth.login.tools.tool import OnTrouble, looked_into

_TOOL: Final = "original"
_REPLACED: Final = "Replaced by real email"


class Original:
    """See `Tool`."""

    def find(self, machine: Machine, on_trouble: OnTrouble) -> list[Held]:
        """The accounts in `kiro.db` and in `kiro-accounts.json.bak`."""
        folder = config_folder(machine)
        in_database = looked_into((folder / "kiro.db",), _in_database, on_trouble)
        return in_database + looked_into((folder / "kiro-accounts.json.bak",), _in_backup, on_trouble)


def _in_database(path: Path) -> list[Held]:
    if not path.is_file():
        return []
    with snapshot(path) as connection:
        if "accounts" not in tables(connection):
            return []
        rows = [_camel(row) for row in connection.execute("select * from accounts")]
    return _helds(path, rows)


def _camel(row: sqlite3.Row) -> dict[str, Any]:
    """A row with the names of the JSON file; columns come and go between versions."""
    return {
        "".join(part.title() if n else part for n, part in enumerate(name.split("_"))): value
        for name, value in dict(row).items()
    }


def _in_backup(path: Path) -> list[Held]:
    if not path.is_file():
        return []
    try:
        document = decoded(path.read_bytes())
    except (OSError, NotJson) as error:
        raise StoreFailed(
            Failure(
                code="KA-STORE",
                message=f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.",
                next_step="Correct it, or sign in again: kiro-auth login",
            )
        ) from error
    return _helds(path, as_objects(as_object(document).get("accounts")))


def _helds(path: Path, rows: list[dict[str, Any]]) -> list[Held]:
    real = {row.get("clientId") for row in rows if not _placeholder(row)}
    return [
        held
        for row in rows
        if row.get("unhealthyReason") != _REPLACED
        and not (_placeholder(row) and row.get("clientId") in real)
        and (held := _held(path, row))
    ]


def _placeholder(row: Mapping[str, Any]) -> bool:
    return str(row.get("email") or "").endswith("@awsapps.local")


def _held(path: Path, row: Mapping[str, Any]) -> Held | None:
    access, refresh = first_text(row, "accessToken"), first_text(row, "refreshToken")
    try:
        account = account_of({"id": "", **{k: v for k, v in row.items() if v is not None}})
    except StoreFailed:
        return None
    if not access and not refresh:
        return None
    return Held(
        source=Source(_TOOL, str(path), str(row.get("id") or ""), linked=False),
        kind=account.kind,
        access_token=access or "",
        refresh_token=(refresh or "").split("|")[0],
        expires_at=moment(row.get("expiresAt")),
        region=account.region,
        start_url=account.sso_start_url,
        client_id=account.client_id,
        client_secret=account.client_secret,
        profile_arn=account.profile_arn,
        email=account.real_email or account.email,
        id=first_text(row, "id"),
    )
