"""One refresh chain in two programs: neither logs the other out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.accounts.account import Account
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.folders import Machine
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.login.tools.linked import linked
from kiro_auth.login.tools.search import find
from kiro_auth.login.tools.table import SHARING
from kiro_auth.login.tools.tool import NewTokens
from support import foreign as made

NOW = 1_800_000_000.0
MARGIN = 120.0
SOCIAL = "kirocli:social:token"
ENDED = TurnFailed(Failure(code="KA-SIGNIN", message="It has ended."))


class KiroCliAtHome:
    """A kiro-cli that is signed in with Google."""

    tool = "kiro-cli"

    def __init__(self, home: Path) -> None:
        self.path = home / ".local/share/kiro-cli/data.sqlite3"
        made.kiro_cli(self.path, {})
        self.renew("a1", "r1", NOW)

    def tokens(self) -> tuple[str, str] | None:
        row = made.row_of(self.path, SOCIAL)
        return row and (row["access_token"], row["refresh_token"])

    def renew(self, access: str, refresh: str, expires_at: float) -> None:
        row = {"access_token": access, "refresh_token": refresh, "expires_at": made.rfc3339(expires_at)}
        made.put_row(self.path, SOCIAL, row)

    def sign_out(self) -> None:
        made.put_row(self.path, SOCIAL, None)


class KiroIdeAtHome:
    """An IDE that is signed in with Google."""

    tool = "kiro-ide"

    def __init__(self, home: Path) -> None:
        self.cache = home / ".aws/sso/cache"
        self.path = self.cache / "kiro-auth-token.json"
        self.renew("a1", "r1", NOW)

    def tokens(self) -> tuple[str, str] | None:
        token = json.loads(self.path.read_text())
        return token["accessToken"], token["refreshToken"]

    def renew(self, access: str, refresh: str, expires_at: float) -> None:
        ends = made.rfc3339(expires_at, 9)
        token = {"accessToken": access, "refreshToken": refresh, "expiresAt": ends, "authMethod": "social"}
        made.kiro_ide(self.cache, token | {"provider": "Google"})

    def sign_out(self) -> None:
        self.path.unlink()


Owner = KiroCliAtHome | KiroIdeAtHome


class Service:
    """A sign-in service: what it is asked, and what it answers."""

    def __init__(self, *answers: TokenGrant | TurnFailed | Callable[[], TurnFailed]) -> None:
        self.answers = list(answers)
        self.spent: list[str | None] = []

    async def refresh(self, account: Account) -> TokenGrant:
        self.spent.append(account.refresh_token)
        answer = self.answers.pop(0)
        if isinstance(answer, TokenGrant):
            return answer
        raise answer if isinstance(answer, TurnFailed) else answer()


@pytest.fixture(params=[KiroCliAtHome, KiroIdeAtHome], ids=["kiro-cli", "kiro-ide"])
def owner(request: pytest.FixtureRequest, tmp_path: Path) -> Owner:
    made_here: Owner = request.param(tmp_path)
    return made_here


@pytest.fixture
def account(owner: Owner, tmp_path: Path) -> Account:
    """The owner's sign-in as it was taken over."""
    [held] = find(owner.tool, Machine("linux", tmp_path, {}), pytest.fail)
    source = {"tool": owner.tool, "path": held.source.path, "key": held.source.key, "linked": True}
    return Account(
        id="a", auth_method="social", access_token="a1", refresh_token="r1", expires_at=NOW * 1000,
        extra={"source": source},
    )  # fmt: skip


async def renewed(account: Account, service: Service) -> TokenGrant:
    return await linked(service.refresh, margin=lambda: MARGIN, clock=lambda: NOW)(account)


async def test_a_token_that_the_owner_renewed_is_taken_over_without_a_call(owner: Owner, account: Account):
    owner.renew("a2", "r2", NOW + 3600)
    service = Service()

    grant = await renewed(account, service)

    assert (grant.access_token, grant.refresh_token, grant.expires_in) == ("a2", "r2", 3600)
    assert service.spent == []


async def test_what_is_renewed_here_is_given_to_the_owner(owner: Owner, account: Account):
    service = Service(TokenGrant("a2", "r2", 3600))

    grant = await renewed(account, service)

    assert (grant.access_token, service.spent) == ("a2", ["r1"])
    assert owner.tokens() == ("a2", "r2")


async def test_a_token_that_ends_too_soon_is_not_taken_over(owner: Owner, account: Account):
    owner.renew("a2", "r2", NOW + MARGIN)
    service = Service(TokenGrant("a3", "r3", 3600))

    await renewed(account, service)

    assert service.spent == ["r2"], "the owner's token, which is the newer one"
    assert owner.tokens() == ("a3", "r3")


async def test_a_refused_token_is_looked_up_again_before_the_sign_in_counts_as_ended(
    owner: Owner, account: Account
):
    """The owner may have renewed it between our look and our call."""

    def owner_was_faster() -> TurnFailed:
        owner.renew("a2", "r2", NOW + 3600)
        return ENDED

    service = Service(owner_was_faster)

    assert (await renewed(account, service)).access_token == "a2"
    assert service.spent == ["r1"]


async def test_an_owner_with_a_token_that_has_ended_too_is_renewed_with_it_once(
    owner: Owner, account: Account
):
    def owner_was_faster() -> TurnFailed:
        owner.renew("a2", "r2", NOW)
        return ENDED

    service = Service(owner_was_faster, TokenGrant("a3", "r3", 3600))

    assert (await renewed(account, service)).access_token == "a3"
    assert (service.spent, owner.tokens()) == (["r1", "r2"], ("a3", "r3"))


async def test_what_the_owner_cannot_renew_either_has_ended(owner: Owner, account: Account):
    service = Service(ENDED)

    with pytest.raises(TurnFailed, match="It has ended"):
        await renewed(account, service)

    assert (service.spent, owner.tokens()) == (["r1"], ("a1", "r1"))


async def test_an_owner_that_signed_out_is_named_without_a_call(owner: Owner, account: Account):
    owner.sign_out()
    service = Service()

    with pytest.raises(TurnFailed) as raised:
        await renewed(account, service)

    assert raised.value.failure.code == "KA-SIGNIN"
    assert raised.value.failure.message == f"{owner.tool} has signed out."
    assert service.spent == []


@pytest.mark.parametrize(
    "source", [{"tool": "of-a-later-version"}, {"linked": False}, {"path": None}], ids=str
)
async def test_what_no_known_program_holds_is_renewed_as_one_s_own(
    owner: Owner, account: Account, source: dict[str, Any]
):
    account.extra["source"].update(source)
    service = Service(TokenGrant("a2", "r2", 3600))

    assert (await renewed(account, service)).access_token == "a2"
    assert owner.tokens() == ("a1", "r1")


@pytest.mark.parametrize("half", [b"", b"{", b'{"accessToken": "a', b"SQLite format 3\x00", b"\xff" * 5000])
async def test_a_store_that_its_owner_is_writing_just_then_costs_no_new_token(
    owner: Owner, account: Account, half: bytes
):
    class WritingMeanwhile(Service):
        async def refresh(self, account: Account) -> TokenGrant:
            owner.path.write_bytes(half)
            return await super().refresh(account)

    grant = await renewed(account, WritingMeanwhile(TokenGrant("a2", "r2", 3600)))

    assert (grant.access_token, grant.refresh_token) == ("a2", "r2")
    assert owner.path.read_bytes() == half


@pytest.mark.parametrize("seconds", [10**12, 10**300])
async def test_a_lifetime_that_no_calendar_has_costs_no_new_token(
    owner: Owner, account: Account, seconds: int
):
    grant = await renewed(account, Service(TokenGrant("a2", "r2", seconds)))

    assert (grant.access_token, grant.refresh_token) == ("a2", "r2")


async def test_a_token_that_the_owner_replaced_meanwhile_is_never_overwritten(owner: Owner, account: Account):
    source = account.source
    assert source is not None
    owner.renew("a2", "r2", NOW + 3600)

    assert not SHARING[owner.tool].write_back(source, NewTokens("r1", "a9", "r9", NOW))
    assert owner.tokens() == ("a2", "r2")


ARN = "arn:aws:codewhisperer:us-east-1:1:profile/"


@pytest.mark.parametrize(("ours", "given"), [("MINE", None), (None, f"{ARN}THEIRS")])
async def test_a_profile_that_was_chosen_here_stays_when_kiro_cli_renews(
    tmp_path: Path, ours: str | None, given: str | None
):
    path, key = tmp_path / "data.sqlite3", "kirocli:odic:token"
    row = {"access_token": "a2", "refresh_token": "r2", "expires_at": made.rfc3339(NOW + 3600)}
    chosen = {"api.codewhisperer.profile": {"arn": f"{ARN}THEIRS", "profile_name": "theirs"}}
    made.kiro_cli(path, {key: row | {"start_url": "https://acme.awsapps.com/start"}}, chosen)
    account = Account(
        id="a", auth_method="sso", access_token="a1", refresh_token="r1", profile_arn=ours and ARN + ours,
        extra={"source": {"tool": "kiro-cli", "path": str(path), "key": key, "linked": True}},
    )  # fmt: skip

    grant = await renewed(account, Service())

    assert (grant.access_token, grant.profile_arn) == ("a2", given)


@pytest.mark.parametrize("method", ["idc", "sso"])
@pytest.mark.parametrize("region", ["us-east-1", None])
async def test_a_row_that_does_not_say_whose_it_is_stays_shared(
    tmp_path: Path, method: str, region: str | None
):
    """What Kiro said of the account counts; the row alone would be taken for the other kind."""
    path, key = tmp_path / "data.sqlite3", "kirocli:odic:token"
    row = {"access_token": "a2", "refresh_token": "r2", "expires_at": made.rfc3339(NOW + 3600)}
    made.kiro_cli(path, {key: row | {"region": region}})
    account = Account(
        id="a", auth_method=method, access_token="a1", refresh_token="r1",
        extra={"source": {"tool": "kiro-cli", "path": str(path), "key": key, "linked": True}},
    )  # fmt: skip

    assert (await renewed(account, Service())).access_token == "a2"
