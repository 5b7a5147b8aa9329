"""`kiro-auth logout`: forget an account."""

from __future__ import annotations

from kiro_auth.cli import accounts


def logout(name: str = accounts.NAME, json: bool = accounts.JSON) -> None:
    """Forget an account, its tokens and its usage.

    The same as `kiro-auth accounts remove`.
    """
    accounts.remove(name, json)
