"""How client keys are made, revoked and rotated, each with its row in the audit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from secrets import token_hex
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.keys.key import NAME, Budget, ClientKey, hashed, new_secret
from kiro_auth.keys.protocol import AuditRow, Changed, KeyStore, What

RESERVED: Final = ("owner",)
"""What the holder of the gateway's own key is called in logs and in the ledger."""
_LISTED: Final = "kiro-auth keys list"


class Limits(Struct, frozen=True, kw_only=True):
    """What a new key may be used for: see `ClientKey`."""

    models: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    budget: Budget | None = None
    concurrency: int | None = None
    expires: float | None = None


class Made(Struct, frozen=True):
    """A key, and the `secret` that its holder sends, which is told this once."""

    key: ClientKey
    secret: str


class Changes:
    """Changes of the keys of one store, by the user `who`; `clock` gives epoch seconds.

    Two keys may name the same account only where `share_accounts` says so.  Where the accounts have
    `several_owners`, a key has to name its own, unless they may be shared.
    """

    def __init__(
        self,
        store: KeyStore,
        who: str,
        now: float,
        *,
        share_accounts: bool = False,
        several_owners: bool = False,
    ) -> None:
        self._store = store
        self._who = who
        self._now = now
        self._share_accounts = share_accounts
        self._several_owners = several_owners

    def create(self, name: str, limits: Limits) -> Made:
        """A new key.  Raises ConfigFailed for a name or an account that is taken; StoreFailed."""
        _check_name(name)
        secret = new_secret()
        given: dict[str, Any] = {k: v for k, v in msgspec.to_builtins(limits).items() if v}

        def decide(keys: Sequence[ClientKey]) -> Changed:
            for key in keys:
                if key.name == name and key.revoked is None:
                    self._check_live(key, f"There is a key {name} already, which has expired.")
                    raise _refused(f"There is a key {name} already.", f"kiro-auth keys rotate {name}")
            self._check_accounts(keys, limits.accounts)
            fields = msgspec.structs.asdict(limits)
            id_ = _new_id(keys)
            key = ClientKey(id=id_, name=name, hash=hashed(secret), created=self._now, **fields)
            return Changed(key, self._row("create", key, given))

        return Made(self._store.change(decide), secret)

    def revoke(self, name: str) -> ClientKey:
        """Let nobody in with this key any more.  Raises ConfigFailed when there is none; StoreFailed."""

        def decide(keys: Sequence[ClientKey]) -> Changed:
            key = replace(_found(keys, name), revoked=self._now)
            return Changed(key, self._row("revoke", key))

        return self._store.change(decide)

    def rotate(self, name: str) -> Made:
        """Give the key another secret, and no time to the old one.

        Raises as `revoke`, and ConfigFailed when the key has expired: another secret would let nobody in.
        """
        secret = new_secret()

        def decide(keys: Sequence[ClientKey]) -> Changed:
            found = _found(keys, name)
            self._check_live(
                found, f"The key {found.name} has expired, which another secret does not change."
            )
            key = replace(found, hash=hashed(secret))
            return Changed(key, self._row("rotate", key))

        return Made(self._store.change(decide), secret)

    def _row(self, what: What, key: ClientKey, limits: dict[str, Any] | None = None) -> AuditRow:
        return AuditRow(
            when=self._now, who=self._who, what=what, id=key.id, name=key.name, limits=limits or {}
        )

    def _check_live(self, key: ClientKey, message: str) -> None:
        if not key.is_live(self._now):
            anew = f"Make it anew with other limits: kiro-auth keys revoke {key.name}, then keys create."
            raise _refused(message, anew)

    def _check_accounts(self, keys: Sequence[ClientKey], accounts: Sequence[str]) -> None:
        if self._several_owners and not accounts and not self._share_accounts:
            raise _refused(
                "The accounts in a database are several people's, and this key names none of them.",
                "Name those of the person whom it is for: --accounts NAME. For a key to everybody's, read in "
                "README.md what the terms say of shared accounts, then: share_accounts in kiro.json.",
            )
        sharing = [key for key in keys if key.is_live(self._now) and set(key.accounts) & set(accounts)]
        if sharing and not self._share_accounts:
            raise _refused(
                f"The key {sharing[0].name} is for one of these accounts, and an account is one person's.",
                "Read in README.md what the terms say of shared accounts. If both keys are yours, or you may "
                "share: share_accounts in kiro.json.",
            )


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME, name) or name in RESERVED:
        raise _refused(
            "A key's name is 1 to 60 letters, digits, dots, dashes and underscores, and not 'owner'.",
            "Such as: kiro-auth keys create ann",
        )


def _found(keys: Sequence[ClientKey], name: str) -> ClientKey:
    """The key that was not revoked, by its name or its id; a name may look like the id of another key."""
    there = [key for key in keys if key.revoked is None]
    for key in sorted(there, key=lambda key: key.name != name):
        if name in (key.name, key.id):
            return key
    shown = repr(name[:60])
    if any(name in (key.name, key.id) for key in keys):
        raise _refused(f"The key {shown} is revoked already.", f"Your keys: {_LISTED}")
    raise _refused(f"There is no key {shown}.", f"Your keys: {_LISTED}")


def _new_id(keys: Sequence[ClientKey]) -> str:
    taken = {key.id for key in keys}
    while (id_ := f"key-{token_hex(4)}") in taken:
        pass
    return id_


def _refused(message: str, next_step: str) -> ConfigFailed:
    return ConfigFailed(Failure(code="KA-CONFIG", message=message, next_step=next_step))
