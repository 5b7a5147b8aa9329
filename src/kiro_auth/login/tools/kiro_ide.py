"""The sign-in of Kiro's IDE: a token file, and beside it the registration that it names by a hash."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from kiro_auth.accounts.account import Source
from kiro_auth.atomic import replace_file
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.folders import Machine
from kiro_auth.json_values import NotJson, as_object, decoded, first_text
from kiro_auth.kinds import KINDS
from kiro_auth.login.tools.held import Held, kind_of, moment, provider_of
from kiro_auth.login.tools.places import foreign, ide_profiles, ide_tokens
from kiro_auth.login.tools.tool import NewTokens, OnTrouble, looked_into

_TOOL: Final = "kiro-ide"
_HASH: Final = re.compile(r"[0-9a-fA-F]{32,64}")
_LARGEST: Final = 2 * 1024 * 1024


class KiroIde:
    """See `SharingTool`."""

    def find(self, machine: Machine, on_trouble: OnTrouble) -> list[Held]:
        """The sign-ins in its token files."""
        return looked_into((machine,), _sign_ins, on_trouble)

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


def _sign_ins(machine: Machine) -> list[Held]:
    profile = next((found for path in ide_profiles(machine) if (found := _object(path))), {})
    return [held for path in ide_tokens(machine) if (held := _held(path, profile))]


def _held(path: Path, profile: dict[str, Any]) -> Held | None:
    record = _object(path)
    access, refresh = first_text(record, "accessToken"), first_text(record, "refreshToken")
    if not access and not refresh:
        return None
    kind = kind_of(record)
    hash_ = first_text(record, "clientIdHash") or ""
    # It becomes the name of a file, so it must be a hash and nothing else.
    registration = _object(path.with_name(f"{hash_}.json")) if _HASH.fullmatch(hash_) else {}
    chosen = first_text(profile, "arn") if KINDS[kind].needs_profile else None
    arn = first_text(record, "profileArn") or chosen
    return Held(
        source=Source(_TOOL, str(path), path.name),
        kind=kind,
        access_token=access or "",
        refresh_token=refresh or "",
        expires_at=moment(record.get("expiresAt")),
        region=first_text(record, "region") or "us-east-1",
        start_url=first_text(record, "startUrl"),
        client_id=first_text(registration, "clientId"),
        client_secret=first_text(registration, "clientSecret"),
        client_secret_expires_at=moment(registration.get("expiresAt")) or None,
        profile_arn=arn,
        profile_name=first_text(profile, "name") if arn and arn == profile.get("arn") else None,
        provider=provider_of(record) if kind == "external-idp" else None,
    )


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty when there is none to be read.  Raises StoreFailed."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return {}
        return as_object(decoded(path.read_bytes()))
    except (OSError, NotJson) as error:
        # Half a file is no sign-out: its owner is writing it just now.
        raise StoreFailed(
            Failure(
                code="KA-STORE",
                message=f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.",
                next_step="If the program that owns it is writing just now, repeat it.",
            )
        ) from error
