"""Each kind of sign-in is renewed at the service that its row names."""

from __future__ import annotations

from typing import get_args

import pytest

from kiro_auth.accounts.account import Account
from kiro_auth.failures import TurnFailed
from kiro_auth.kinds import KINDS, Kind, TokenService
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.login.renewal import SERVICES, from_service
from support.scripted import reply, script

ROLES = ("oidc", "desktop_auth", "external_idp")
PATHS = {"aws_oidc": "/token", "desktop": "/refreshToken", "company": "/t/token"}


def test_every_token_service_that_a_row_can_name_has_its_module() -> None:
    assert set(SERVICES) == set(get_args(TokenService))
    assert {row.renewed_by for row in KINDS.values()} - {None} == set(SERVICES)


@pytest.mark.parametrize("kind", [kind for kind, row in KINDS.items() if row.renewed_by])
async def test_a_sign_in_is_renewed_where_its_row_says(kind: Kind) -> None:
    row = KINDS[kind]
    async with script(reply({"accessToken": "a2", "refreshToken": "r2"})) as service, Lines(Trust()) as lines:
        account = Account(
            id="a",
            auth_method=row.stored[0],
            refresh_token="r1",
            client_id="c",
            client_secret="s",
            extra={"provider": {"token_endpoint": f"{service.url}/t/token", "client_id": "c"}},
        )
        grant = await from_service(lines, Endpoints(dict.fromkeys(ROLES, (service.url,))))(account)

    assert [asked.path for asked in service.asked] == [PATHS[str(row.renewed_by)]]
    assert (grant.access_token, grant.refresh_token) == ("a2", "r2")


@pytest.mark.parametrize("kind", [kind for kind, row in KINDS.items() if not row.renewed_by])
async def test_what_is_never_renewed_says_so_without_a_call(kind: Kind) -> None:
    async with script(reply()) as service, Lines(Trust()) as lines:
        refresh = from_service(lines, Endpoints(dict.fromkeys(ROLES, (service.url,))))
        with pytest.raises(TurnFailed) as raised:
            await refresh(Account(id="a", auth_method=KINDS[kind].stored[0]))

    assert (raised.value.failure.code, service.asked) == ("KA-SIGNIN", [])
