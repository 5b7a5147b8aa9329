"""`kiro-auth logout`: forget an account."""

from __future__ import annotations

from kiro_auth.cli import accounts
from kiro_auth.cli.pick import NAME


def logout(name: str | None = NAME, yes: bool = accounts.YES, json: bool = accounts.JSON) -> None:
    """Forget an account, its tokens and its usage.

    The same as `kiro-auth accounts remove`. In a terminal it asks before it does.
    """
    accounts.remove(name, yes, json)
