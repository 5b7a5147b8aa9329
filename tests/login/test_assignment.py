"""The profile of an account that has none: looked up once, when it is needed, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kiro_auth import config
from kiro_auth.accounts.account import Account, account_of
from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.login.assignment import AGAIN, Assignments
from support.scripted import Script, reply, script
from support.storing import HandStore

US, EU = "us-east-1", "eu-central-1"
NOW = 1_800_000_000.0
PERSONAL = reply({"message": "AWS Builder ID is not supported for this operation."}, 403)
BAD_TOKEN = reply({"__type": "AccessDeniedException", "message": "Invalid token"}, 400)
NONE = reply({"profiles": []})
BROKEN = reply({}, 503)


def arn(region: str, name: str = "A") -> str:
    return f"arn:aws:codewhisperer:{region}:1:profile/{name}"


def listed(*arns: str) -> Any:
    return reply({"profiles": [{"arn": each, "profileName": each.rpartition("/")[2]} for each in arns]})


class Stage:
    """A store with one account of an organisation, and Kiro's answer in each region."""

    def __init__(self, folder: Path) -> None:
        self.store = HandStore(folder, folder / "locks")
        self.folder = folder
        self.now = NOW
        self.says: dict[str, Any] = {US: NONE, EU: NONE}
        self.store.add_account({"id": "a", "label": "Work", "authMethod": "sso", "accessToken": "token"})

    def change(self, **fields: Any) -> None:
        self.store.change_account("a", fields)

    def account(self) -> Account:
        return account_of(self.store.accounts()[0])

    @asynccontextmanager
    async def assignments(self, **options: str) -> AsyncIterator[tuple[Assignments, Script]]:
        async def answer(request: Any) -> Any:
            await asyncio.sleep(0.05)
            return self.says[request.path.strip("/")]

        environment = {f"KIRO_{name.upper()}": value for name, value in options.items()}
        loaded = config.load(environment=environment, folder=self.folder / "nowhere")
        async with script(answer) as service, Lines(Trust()) as lines:
            endpoints = Endpoints({"management": (f"{service.url}/{{region}}",)})
            client = KiroClient(lines, endpoints, timeout=5)
            yield Assignments(self.store, client, loaded, lambda: self.now), service


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def test_requests_that_come_together_ask_once_and_all_get_the_profile(stage: Stage) -> None:
    stage.says[EU] = listed(arn(EU))
    async with stage.assignments() as (assignments, service):
        given = await asyncio.gather(*(assignments.with_profile(stage.account()) for _ in range(5)))

    assert {account.profile_arn for account in given} == {arn(EU)}
    assert len(service.asked) == 2
    assert (stage.account().profile_arn, stage.account().service_region) == (arn(EU), EU)


async def test_an_account_that_has_one_or_needs_none_asks_nothing(stage: Stage) -> None:
    async with stage.assignments() as (assignments, service):
        for fields in ({"profileArn": arn(US)}, {"profileArn": None, "authMethod": "social"}):
            stage.change(**fields)
            assert await assignments.with_profile(stage.account()) == stage.account()
    assert service.asked == []


async def test_that_none_is_assigned_is_asked_again_after_a_minute(stage: Stage) -> None:
    async with stage.assignments() as (assignments, service):
        for wait, asked in ((0.0, 2), (AGAIN / 2, 2), (AGAIN, 4)):
            stage.now += wait
            with pytest.raises(TurnFailed, match="No Kiro profile assigned") as raised:
                await assignments.with_profile(stage.account())
            assert (raised.value.failure.code, raised.value.failure.account) == (
                "KA-PROFILE",
                "Work",
            )
            assert len(service.asked) == asked

        stage.says[US], stage.now = listed(arn(US)), stage.now + AGAIN
        assert (await assignments.with_profile(stage.account())).profile_arn == arn(US)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(BROKEN, "KA-SERVICE", id="out of order"),
        pytest.param(BAD_TOKEN, "KA-TOKEN", id="a bad token"),
    ],
)
async def test_what_is_no_verdict_is_asked_again_at_once(stage: Stage, answer: Any, code: str) -> None:
    stage.says = {US: answer, EU: answer}
    async with stage.assignments() as (assignments, _):
        with pytest.raises(TurnFailed) as raised:
            await assignments.with_profile(stage.account())
        assert raised.value.failure.code == code

        stage.says[EU] = listed(arn(EU))
        assert (await assignments.with_profile(stage.account())).profile_arn == arn(EU)
    assert stage.account().state == "ready"


async def test_the_token_in_hand_is_kept_even_where_the_store_has_an_older_one(stage: Stage) -> None:
    stage.says[US] = listed(arn(US))
    async with stage.assignments() as (assignments, service):
        given = await assignments.with_profile(replace(stage.account(), access_token="newer", generation=5))

    assert (given.access_token, given.generation, given.profile_arn) == ("newer", 5, arn(US))
    assert {asked.headers["authorization"] for asked in service.asked} == {"Bearer newer"}


@pytest.mark.parametrize(
    ("wanted", "before", "used"),
    [
        ({}, None, "A"),
        ({"sso_profile_arn": arn(US, "C")}, arn(US, "B"), "C"),
        ({}, arn(US, "B"), "B"),
        ({}, arn(US, "X"), "A"),
    ],
    ids=["the first", "the one in kiro.json", "the one it had", "the one it had is gone"],
)
async def test_of_several_profiles_the_wanted_one_is_used_and_the_owner_is_told(
    stage: Stage, wanted: dict[str, str], before: str | None, used: str
) -> None:
    stage.says[US] = listed(arn(US, "A"), arn(US, "B"), arn(US, "C"))
    stage.change(profileArn=before, kiroAuth={"kindUnsure": True})
    async with stage.assignments(**wanted) as (assignments, _):
        given = await assignments.with_profile(stage.account())

        assert (given.profile_arn, given.profile_name) == (arn(US, used), used)
        assert assignments.notice("a") == f"3 Kiro profiles are assigned; {used} is used"


GUESSES = {
    "Builder ID": {"authMethod": "idc"},
    "organisation": {"authMethod": "sso", "profileArn": arn(EU, "OLD")},
}


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize(
    "elsewhere", [PERSONAL, NONE, BAD_TOKEN, BROKEN], ids=["refused", "none", "bad", "broken"]
)
async def test_who_is_refused_a_list_is_a_builder_id_whatever_was_guessed(
    stage: Stage, guess: str, elsewhere: Any
) -> None:
    stage.says = {US: PERSONAL, EU: elsewhere}
    stage.change(**GUESSES[guess], kiroAuth={"kindUnsure": True, "plan": "kept"})
    async with stage.assignments() as (assignments, service):
        given = await assignments.with_profile(stage.account())
        assert await assignments.with_profile(given) == given

    assert given == stage.account()
    assert (given.kind, given.profile_arn, given.name) == ("builder-id", None, "Work")
    assert given.extra == {"plan": "kept"}
    assert len(service.asked) == 2


@pytest.mark.parametrize("guess", GUESSES)
async def test_who_is_given_a_list_is_an_organisation_s_whatever_was_guessed(
    stage: Stage, guess: str
) -> None:
    stage.says = {US: BAD_TOKEN, EU: listed(arn(EU))}
    stage.change(**GUESSES[guess], kiroAuth={"kindUnsure": True})
    async with stage.assignments() as (assignments, _):
        given = await assignments.with_profile(stage.account())

    assert (given.kind, given.profile_arn, given.name) == ("idc", arn(EU), "Work")
    assert not given.kind_unsure


@pytest.mark.parametrize("guess", GUESSES)
async def test_an_empty_list_makes_an_organisation_s_account_that_may_still_be_another(
    stage: Stage, guess: str
) -> None:
    stage.change(**GUESSES[guess], kiroAuth={"kindUnsure": True})
    async with stage.assignments() as (assignments, _):
        with pytest.raises(TurnFailed, match="No Kiro profile assigned"):
            await assignments.with_profile(stage.account())
        assert (stage.account().kind, stage.account().kind_unsure) == ("idc", True)

        stage.says, stage.now = {US: PERSONAL, EU: PERSONAL}, NOW + AGAIN
        assert (await assignments.with_profile(stage.account())).kind == "builder-id"


@pytest.mark.parametrize("guess", GUESSES)
async def test_a_guess_stays_one_while_nobody_can_say(stage: Stage, guess: str) -> None:
    stage.says = {US: BROKEN, EU: BROKEN}
    stage.change(**GUESSES[guess], kiroAuth={"kindUnsure": True})
    before = stage.account()
    async with stage.assignments() as (assignments, _):
        with pytest.raises(TurnFailed, match="could not be listed"):
            await assignments.with_profile(stage.account())

    assert stage.account() == before


@pytest.mark.parametrize(
    "change",
    [lambda s: s.store.remove_account("a"), lambda s: s.folder.chmod(0o500)],
    ids=["removed", "read-only"],
)
async def test_a_profile_that_cannot_be_kept_serves_all_the_same(
    stage: Stage, change: Callable[[Stage], Any]
) -> None:
    stage.says[US] = listed(arn(US))
    account = stage.account()
    change(stage)
    async with stage.assignments() as (assignments, _):
        assert (await assignments.with_profile(account)).profile_arn == arn(US)
    stage.folder.chmod(0o700)


@pytest.mark.parametrize("together", [2, 6])
@pytest.mark.parametrize(("answer", "code"), [(BROKEN, "KA-SERVICE"), (NONE, "KA-PROFILE")])
async def test_requests_that_come_together_share_a_failure_too(
    stage: Stage, answer: Any, code: str, together: int
) -> None:
    stage.says |= {US: answer, EU: answer}
    async with stage.assignments() as (assignments, service):
        asked = (assignments.with_profile(stage.account()) for _ in range(together))
        ended = await asyncio.gather(*asked, return_exceptions=True)

    assert [error.failure.code for error in ended if isinstance(error, TurnFailed)] == [code] * together
    assert len(service.asked) == 2


async def test_a_request_whose_token_is_another_one_does_not_share_that_a_token_is_bad(stage: Stage) -> None:
    stage.says |= {US: BAD_TOKEN, EU: BAD_TOKEN}
    async with stage.assignments() as (assignments, service):
        tokens = (replace(stage.account(), access_token=token) for token in ("old", "new"))
        ended = await asyncio.gather(*map(assignments.with_profile, tokens), return_exceptions=True)

    assert [error.failure.code for error in ended if isinstance(error, TurnFailed)] == ["KA-TOKEN"] * 2
    assert len(service.asked) == 4
