"""All places where other programs keep sign-ins, looked at one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from kiro_auth.accounts.account import Source
from kiro_auth.failures import ConfigFailed, Failure, StoreFailed
from kiro_auth.folders import Machine, config_folder
from kiro_auth.json_values import NotJson, as_object, as_objects, decoded, first_text
from kiro_auth.login.imports import kiro_cli, kiro_ide, original
from kiro_auth.login.imports.held import Held, kind_of, moment
from kiro_auth.login.imports.places import command_line_stores
from kiro_auth.login.imports.shared import with_owners

NAMES: Final = ("auto", "kiro-cli", "amazon-q", "kiro-ide", "original")
"""What `kiro-auth accounts import --from` takes, besides the path of an export."""
EXPORT: Final = "kiro-auth-export"
"""The field by which a file is known as an export of this program."""
VERSION: Final = 1


def find(wanted: str, machine: Machine, troubled: Callable[[Failure], None]) -> list[Held]:
    """The sign-ins of one program, or of all of them; those of the original with the programs that own them.

    A place that cannot be read stops no other: `troubled` is told.  Raises ConfigFailed for a name that is
    none, and for a file that is no export.
    """
    if wanted not in NAMES:
        return exported(Path(wanted))
    asked: list[Held] = []
    beside: list[Held] = []
    for tool, look in _places(machine):
        try:
            (asked if wanted in ("auto", tool) else beside).extend(look())
        except StoreFailed as error:
            if wanted in ("auto", tool):
                troubled(error.failure)
    copies = [held for held in asked if held.source.tool == original.TOOL]
    others = [held for held in asked if held.source.tool != original.TOOL]
    owned = list(with_owners(copies, [*others, *beside]))
    # What is owned counts over the same sign-in without its name at the original; each comes once.
    return list({held.source: held for held in [*others, *owned]}.values())


def _places(machine: Machine) -> Iterator[tuple[str, Callable[[], list[Held]]]]:
    for tool, path in command_line_stores(machine):
        yield tool, partial(kiro_cli.find, tool, path)
    yield kiro_ide.TOOL, partial(kiro_ide.find, machine)
    yield original.TOOL, partial(original.find, config_folder(machine))


def export(records: list[Mapping[str, Any]]) -> bytes:
    """These accounts, secrets included, to be brought to another machine."""
    return msgspec.json.format(msgspec.json.encode({EXPORT: VERSION, "accounts": records}), indent=2)


def exported(path: Path) -> list[Held]:
    """The sign-ins in an export.  Raises ConfigFailed."""
    try:
        document = decoded(path.read_bytes())
    except (OSError, NotJson) as error:
        raise _no_export(path, str(getattr(error, "strerror", None) or error)) from error
    if not isinstance(document, dict) or document.get(EXPORT) != VERSION:
        raise _no_export(path, f"it is not an export of version {VERSION}")
    return [held for row in as_objects(document.get("accounts")) if (held := _of_export(path, row))]


def _of_export(path: Path, row: Mapping[str, Any]) -> Held | None:
    if not first_text(row, "id") or not first_text(row, "accessToken", "refreshToken"):
        return None
    provider = as_object(row.get("kiroAuth")).get("provider")
    method = str(row.get("authMethod"))
    return Held(
        source=Source("export", str(path), str(row["id"]), linked=False),
        kind="api-key" if method == "api-key" else kind_of({**row, **(provider or {})}),
        access_token=first_text(row, "accessToken") or "",
        refresh_token=first_text(row, "refreshToken") or "",
        expires_at=moment(row.get("expiresAt")),
        region=first_text(row, "region") or "us-east-1",
        start_url=first_text(row, "ssoStartUrl"),
        client_id=first_text(row, "clientId"),
        client_secret=first_text(row, "clientSecret"),
        client_secret_expires_at=moment(row.get("clientSecretExpiresAt")) or None,
        profile_arn=first_text(row, "profileArn"),
        profile_name=first_text(row, "profileName"),
        email=first_text(row, "realEmail", "email"),
        id=str(row["id"]),
        provider=provider if isinstance(provider, dict) else None,
        record=row,
    )


def _no_export(path: Path, why: str) -> ConfigFailed:
    return ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message=f"{path} cannot be imported: {why}.",
            next_step=f"Name {', '.join(NAMES)}, or a file made by kiro-auth accounts export.",
        )
    )
