"""Sign-ins by device code: how often the service is asked, when to stop, and what is kept in the end."""

import asyncio
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth import config
from kiro_auth.failures import SignInFailed
from kiro_auth.kinds import BUILDER_ID_START_URL
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.login.device_flow import LIKELY_REGIONS, DeviceSignIn
from kiro_auth.login.start_url import clean_start_url
from support.scripted import reply, script
from support.storing import HandStore

EPOCH = 1_800_000_000.0
START_URL = "https://d-1234567890.awsapps.com/start"
DEVICE_CODE, CLIENT_SECRET = "the-device-code", "the-client-secret"
GRANT = reply({"accessToken": "access", "refreshToken": "refresh", "expiresIn": 3600})
PENDING = reply({"error": "authorization_pending"}, 400)
SLOW_DOWN = reply({"error": "slow_down"}, 400)
UNKNOWN_URL = reply({"error": "invalid_request"}, 400)
FAULT = reply({"error": "server_error"}, 500)
USAGE = reply(
    {
        "userInfo": {"userId": "user", "email": "ann@example.org"},
        "subscriptionInfo": {"subscriptionTitle": "KIRO PRO"},
    }
)
US, EU = "us-east-1", "eu-central-1"


async def broken(request):
    request.transport.abort()
    return reply()


def arn(region: str) -> str:
    return f"arn:aws:codewhisperer:{region}:123456789012:profile/ABCDEFGHIJKL"


def profiles(*regions: str):
    return reply({"profiles": [{"arn": arn(region), "profileName": f"team {region}"} for region in regions]})


def device(**changed):
    return reply(
        {
            "deviceCode": DEVICE_CODE,
            "userCode": "ABCD-EFGH",
            "verificationUri": "https://device.example/",
            "verificationUriComplete": "https://device.example/?user_code=ABCD-EFGH",
            "expiresIn": 600,
            "interval": 5,
            **changed,
        }
    )


class Stage:
    """A scripted AWS, a store, and a clock that moves only while somebody sleeps.

    `says` holds the answers by path or operation; the last of each is repeated.
    """

    def __init__(self, folder: Path) -> None:
        self.store = HandStore(folder, folder / "locks")
        self.says = {
            "register": [reply({"clientId": "client", "clientSecret": CLIENT_SECRET})],
            "device_authorization": [device()],
            "token": [GRANT],
            "ListAvailableProfiles": [profiles(EU)],
            "GetUsageLimits": [USAGE],
        }
        self.asked: dict[str, list] = {name: [] for name in self.says}
        self.waits: list[float] = []
        self.dozes = 0.0
        """How much longer each sleep is by the wall clock than by the other: the machine's own sleep."""
        self._elapsed = self._wall = 0.0

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._elapsed += seconds
        self._wall += seconds + self.dozes

    async def answer(self, request):
        operation = request.headers.get("X-Amz-Target", request.path).replace("/", ".").rpartition(".")[2]
        self.asked[operation].append(self.service.asked[-1])
        said = self.says[operation]
        answer = said.pop(0) if len(said) > 1 else said[0]
        return await answer(request) if callable(answer) else answer

    @asynccontextmanager
    async def sign_in(self, *, choose=None, sleep=None, **options: str):
        environment = {f"KIRO_{name.upper()}": value for name, value in options.items()}
        async with script(self.answer) as self.service, Lines(Trust()) as lines:
            url = self.service.url
            yield DeviceSignIn(
                lines,
                Endpoints({"oidc": (f"{url}/oidc/{{region}}",), "management": (f"{url}/api/{{region}}",)}),
                self.store,
                config.load(environment=environment, folder=Path("/nowhere")),
                choose=choose,
                sleep=sleep or self.sleep,
                monotonic=lambda: self._elapsed,
                clock=lambda: EPOCH + self._wall,
            )

    async def whole(self, kind: str = "builder-id", **arguments):
        """Start and finish; the account and the notices."""
        async with self.sign_in(**arguments) as sign_in:
            await sign_in.start(kind, START_URL if kind == "idc" else None, "eu-north-1")
            return await sign_in.finish(), sign_in.notices

    async def failing(self, kind: str = "builder-id"):
        """Start and finish a sign-in that fails; why."""
        with pytest.raises(SignInFailed) as raised:
            await self.whole(kind)
        failure = raised.value.failure
        assert DEVICE_CODE not in failure.sentence()
        assert CLIENT_SECRET not in failure.sentence()
        assert self.store.accounts() == []
        return failure


@pytest.fixture
def stage(tmp_path) -> Stage:
    return Stage(tmp_path)


# ----------------------------------------------------------------------------------- how it starts


async def test_the_prompt_shows_page_and_code_and_until_when(stage):
    async with stage.sign_in() as sign_in:
        prompt = await sign_in.start()
    assert (prompt.url, prompt.code) == ("https://device.example/?user_code=ABCD-EFGH", "ABCD-EFGH")
    assert (prompt.expires_at, prompt.notice) == (EPOCH + 600, None)
    assert DEVICE_CODE not in repr(prompt)


async def test_a_builder_id_signs_in_at_its_own_place_whatever_is_configured(stage):
    async with stage.sign_in(sso_start_url=START_URL, sso_region="eu-west-1") as sign_in:
        await sign_in.start("builder-id", "https://other.example/start", "eu-north-1")
    (asked,) = stage.asked["device_authorization"]
    assert (asked.json["startUrl"], asked.path) == (
        BUILDER_ID_START_URL,
        "/oidc/us-east-1/device_authorization",
    )


@pytest.mark.parametrize(
    ("options", "given_url", "given_region", "start_url", "region"),
    [
        pytest.param({}, START_URL, "eu-north-1", START_URL, "eu-north-1", id="as asked"),
        pytest.param(
            {"sso_start_url": START_URL, "sso_region": "eu-west-1"},
            None,
            None,
            START_URL,
            "eu-west-1",
            id="configured",
        ),
        pytest.param(
            {"sso_start_url": "https://other.example/start", "sso_region": "eu-west-1"},
            START_URL,
            "eu-north-1",
            START_URL,
            "eu-north-1",
            id="asked over configured",
        ),
        pytest.param(
            {"default_region": "ap-southeast-2"}, START_URL, None, START_URL, "ap-southeast-2", id="default"
        ),
    ],
)
async def test_where_an_organisation_s_sign_in_goes(
    stage, options, given_url, given_region, start_url, region
):
    async with stage.sign_in(**options) as sign_in:
        await sign_in.start("idc", given_url, given_region)
    (asked,) = stage.asked["device_authorization"]
    assert (asked.json["startUrl"], asked.path) == (start_url, f"/oidc/{region}/device_authorization")


@pytest.mark.parametrize(
    ("kind", "start_url", "region", "code", "words"),
    [
        pytest.param("idc", None, None, "KA-LOGIN", "start URL of your organisation", id="no start URL"),
        pytest.param("google", None, None, "KA-LOGIN", "no sign-in of kind 'google'", id="unknown kind"),
        pytest.param("idc", START_URL, "a/b", "KA-CONFIG", "not an AWS region", id="no region"),
    ],
)
async def test_what_cannot_be_started_asks_nobody(stage, kind, start_url, region, code, words):
    async with stage.sign_in() as sign_in:
        with pytest.raises(SignInFailed) as raised:
            await sign_in.start(kind, start_url, region)
    assert raised.value.failure.code == code
    assert words in raised.value.failure.message
    assert stage.service.asked == []


async def test_a_sign_in_that_was_not_started_cannot_be_finished(stage):
    async with stage.sign_in() as sign_in:
        with pytest.raises(SignInFailed, match="not started"):
            await sign_in.finish()


async def test_a_start_url_is_sent_as_given_then_once_without_what_browsers_add(stage):
    stage.says["device_authorization"] = [UNKNOWN_URL, device()]
    async with stage.sign_in() as sign_in:
        prompt = await sign_in.start("idc", START_URL + "/#/", "eu-north-1")
        account = await sign_in.finish()
    sent = [asked.json["startUrl"] for asked in stage.asked["device_authorization"]]
    assert sent == [START_URL + "/#/", START_URL]
    assert START_URL in prompt.notice
    assert account.sso_start_url == START_URL
    assert len(stage.asked["register"]) == 1


@pytest.mark.parametrize(("suffix", "times"), [("/#/", 2), ("", 1)], ids=["uncleaned", "clean"])
async def test_an_unknown_start_url_asks_about_the_region(stage, suffix, times):
    stage.says["device_authorization"] = [UNKNOWN_URL]
    async with stage.sign_in() as sign_in:
        with pytest.raises(SignInFailed, match=r"unknown in region eu-north-1.*not of Kiro"):
            await sign_in.start("idc", START_URL + suffix, "eu-north-1")
    elsewhere = [region for region in LIKELY_REGIONS if region != "eu-north-1" and "-gov-" not in region]
    asked = [each.path.split("/")[2] for each in stage.asked["device_authorization"]]
    assert asked == ["eu-north-1"] * times + elsewhere


async def test_a_start_url_of_another_region_is_found_there_and_told(stage):
    stage.says["device_authorization"] = [UNKNOWN_URL, UNKNOWN_URL, FAULT, device()]
    async with stage.sign_in() as sign_in:
        prompt = await sign_in.start("idc", START_URL, "sa-east-1")
        account = await sign_in.finish()

    assert account.region == LIKELY_REGIONS[2]
    assert LIKELY_REGIONS[2] in prompt.notice
    assert "sa-east-1" in prompt.notice
    assert [asked.path.split("/")[2] for asked in stage.asked["token"]] == [LIKELY_REGIONS[2]]


@pytest.mark.parametrize(("days", "registered"), [(89, 0), (79, 1), (None, 1)])
async def test_a_new_registration_of_the_region_serves_again(stage, days, registered):
    ends = {} if days is None else {"clientSecretExpiresAt": (EPOCH + days * 86400) * 1000}
    held = {"id": "a", "region": "eu-north-1", "clientId": "held", "clientSecret": "its secret", **ends}
    stage.store.add_account(held)
    async with stage.sign_in() as sign_in:
        await sign_in.start("idc", START_URL, "eu-north-1")

    assert len(stage.asked["register"]) == registered
    [asked] = stage.asked["device_authorization"]
    assert asked.json["clientId"] == ("client" if registered else "held")


async def test_a_registration_that_is_refused_is_made_anew(stage):
    ends = (EPOCH + 89 * 86400) * 1000
    held = {"id": "a", "region": "eu-north-1", "clientId": "held", "clientSecret": "s"}
    stage.store.add_account(held | {"clientSecretExpiresAt": ends})
    stage.says["device_authorization"] = [reply({"error": "invalid_client"}, 401), device()]
    async with stage.sign_in() as sign_in:
        await sign_in.start("idc", START_URL, "eu-north-1")

    assert len(stage.asked["register"]) == 1
    assert [asked.json["clientId"] for asked in stage.asked["device_authorization"]] == ["held", "client"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(FAULT, id="a fault"),
        pytest.param(reply({"error": "unauthorized_client"}, 400), id="not allowed"),
        pytest.param(broken, id="broken off"),
    ],
)
async def test_other_trouble_is_not_blamed_on_the_start_url(stage, answer):
    stage.says["device_authorization"] = [answer]
    async with stage.sign_in() as sign_in:
        with pytest.raises(SignInFailed) as raised:
            await sign_in.start("idc", START_URL + "/#/", "eu-north-1")
    assert "start URL" not in raised.value.failure.message
    assert len(stage.asked["device_authorization"]) == 1


@pytest.mark.parametrize(
    ("given_url", "cleaned"),
    [
        (START_URL, START_URL),
        (START_URL + "/", START_URL),
        (START_URL + "/#/", START_URL),
        (START_URL + "#/device?user_code=A", START_URL),
        (START_URL + "?x=1", START_URL),
        (f" {START_URL}\n", START_URL),
        ("https://[broken/#/", "https://[broken"),
        ("", ""),
    ],
)
def test_a_cleaned_start_url_ends_with_its_path(given_url, cleaned):
    assert clean_start_url(given_url) == cleaned


@given(st.text(st.sampled_from("htps:/[]#? .é@1")))
def test_a_cleaned_start_url_is_a_part_of_what_was_given(text):
    cleaned = clean_start_url(text)
    assert cleaned in text
    assert not set(cleaned) & set("#?")


# ---------------------------------------------------------------------------------- how it is asked


@pytest.mark.parametrize(
    ("interval", "answers", "waits"),
    [
        pytest.param(1, [GRANT], [1], id="the first question waits too"),
        pytest.param(2, [PENDING, PENDING, GRANT], [2, 2, 2], id="pending"),
        pytest.param(1, [SLOW_DOWN, PENDING, SLOW_DOWN, GRANT], [1, 6, 6, 11], id="slow down, for good"),
        pytest.param(1, [reply({}, 429), PENDING, GRANT], [1, 6, 6], id="429 is slow down"),
        pytest.param(5, [FAULT] * 4 + [GRANT], [5, 10, 20, 30, 30], id="faults double the wait"),
        pytest.param(5, [FAULT, FAULT, PENDING, GRANT], [5, 10, 20, 5], id="and its end restores it"),
        pytest.param(40, [FAULT, GRANT], [40, 40], id="never below the interval"),
        pytest.param(1, [reply(b"<html>hotel</html>"), GRANT], [1, 2], id="a proxy's page"),
        pytest.param(1, [broken, broken, GRANT], [1, 2, 4], id="broken off"),
        pytest.param(1, [SLOW_DOWN, FAULT, GRANT], [1, 6, 12], id="a fault after slow down"),
    ],
)
async def test_the_pace_of_the_questions(stage, interval, answers, waits):
    stage.says["device_authorization"] = [device(interval=interval)]
    stage.says["token"] = list(answers)
    await stage.whole()
    assert stage.waits == waits
    assert len(stage.asked["token"]) == len(waits)
    assert stage.asked["token"][0].json["deviceCode"] == DEVICE_CODE


async def test_the_question_at_the_very_end_is_still_asked(stage):
    stage.says["device_authorization"] = [device(interval=5, expiresIn=12)]
    stage.says["token"] = [PENDING, PENDING, GRANT]
    account, _ = await stage.whole()
    assert stage.waits == [5, 5, 2]
    assert account.refresh_token == "refresh"


async def test_a_code_that_nobody_confirmed_has_expired(stage):
    stage.says["device_authorization"] = [device(interval=5, expiresIn=12)]
    stage.says["token"] = [PENDING]
    failure = await stage.failing()
    assert stage.waits == [5, 5, 2]
    assert (failure.code, failure.reason) == ("KA-LOGIN", "expired_token")
    assert failure.message == "The code has expired before it was confirmed."


async def test_a_code_that_ran_out_during_trouble_says_so(stage):
    stage.says["device_authorization"] = [device(interval=5, expiresIn=12)]
    stage.says["token"] = [FAULT]
    failure = await stage.failing()
    assert stage.waits == [5, 7]
    assert "out of order" in failure.message
    assert failure.reason == "expired_token"


async def test_a_laptop_that_slept_asks_once_more_and_no_longer(stage):
    stage.dozes = 10_000
    stage.says["token"] = [PENDING]
    failure = await stage.failing()
    assert len(stage.asked["token"]) == 1
    assert failure.reason == "expired_token"


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("access_denied", "declined"),
        ("expired_token", "expired"),
        ("invalid_grant", "used already"),
        ("unauthorized_client", "ask your administrator"),
        ("invalid_client", "invalid_client"),
        ("a_word_of_tomorrow", "a_word_of_tomorrow"),
    ],
)
async def test_what_ends_a_sign_in_ends_it_at_once(stage, word, sentence):
    stage.says["token"] = [PENDING, reply({"error": word}, 400)]
    failure = await stage.failing()
    assert (failure.code, failure.reason) == ("KA-LOGIN", word)
    assert sentence in failure.message
    assert len(stage.asked["token"]) == 2


async def test_a_cancelled_sign_in_stops_at_once_and_keeps_nothing(stage):
    stage.says["device_authorization"] = [device(interval=300)]
    async with stage.sign_in(sleep=asyncio.sleep) as sign_in, asyncio.timeout(40):
        await sign_in.start()
        waiting = asyncio.create_task(sign_in.finish())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert stage.store.accounts() == []
    assert stage.asked["token"] == []


# ------------------------------------------------------------------------------------- what is kept


async def test_a_builder_id_is_kept_with_its_plan_and_asks_for_no_profile(stage):
    account, notices = await stage.whole()
    assert (account.kind, account.name, account.region) == ("builder-id", "a***@example.org", US)
    assert (account.real_email, account.extra["plan"]) == ("ann@example.org", "KIRO PRO")
    assert account.expires_at == (EPOCH + 5 + 3600) * 1000
    assert stage.asked["ListAvailableProfiles"] == []
    assert notices == []


async def test_an_organisation_s_account_asks_for_its_usage_where_its_profile_is(stage):
    account, notices = await stage.whole("idc")
    (asked,) = stage.asked["GetUsageLimits"]
    assert (asked.path, asked.json["profileArn"]) == (f"/api/{EU}/", arn(EU))
    assert (account.region, account.service_region, account.profile_arn) == ("eu-north-1", EU, arn(EU))
    assert notices == []


async def test_of_several_profiles_the_person_chooses_one_without_holding_up_the_program(stage):
    stage.says["ListAvailableProfiles"] = [profiles(EU, US)]
    shown = []

    def choose(offered):
        shown.append((threading.current_thread(), [profile.region for profile in offered]))
        return offered[1]

    account, notices = await stage.whole("idc", choose=choose)
    ((thread, regions),) = shown
    assert regions == [EU, US]
    assert thread is not threading.main_thread()
    assert account.profile_arn == arn(US)
    assert notices == []


async def test_with_nobody_to_ask_the_first_profile_is_used_and_told(stage):
    stage.says["ListAvailableProfiles"] = [profiles(EU, US)]
    account, (notice,) = await stage.whole("idc")
    assert account.profile_arn == arn(EU)
    assert notice.startswith(f"2 Kiro profiles are assigned; team {EU} in {EU} is used. Another one: ")


async def test_of_several_profiles_the_configured_one_is_used_without_asking(stage):
    stage.says["ListAvailableProfiles"] = [profiles(EU, US)]
    account, notices = await stage.whole("idc", sso_profile_arn=arn(US), choose=pytest.fail)
    assert (account.profile_arn, notices) == (arn(US), [])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(profiles(), "No Kiro profile assigned (eu-central-1, us-east-1 were asked)", id="none"),
        pytest.param(reply({}, 500), "could not be listed", id="a fault"),
        pytest.param(broken, "could not be listed", id="broken off"),
    ],
)
async def test_no_profile_keeps_the_login_and_says_what_is_missing(stage, answer, words):
    stage.says["ListAvailableProfiles"] = [answer]
    stage.says["GetUsageLimits"] = [reply({"message": "profileArn is required for this request."}, 400)]
    account, (notice,) = await stage.whole("idc")
    assert account.refresh_token == "refresh"
    assert account.profile_arn is None
    assert words in account.state_reason
    assert words in notice
    assert len(stage.store.accounts()) == 1


@pytest.mark.parametrize("answer", [FAULT, reply({}, 403), broken], ids=["fault", "refused", "broken off"])
async def test_an_unknown_usage_keeps_the_login(stage, answer):
    stage.says["GetUsageLimits"] = [answer]
    account, (notice,) = await stage.whole()
    assert account.refresh_token == "refresh"
    assert notice.startswith("Plan and usage are not known yet: ")


async def test_one_sign_in_can_be_started_anew(stage):
    stage.says["device_authorization"] = [device(expiresIn=5), device()]
    stage.says["token"] = [reply({"error": "expired_token"}, 400), GRANT]
    async with stage.sign_in() as sign_in:
        await sign_in.start()
        with pytest.raises(SignInFailed):
            await sign_in.finish()
        await sign_in.start()
        assert (await sign_in.finish()).refresh_token == "refresh"


async def test_a_store_that_cannot_be_written_fails_the_sign_in_by_its_own_name(stage, tmp_path):
    (tmp_path / "kiro-accounts.json").write_text("not JSON")
    with pytest.raises(SignInFailed) as raised:
        await stage.whole()
    assert raised.value.failure.code == "KA-STORE"
