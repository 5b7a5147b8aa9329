"""One account: the typed reading of a stored record.

Field names in the file are those of the original plugin's `kiro-accounts.json`, version 1; the ones below
the line in `Account` are ours, and the original ignores them.  A record keeps every field we do not know.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from kiro_auth.accounts.names import is_placeholder, masked, organisation, without_emails
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.kinds import KINDS, Kind, stored_kind
from kiro_auth.kiro import checked
from kiro_auth.store.protocol import Record
from kiro_auth.texts import learn

SOURCE: Final = "source"
"""Where `kiroAuth` of a record says which other program holds the sign-in too."""


UNSURE: Final = "kindUnsure"
"""Says in `kiroAuth` of a record that its kind was guessed: Builder ID or an organisation; Kiro knows."""


_LONGEST_ID: Final = 64
IS_ID: Final = re.compile(rf"[A-Za-z0-9-]{{1,{_LONGEST_ID}}}")
"""Ids are made by programs; one of other characters was made by hand, and by no friend."""
_LAST_TIME: Final = 4_102_444_800_000
"""Milliseconds since 1970 at the end of the century."""


class Source(Struct, frozen=True):
    """Where a sign-in is kept: the tool, its file, and what it is called in there.

    A `linked` one stays the tool's: it is read again before every renewal, and given the new tokens.
    """

    tool: str
    path: str
    key: str
    linked: bool = True


class Account(Struct, frozen=True, rename="camel", kw_only=True, dict=True):
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
    # ------------------------------------------------------------------ of the moment, never stored
    apart: str = ""
    """What stands behind the name where another account would have the same; see `apart`."""

    @cached_property
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
    def known_email(self) -> str | None:
        """The e-mail, if it is one and not what stands for an unknown one.  Never printed or logged whole."""
        emails = (self.real_email, self.email)
        return next((email for email in emails if email and "@" in email and not is_placeholder(email)), None)

    @property
    def organisation(self) -> str:
        """The organisation that it signs in at: `d-1234567890`; empty for those that belong to none."""
        return organisation(self.sso_start_url) if KINDS[self.kind].has_start_url else ""

    @cached_property
    def name(self) -> str:
        """What to call the account, as its owner recognises it, without the whole e-mail.

        Its label, else the masked e-mail, else the organisation, else the kind and a short id.  It is one
        line.  Accounts that were read together have different ones.
        """
        own = next((name for name in self._names() if name and name.isprintable()), "")
        own = own or f"{self.kind}-{self.id[:6]}"
        return f"{own} {self.apart}" if self.apart else own

    def _names(self) -> Iterator[str]:
        """What it may be called, the best first."""
        yield without_emails(self.label or "").strip()
        yield masked(self.known_email)
        yield self.organisation

    @cached_property
    def service_region(self) -> str:
        """Where the account is served: the region of its profile, else the one it signs in at."""
        if self.profile_region:
            return self.profile_region
        return region_of(self.profile_arn) or self.region


def account_of(record: Record) -> Account:
    """Read a stored record.  Raises StoreFailed when a field has another type, or a value that none can have.

    An access token that no header can hold counts as none, so that it is renewed; times end with the century.
    """
    try:
        account = msgspec.convert(record, Account, strict=False)
    except (msgspec.ValidationError, OverflowError) as error:
        raise _unreadable(record, _wrong_field(error)) from error
    if not IS_ID.fullmatch(account.id):
        raise _unreadable(record, "its id is not of 1 to 64 letters, digits and hyphens")
    if account.proxy and not _is_proxy(account.proxy):
        raise _unreadable(record, "its proxy is no address such as http://host:port")
    learn(account.access_token, account.refresh_token, account.client_secret)
    token = checked.access_token(account.access_token)
    if account.access_token and not token and KINDS[account.kind].renewed_by is None:
        raise _unreadable(record, "its key holds characters that no key has")
    return replace(
        account,
        access_token=token,
        expires_at=_time(account.expires_at) or 0,
        state_until=_time(account.state_until),
        client_secret_expires_at=_time(account.client_secret_expires_at),
        generation=max(0, min(account.generation, _LAST_TIME)),
    )


def _is_proxy(url: str) -> bool:
    """Whether it leads anywhere; without it the account would go another way than its owner wants."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _time(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else max(0, min(milliseconds, _LAST_TIME))


def _unreadable(record: Record, why: str) -> StoreFailed:
    id_ = checked.text(str(record.get("id", "without an id"))[:_LONGEST_ID])
    return StoreFailed(
        Failure(
            code="KA-STORE",
            message=f"The account {id_} cannot be read: {why}.",
            next_step=f"Correct it where it is kept, in kiro-accounts.json or a database{_or_remove(id_)}",
        )
    )


def _or_remove(id_: str | None) -> str:
    is_one = id_ is not None and IS_ID.fullmatch(id_)
    return f", or do without it: kiro-auth accounts remove {id_}" if is_one else ", or take it out there."


def read_again(account: Account, record: Record) -> Account:
    """The account as its record is by now, told apart from others as before.  Raises StoreFailed."""
    return replace(account_of(record), apart=account.apart)


def _wrong_field(error: Exception) -> str:
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
