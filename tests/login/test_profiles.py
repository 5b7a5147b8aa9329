"""Which regions are asked for an organisation's Kiro profile, and what a usage answer says of a person."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.failures import CATALOGUE, Failure
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.login.profiles import Discovery, Identity, Profile, discover, identity_of
from support.scripted import reply, script

US, EU = "us-east-1", "eu-central-1"
GOV_WEST, GOV_EAST = "us-gov-west-1", "us-gov-east-1"


def arn(region: str, name: str = "ABCDEFGHIJKL") -> str:
    return f"arn:aws:codewhisperer:{region}:123456789012:profile/{name}"


def listed(*arns: str, **fields: str):
    return reply({"profiles": [{"arn": each, "profileName": "team", **fields} for each in arns]})


async def found(auth_region: str, answers: dict, timeout: float = 5) -> Discovery:
    """What is discovered when the regions answer so."""

    async def answer(request):
        given_ = answers[request.path.strip("/")]
        return await given_(request) if callable(given_) else given_

    async with script(answer) as service, Lines(Trust()) as lines:
        endpoints = Endpoints({"management": (f"{service.url}/{{region}}",)})
        client = KiroClient(lines, endpoints, timeout=timeout)
        discovery = await discover(client, kind="idc", token="token", auth_region=auth_region)
    asked = [each.path.strip("/") for each in service.asked]
    assert sorted(asked) == sorted(discovery.asked)
    return discovery


@pytest.mark.parametrize(
    ("auth_region", "us", "eu", "asked", "regions"),
    [
        pytest.param("us-east-2", [arn(US)], [], (US, EU), [US], id="America, profile there"),
        pytest.param("ap-southeast-2", [], [arn(EU)], (US, EU), [EU], id="Australia, profile in Europe"),
        pytest.param("us-east-1", [arn(US)], [arn(EU)], (US, EU), [US, EU], id="a profile in each"),
        pytest.param("eu-north-1", [arn(US)], [arn(EU)], (EU,), [EU], id="Europe stays in Europe"),
        pytest.param("eu-west-1", [arn(US)], [], (EU, US), [US], id="Europe, profile in America only"),
        pytest.param("eu-west-1", [], [], (EU, US), [], id="none at all"),
    ],
)
async def test_europe_is_asked_first_for_europeans_and_the_rest_together(auth_region, us, eu, asked, regions):
    discovery = await found(auth_region, {US: listed(*us), EU: listed(*eu)})
    assert discovery.asked == asked
    assert [profile.region for profile in discovery.profiles] == regions


@pytest.mark.parametrize(
    ("auth_region", "asked"),
    [
        (GOV_WEST, (GOV_WEST, GOV_EAST)),
        (GOV_EAST, (GOV_WEST, GOV_EAST)),
        ("cn-north-1", ()),
        ("eusc-de-east-1", ()),
    ],
)
async def test_no_token_leaves_the_partition_in_which_the_sign_in_was_made(auth_region, asked):
    discovery = await found(auth_region, {GOV_WEST: listed(), GOV_EAST: listed()})
    assert discovery.asked == asked
    assert discovery.failure().code == "KA-PROFILE"


@pytest.mark.parametrize(("region", "elsewhere"), [(GOV_WEST, US), (US, GOV_WEST), (US, "cn-north-1")])
async def test_a_profile_of_another_partition_is_not_used(region, elsewhere):
    answers = {each: listed() for each in (US, EU, GOV_WEST, GOV_EAST)}
    answers[region] = listed(arn(elsewhere), arn(region))
    discovery = await found(region, answers)
    assert [profile.region for profile in discovery.profiles] == [region]


async def test_a_region_that_fails_does_not_stop_the_other():
    discovery = await found(US, {US: reply({}, 500), EU: listed(arn(EU))})
    assert discovery.profiles == (Profile(arn(EU), "team", EU),)
    assert [failure.code for failure in discovery.failures] == ["KA-SERVICE"]


async def test_a_silent_region_is_given_up_while_the_other_answers():
    async def silent(request):
        await asyncio.sleep(600)

    # The other has this time as well, and needs some thousandths of it.
    discovery = await found(US, {US: silent, EU: listed(arn(EU))}, timeout=3)
    assert len(discovery.profiles) == 1
    assert [failure.code for failure in discovery.failures] == ["KA-TIMEOUT"]


async def test_the_region_is_the_one_in_the_arn():
    discovery = await found(US, {US: listed(arn(EU)), EU: listed()})
    assert discovery.profiles[0].region == EU


async def test_a_profile_listed_in_two_regions_is_one():
    discovery = await found(US, {US: listed(arn(EU)), EU: listed(arn(EU))})
    assert len(discovery.profiles) == 1


@pytest.mark.parametrize(
    ("status", "usable"),
    [("ACTIVE", 1), ("UPDATING", 1), ("CREATING", 0), ("CREATE_FAILED", 0), ("DELETING", 0)],
)
async def test_a_profile_that_does_not_work_is_left_out(status, usable):
    discovery = await found(US, {US: listed(arn(US), status=status), EU: listed()})
    assert len(discovery.profiles) == usable


async def test_rows_without_an_arn_are_passed_over():
    odd = reply({"profiles": [{}, {"arn": None}, {"arn": 5}, "x", {"arn": arn(US)}]})
    discovery = await found(US, {US: odd, EU: listed()})
    assert discovery.profiles == (Profile(arn(US), "", US),)


def failure(code: str) -> Failure:
    return Failure(code=code, message=CATALOGUE[code].title)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        pytest.param([], "No Kiro profile assigned (us-east-1, eu-central-1 were asked)", id="empty lists"),
        pytest.param(
            ["KA-ENTITLEMENT", "KA-ENTITLEMENT"], "No Kiro profile assigned", id="refused everywhere"
        ),
        pytest.param(["KA-ENTITLEMENT"], "No Kiro profile assigned", id="refused in one"),
        pytest.param(["KA-TOKEN"], "No Kiro profile assigned", id="a token that is unknown in one region"),
        pytest.param(["KA-TOKEN", "KA-ENTITLEMENT"], "No Kiro profile assigned", id="refused in two ways"),
        pytest.param(["KA-TOKEN", "KA-TOKEN"], CATALOGUE["KA-TOKEN"].title, id="a token that is bad"),
        pytest.param(["KA-SUSPENDED"], "AWS has locked the account", id="a locked account"),
        pytest.param(["KA-NETWORK", "KA-TIMEOUT"], "could not be listed", id="unreachable"),
        pytest.param(["KA-ENTITLEMENT", "KA-TIMEOUT"], "could not be listed", id="refused and unreachable"),
        pytest.param(["KA-SERVICE"], "could not be listed", id="empty here, out of order there"),
    ],
)
def test_no_profile_is_claimed_only_when_every_region_could_be_asked(codes, words):
    assert words in Discovery((), (US, EU), tuple(map(failure, codes))).failure().message


# ---------------------------------------------------------------------------------------- identity


@pytest.mark.parametrize(
    ("usage", "identity"),
    [
        pytest.param(
            {
                "userInfo": {"userId": "u", "email": "a@example.org"},
                "subscriptionInfo": {"subscriptionTitle": "KIRO PRO", "type": "Q_DEVELOPER_STANDALONE_PRO"},
            },
            Identity("u", "a@example.org", "KIRO PRO"),
            id="all",
        ),
        pytest.param({"subscriptionInfo": {"type": "PRO"}}, Identity(plan="PRO"), id="plan by its type"),
        pytest.param({"userInfo": {"userId": "", "email": None}}, Identity(), id="empty"),
        pytest.param({"userInfo": None, "subscriptionInfo": []}, Identity(), id="other types"),
        pytest.param({}, Identity(), id="nothing"),
    ],
)
def test_a_usage_answer_tells_who_it_is_about(usage, identity):
    assert identity_of(usage) == identity


plain = st.sampled_from([None, True, 0, 1.5, "", "x", [], ["x"], {}])
part = plain | st.dictionaries(
    st.sampled_from(["userId", "email", "subscriptionTitle", "type"]), plain, max_size=4
)


@given(st.dictionaries(st.sampled_from(["userInfo", "subscriptionInfo", "x"]), part))
def test_any_usage_answer_gives_texts_or_nothing(usage):
    identity = identity_of(usage)
    for value in (identity.user_id, identity.email, identity.plan):
        assert value is None or (isinstance(value, str) and value)
