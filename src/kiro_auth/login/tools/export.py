"""All accounts as a file, secrets included, to be brought to another machine; and such a file read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from kiro_auth.accounts.account import Source
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.json_values import NotJson, as_list, as_object, decoded, first_text
from kiro_auth.kinds import stored_kind
from kiro_auth.login.tools.held import Held, moment
from kiro_auth.login.tools.table import TOOLS
from kiro_auth.login.tools.tool import OnTrouble, held_in
from kiro_auth.os_errors import reason

MARK: Final = "kiro-auth-export"
"""The field by which a file is known as an export of this program."""
VERSION: Final = 1


def export(records: Sequence[Mapping[str, Any]]) -> bytes:
    """The file of these accounts."""
    return msgspec.json.format(msgspec.json.encode({MARK: VERSION, "accounts": records}), indent=2)


def exported(path: Path, on_trouble: OnTrouble) -> list[Held]:
    """The sign-ins in an export.  Raises ConfigFailed."""
    try:
        document = decoded(path.read_bytes())
    except (OSError, NotJson) as error:
        raise _no_export(path, reason(error)) from error
    if as_object(document).get(MARK) != VERSION:
        raise _no_export(path, f"it is not an export of version {VERSION}")
    return held_in(path, as_list(document.get("accounts")), _held, on_trouble)


def _held(path: Path, row: Mapping[str, Any]) -> Held | None:
    id_ = first_text(row, "id")
    if not id_ or not first_text(row, "accessToken", "refreshToken"):
        return None
    start_url = first_text(row, "ssoStartUrl")
    provider = as_object(as_object(row.get("kiroAuth")).get("provider"))
    return Held(
        source=Source("export", str(path), id_, linked=False),
        kind=stored_kind(first_text(row, "authMethod") or "idc", start_url),
        access_token=first_text(row, "accessToken") or "",
        refresh_token=first_text(row, "refreshToken") or "",
        expires_at=moment(row.get("expiresAt")),
        region=first_text(row, "region") or "us-east-1",
        start_url=start_url,
        client_id=first_text(row, "clientId"),
        client_secret=first_text(row, "clientSecret"),
        client_secret_expires_at=moment(row.get("clientSecretExpiresAt")) or None,
        profile_arn=first_text(row, "profileArn"),
        profile_name=first_text(row, "profileName"),
        email=first_text(row, "realEmail", "email"),
        id=id_,
        provider=provider or None,
        record=row,
    )


def _no_export(path: Path, why: str) -> ConfigFailed:
    return ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message=f"{path} cannot be imported: {why}.",
            next_step=f"Name auto, {', '.join(TOOLS)}, or a file made by kiro-auth accounts export.",
        )
    )
