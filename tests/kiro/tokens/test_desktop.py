"""The renewal of sign-ins with Google or GitHub, at Kiro's own service."""

from __future__ import annotations

import pytest

from kiro_auth.accounts.account import Account
from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.kiro.tokens import desktop
from support.scripted import reply, script

TOKENS = {"accessToken": "a2", "refreshToken": "r2", "expiresIn": 3600, "profileArn": "arn"}
SIGN_IN = Account(id="a", auth_method="social", refresh_token="r1", region="us-east-1")


async def test_social_sign_ins_are_renewed_at_their_own_service() -> None:
    async with script(reply(TOKENS)) as service, Lines(Trust()) as lines:
        grant = await desktop.renew(lines, Endpoints({"desktop_auth": (service.url,)}), SIGN_IN)

    assert (service.asked[0].path, service.asked[0].json) == ("/refreshToken", {"refreshToken": "r1"})
    assert (grant.access_token, grant.refresh_token, grant.profile_arn) == ("a2", "r2", "arn")


@pytest.mark.parametrize(
    ("status", "message"), [(401, "Bad credentials"), (400, "Invalid refresh token provided")]
)
async def test_its_words_for_a_dead_token_end_the_sign_in(status: int, message: str) -> None:
    async with script(reply({"message": message}, status)) as service, Lines(Trust()) as lines:
        with pytest.raises(TurnFailed) as raised:
            await desktop.renew(lines, Endpoints({"desktop_auth": (service.url,)}), SIGN_IN)

    assert (raised.value.failure.code, raised.value.failure.reason) == ("KA-SIGNIN", "invalid_grant")
