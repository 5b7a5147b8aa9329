"""Kiro's own sign-in service, which knows the people who sign in with Google or GitHub."""

from __future__ import annotations

from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.tokens.answers import post
from kiro_auth.kiro.tokens.grants import Renewable, TokenGrant, renewed


async def renew(lines: Lines, endpoints: Endpoints, sign_in: Renewable) -> TokenGrant:
    """New tokens.

    Raises TurnFailed: KA-SIGNIN when the sign-in has ended for good, KA-NETWORK, KA-TIMEOUT or KA-SERVICE
    when it may work later with the same refresh token.
    """
    url = endpoints.order("desktop_auth", sign_in.kind, sign_in.region)[0].url + "/refreshToken"
    body = {"refreshToken": sign_in.refresh_token or ""}
    return renewed(await post(lines, url, sign_in.region, body, ended=True, proxy=sign_in.proxy))
