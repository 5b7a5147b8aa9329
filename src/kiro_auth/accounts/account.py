"""One account: the typed reading of a stored record.

Field names in the file are those of the original plugin's `kiro-accounts.json`, version 1; the ones below
the line in `Account` are ours, and the original ignores them.  A record keeps every field we do not know.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.kinds import Kind, stored_kind
from kiro_auth.store.protocol import Record

SOURCE: Final = "source"
"""Where `kiroAuth` of a record says which other program holds the sign-in too."""


UNSURE: Final = "kindUnsure"
"""Says in `kiroAuth` of a record that its kind was guessed: Builder ID or an organisation; Kiro knows."""


class Source(Struct, frozen=True):
    """Where a sign-in is kept: the tool, its file, and what it is called in there.

    A `linked` one stays the tool's: it is read again before every renewal, and given the new tokens.
    """

    tool: str
    path: str
    key: str
    linked: bool = True


class Account(Struct, frozen=True, rename="camel", kw_only=True):
    """An account as it stands in the store.  Times are epoch milliseconds, as in the original's file.

    `region` is where the account signs in and refreshes; `profile_region` is where it is served.
    """

    id: str
    auth_method: str = "idc"
    email: str | None = None
    real_email: str | None = None
    region: str = "us-east-1"
    client_id: str | None = None
    client_secret: str | None = None
    profile_arn: str | None = None
    refresh_token: str | None = None
    access_token: str | None = None
    expires_at: float = 0
    sso_start_url: str | None = None
    # ------------------------------------------------------------------ ours
    label: str | None = None
    proxy: str | None = None
    """The way to AWS for this account alone; None: that of the environment."""
    client_secret_expires_at: float | None = None
    profile_region: str | None = None
    profile_name: str | None = None
    state: str = "ready"
    state_code: str | None = None
    """The code of the failure that led to the state."""
    state_reason: str | None = None
    state_until: float | None = None
    state_until_stated: bool | None = None
    """False: Kiro did not say so, and it is when this program tries the account again."""
    generation: int = 0
    """Counts changes of the token pair, so that a writer can tell whether it still holds the newest."""
    extra: dict[str, Any] = field(default_factory=dict, name="kiroAuth")

    @property
    def kind(self) -> Kind:
        """How the account signs in; a record that says `idc` with an organisation's start URL is one."""
        return stored_kind(self.auth_method, self.sso_start_url)

    @property
    def provider(self) -> Any:
        """A company's identity provider, as a file of another program said; see `kiro/tokens/company.py`."""
        return self.extra.get("provider") or {}

    @property
    def source(self) -> Source | None:
        """Which other program holds this sign-in too."""
        try:
            source = msgspec.convert(self.extra.get(SOURCE), Source | None)
        except msgspec.ValidationError:
            return None
        return source if source is not None and source.linked else None

    @property
    def kind_unsure(self) -> bool:
        """Whether the kind is a guess between Builder ID and an organisation."""
        return self.extra.get(UNSURE) is True

    @property
    def name(self) -> str:
        """What to call the account where e-mails do not belong: its label, else its kind and a short id."""
        return self.label or f"{self.kind}-{self.id[:6]}"

    @property
    def service_region(self) -> str:
        """Where the account is served: the region of its profile, else the one it signs in at."""
        if self.profile_region:
            return self.profile_region
        return region_of(self.profile_arn) or self.region


def account_of(record: Record) -> Account:
    """Read a stored record.  Raises StoreFailed when a field has another type."""
    try:
        return msgspec.convert(record, Account, strict=False)
    except msgspec.ValidationError as error:
        raise StoreFailed(
            Failure(
                code="KA-STORE",
                message=f"The account {str(record.get('id', 'without an id'))[:14]} cannot be read: "
                f"{_wrong_field(error)}.",
                next_step="Correct it in kiro-accounts.json, or sign in again: kiro-auth login",
            )
        ) from error


def _wrong_field(error: msgspec.ValidationError) -> str:
    """What is wrong, where msgspec names the place: `Expected `str`, got `object` - at `$.accessToken``."""
    place = re.search(r"at `\$\.([^`]+)`", str(error))
    return f"its field {place[1]} holds what does not belong there" if place else "it has not the form of one"


def new_id() -> str:
    """An id in the original's form: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def region_of(arn: str | None) -> str | None:
    """The region in a profile ARN (its fourth field), or None."""
    parts = arn.split(":") if arn else []
    return parts[3] or None if len(parts) > 4 else None


def fingerprint(secret: str) -> str:
    """Eight digits that tell two secrets apart in a log without showing either."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]
