"""The sign-in of Kiro's IDE: a token file, and beside it the registration that it names by a hash."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from kiro_auth.accounts.account import Source
from kiro_auth.atomic import replace_file
from kiro_auth.folders import Machine
from kiro_auth.json_values import NotJson, as_object, decoded, first_text
from kiro_auth.kinds import BUILDER_ID_REGION, KINDS
from kiro_auth.login.tools.held import Held, moment, provider_of, service_of
from kiro_auth.login.tools.organisation import KINDS_OF, Noted, judged
from kiro_auth.login.tools.places import foreign, ide_profiles, ide_tokens
from kiro_auth.login.tools.tool import NewTokens, OnTrouble, looked_into, unreadable

_TOOL: Final = "kiro-ide"
_HASH: Final = re.compile(r"[0-9a-fA-F]{32,64}")
_LARGEST: Final = 2 * 1024 * 1024


class KiroIde:
    """See `SharingTool`."""

    def find(self, machine: Machine, on_trouble: OnTrouble) -> list[Held]:
        """The sign-ins in its token files."""
        profiles = looked_into(ide_profiles(machine), _profiles, on_trouble)
        profile = profiles[0] if profiles else {}
        return looked_into(ide_tokens(machine), lambda path: _sign_ins(path, profile), on_trouble)

    def read(self, source: Source) -> Held | None:
        """The sign-in as it stands there now; None when it is gone.  Raises StoreFailed."""
        return _held(Path(source.path), {})

    def write_back(self, source: Source, new: NewTokens) -> bool:
        """Put new tokens into the file, which the IDE watches, if it still holds those that were spent."""
        path = Path(source.path)
        record = _object(path)
        if foreign(path) or record.get("refreshToken") != new.spent:
            return False
        ends = datetime.fromtimestamp(new.expires_at, UTC).isoformat(timespec="milliseconds")
        changed = {
            **record,
            "accessToken": new.access_token,
            "refreshToken": new.refresh_token,
            "expiresAt": ends.replace("+00:00", "Z"),
        }
        try:
            replace_file(path, msgspec.json.format(msgspec.json.encode(changed), indent=2))
        except OSError:
            return False
        return True


def _profiles(path: Path) -> list[dict[str, Any]]:
    return [content for content in [_object(path)] if content]


def _sign_ins(path: Path, profile: Mapping[str, Any]) -> list[Held]:
    return [held for held in [_held(path, profile)] if held]


def _held(path: Path, profile: Mapping[str, Any]) -> Held | None:
    record = _object(path)
    access, refresh = first_text(record, "accessToken"), first_text(record, "refreshToken")
    if not access and not refresh:
        return None
    region = first_text(record, "region") or BUILDER_ID_REGION
    service = service_of(record)
    registration, no_client = _client(path, record) if service == "aws_oidc" else ({}, None)
    secret = first_text(registration, "clientSecret")
    is_ = KINDS_OF.get(service) or judged(record, secret, region, Noted(has_profile="arn" in profile))
    chosen = first_text(profile, "arn") if KINDS[is_.kind].needs_profile else None
    arn = first_text(record, "profileArn") or chosen
    return Held(
        source=Source(_TOOL, str(path), path.name),
        kind=is_.kind,
        kind_unsure=is_.unsure,
        access_token=access or "",
        refresh_token=refresh or "",
        expires_at=moment(record.get("expiresAt")),
        region=region,
        start_url=is_.start_url,
        client_id=first_text(registration, "clientId"),
        client_secret=secret,
        client_secret_expires_at=moment(registration.get("expiresAt")) or None,
        no_client=no_client,
        profile_arn=arn,
        profile_name=first_text(profile, "name") if arn and arn == profile.get("arn") else None,
        provider=provider_of(record) if is_.kind == "external-idp" else None,
    )


def _client(path: Path, record: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The client that the sign-in was made with, or why there is none."""
    hash_ = first_text(record, "clientIdHash") or ""
    if not _HASH.fullmatch(hash_):  # it becomes the name of a file, so it must be a hash and nothing else
        return {}, f"its client registration is missing: {path} does not name it"
    place = path.with_name(f"{hash_}.json")
    registration = _object(place)
    return registration, None if registration else f"its client registration is missing: there is no {place}"


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty when there is none to be read.  Raises StoreFailed."""
    try:
        if not path.is_file():
            return {}
        if path.stat().st_size > _LARGEST:
            raise unreadable(path, ValueError(f"it has more than {_LARGEST:,} bytes"))
        return as_object(decoded(path.read_bytes()))
    except (OSError, NotJson) as error:
        raise unreadable(path, error) from error
