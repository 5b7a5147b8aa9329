"""From an account to what the service wants to see of it."""

from __future__ import annotations

from kiro_auth.accounts.account import Account
from kiro_auth.kiro.edge.client import Credentials


def credentials_of(account: Account) -> Credentials:
    """The credentials of an account whose access token is fresh."""
    return Credentials(
        kind=account.kind,
        token=account.access_token or "",
        region=account.service_region,
        profile_arn=account.profile_arn,
        proxy=account.proxy,
    )
