"""How tokens of accounts of every kind are renewed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.refresh import Refresh
from kiro_auth.config import Config
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kinds import KINDS, TokenService
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.tokens import aws_oidc, company, desktop
from kiro_auth.kiro.tokens.grants import Renewable, TokenGrant
from kiro_auth.login.tools.linked import linked

Renew: TypeAlias = Callable[[Lines, Endpoints, Renewable], Awaitable[TokenGrant]]

SERVICES: Final[Mapping[TokenService, Renew]] = {
    "aws_oidc": aws_oidc.renew,
    "desktop": desktop.renew,
    "company": company.renew,
}


def renewal(lines: Lines, endpoints: Endpoints, config: Config, clock: Callable[[], float]) -> Refresh:
    """Renew at the service that gave the tokens; a sign-in that another program shares, in turn with it."""
    return linked(
        from_service(lines, endpoints),
        margin=lambda: config.token_expiry_buffer_ms / 1000,
        clock=clock,
    )


def from_service(lines: Lines, endpoints: Endpoints) -> Refresh:
    """Renew at the service that gave the tokens, without regard to other programs that share them."""

    async def refresh(account: Account) -> TokenGrant:
        service = KINDS[account.kind].renewed_by
        if service is None:
            raise TurnFailed(
                Failure(
                    code="KA-SIGNIN",
                    message=f"Sign-ins of kind {account.kind} are not renewed.",
                    next_step="Sign in with AWS Builder ID or your organisation: kiro-auth login",
                )
            )
        return await SERVICES[service](lines, endpoints, account)

    return refresh
