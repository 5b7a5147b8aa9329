"""Sign-ins of organisations that other programs left: from their files to an answer of the running gateway.

Where a profile is assigned late, is served elsewhere, or was chosen over there; where the row does not say
whose sign-in it is; where a file begins with a byte order mark, or is missing.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from support import foreign
from support.programs import Home, Simulator
from support.serving import serving

LINUS, ADA, HEDY = "linus@example.org", "ada@example.com", "hedy@example.com"
START_URL = "https://d-1234567890.awsapps.com/start"
CHAT, USAGE, PROFILES = "GenerateAssistantResponse", "GetUsageLimits", "ListAvailableProfiles"
ODIC, REGISTRATION = "kirocli:odic:token", "kirocli:odic:device-registration"
HASH = "5e" * 20


def arn(region: str, name: str = "TEAM", partition: str = "aws") -> str:
    return f"arn:{partition}:codewhisperer:{region}:444455556666:profile/{name:X<12}"


class Stage:
    """A home on whose machine Kiro's IDE and kiro-cli have been, and the services."""

    def __init__(self, home: Home, simulator: Simulator) -> None:
        self.home = home
        self.simulator = simulator
        self.database = home.folder / ".local" / "share" / "kiro-cli" / "data.sqlite3"
        self.cache = home.folder / ".aws" / "sso" / "cache"

    def member(
        self, *arns: str, region: str = "us-east-1", email: str = LINUS, **fields: Any
    ) -> dict[str, Any]:
        """What a finished sign-in of that person holds; these are the profiles assigned to them."""
        self.assign(*arns, email=email, region=region, **fields)
        return dict(self.simulator.ask("sign-in", {"user": email}))

    def assign(self, *arns: str, email: str = LINUS, **fields: Any) -> None:
        profiles = [{"arn": each, "profileName": each.rpartition("/")[2]} for each in arns]
        self.simulator.ask("user", {"email": email, "profiles": profiles, **fields})

    def ide(self, tokens: dict[str, Any], *, registered: bool = True, **fields: Any) -> None:
        token = {
            "accessToken": tokens["accessToken"], "refreshToken": tokens["refreshToken"],
            "expiresAt": foreign.rfc3339(time.time() + 3600, 3), "clientIdHash": HASH, "authMethod": "IdC",
            "provider": "Enterprise", "region": tokens["region"], **fields,
        }  # fmt: skip
        registration = {"clientId": tokens["clientId"], "clientSecret": tokens["clientSecret"]}
        foreign.kiro_ide(self.cache, token, registration if registered else None)

    def kiro_cli(self, tokens: dict[str, Any], state: dict[str, Any] | None = None, **fields: Any) -> None:
        """The row of a sign-in at AWS as newer versions leave it: without a start URL."""
        row = {
            "access_token": tokens["accessToken"], "refresh_token": tokens["refreshToken"],
            "expires_at": foreign.rfc3339(time.time() + 3600), "region": tokens["region"], "start_url": None,
            "oauth_flow": "Pkce", **fields,
        }  # fmt: skip
        registration = {
            "client_id": tokens["clientId"],
            "client_secret": tokens["clientSecret"],
            "region": tokens["region"],
        }
        foreign.kiro_cli(self.database, {ODIC: row, REGISTRATION: registration}, state)

    def imported(self, *more: str) -> list[dict[str, Any]]:
        done = self.home.run("accounts", "import", "--yes", "--json", *more)
        return list(json.loads(done.stdout)["imported"])

    def account(self) -> dict[str, Any]:
        [account] = self.home.json("accounts")["accounts"]
        return dict(account)

    def asked(self, operation: str) -> list[tuple[str, str | None]]:
        """Region and profile of each call that was answered or not."""
        calls = self.simulator.calls(operation)
        return [(call["region"], (call["body"] or {}).get("profileArn")) for call in calls]


@pytest.fixture
def stage(served: tuple[Home, Simulator]) -> Stage:
    return Stage(*served)


async def turn(stage: Stage) -> tuple[int, str]:
    async with serving(stage.home) as gateway:
        status, _, body = await gateway.ask()
    return status, body.get("error", {}).get("message", "")


# ---------------------------------------------------------------------------- where it is served


@pytest.mark.parametrize(
    ("signed_in", "place"),
    [("us-east-1", "eu-central-1"), ("eu-west-1", "us-east-1"), ("ap-southeast-2", "eu-central-1")],
)
async def test_plan_models_and_turns_are_asked_where_the_profile_is_and_with_it(
    stage: Stage, signed_in: str, place: str
) -> None:
    stage.ide(stage.member(arn(place), region=signed_in), startUrl=START_URL)

    [done] = stage.imported()
    stage.home.json("usage")
    stage.home.json("models")

    assert (done["change"], done["trouble"]) == ("added", "")
    assert await turn(stage) == (200, "")
    for operation in (USAGE, "ListAvailableModels", CHAT):
        assert set(stage.asked(operation)) == {(place, arn(place))}, operation
    assert stage.account()["plan"] == "KIRO PRO+" or stage.home.json("usage")["accounts"][0]["plan"]


def test_a_sign_in_with_an_organisation_that_has_no_profile_asks_no_plan_in_the_wrong_place(
    stage: Stage,
) -> None:
    stage.assign(region="eu-north-1")
    stage.simulator.ask("settings", {"autoApprove": True})

    done = stage.home.run("login", "--start-url", START_URL, "--region", "eu-north-1", "--no-browser")

    assert "No Kiro profile assigned (eu-central-1, us-east-1 were asked) (KA-PROFILE)." in done.stderr
    assert stage.asked(USAGE) == []


# -------------------------------------------------------------------------- a profile that comes late


async def test_without_a_profile_all_commands_say_so_and_no_turn_is_sent(stage: Stage) -> None:
    stage.ide(stage.member(), startUrl=START_URL)
    words = "No Kiro profile assigned (us-east-1, eu-central-1 were asked) (KA-PROFILE)."

    [done] = stage.imported()
    verified = stage.home.run("accounts", "verify", check=False)
    looked = stage.home.run("doctor", check=False)
    status, message = await turn(stage)

    for said in (done["trouble"], verified.stderr, looked.stdout, message):
        assert words in said
        assert "Ask your administrator to assign a Kiro profile" in said
    assert (verified.returncode, status) == (1, 424)
    assert stage.account()["stateCode"] == "KA-PROFILE"
    assert (stage.asked(CHAT), stage.asked(USAGE)) == ([], [])


@pytest.mark.parametrize("again", [("verify",), ("import", "--yes")], ids=" ".join)
async def test_a_profile_that_was_assigned_later_is_found(stage: Stage, again: tuple[str, ...]) -> None:
    stage.ide(stage.member(), startUrl=START_URL)
    stage.imported()
    stage.assign(arn("eu-central-1"))

    stage.home.run("accounts", *again)

    account = stage.account()
    assert (account["state"], account["profileArn"]) == ("ready", arn("eu-central-1"))
    assert await turn(stage) == (200, "")


async def test_a_profile_that_was_assigned_before_the_first_turn_is_found_by_it(stage: Stage) -> None:
    stage.assign(region="eu-north-1")
    stage.simulator.ask("settings", {"autoApprove": True})
    stage.home.run("login", "--start-url", START_URL, "--region", "eu-north-1", "--no-browser")
    stage.assign(arn("eu-central-1"))

    assert await turn(stage) == (200, "")

    assert stage.asked(CHAT) == [("eu-central-1", arn("eu-central-1"))]


async def test_a_region_that_cannot_be_asked_is_no_verdict(stage: Stage) -> None:
    stage.ide(stage.member(arn("us-east-1")), startUrl=START_URL)
    stage.simulator.ask("fault", {"operation": PROFILES, "status": 503, "times": 4})

    [done] = stage.imported()

    assert "could not be listed" in done["trouble"]
    assert stage.account()["state"] == "ready"
    assert await turn(stage) == (200, "")


# ------------------------------------------------------------------- whose sign-in, and which profile


NOTED = {"auth.idc.start-url": START_URL, "auth.idc.region": "us-east-1"}
CHOSEN = {"api.codewhisperer.profile": {"arn": arn("eu-central-1", "SECOND"), "profile_name": "second"}}


@pytest.mark.parametrize(
    ("region", "state", "profile"),
    [
        pytest.param("eu-west-1", {}, "FIRST", id="a region that has no Builder IDs"),
        pytest.param("us-east-1", NOTED, "FIRST", id="the organisation is noted"),
        pytest.param("us-east-1", {}, "FIRST", id="only Kiro knows"),
        pytest.param("us-east-1", CHOSEN, "SECOND", id="a profile was chosen"),
        pytest.param("eu-west-1", NOTED | CHOSEN, "SECOND", id="another organisation's note"),
    ],
)
async def test_a_row_without_a_start_url_may_be_an_organisation_s(
    stage: Stage, region: str, state: dict[str, Any], profile: str
) -> None:
    profiles = [arn("eu-central-1", "FIRST"), arn("eu-central-1", "SECOND")]
    stage.kiro_cli(stage.member(*profiles, region=region), state)

    [done] = stage.imported()

    account = stage.account()
    assert (done["change"], account["kind"], account["name"]) == ("added", "idc", "l***@example.org")
    assert account["profileArn"] == arn("eu-central-1", profile)
    assert await turn(stage) == (200, "")
    assert stage.imported()[0]["change"] == "unchanged"


@pytest.mark.parametrize(
    "state", [{}, NOTED, CHOSEN, NOTED | CHOSEN], ids=["bare", "noted", "chosen", "both"]
)
async def test_a_row_without_a_start_url_may_be_a_builder_id_whatever_was_noted_before(
    stage: Stage, state: dict[str, Any]
) -> None:
    stage.kiro_cli(dict(stage.simulator.ask("sign-in", {"user": ADA})), state)

    [done] = stage.imported()

    account = stage.account()
    assert (done["trouble"], account["kind"], account["name"]) == ("", "builder-id", "a***@example.com")
    assert account["profileArn"] is None
    assert await turn(stage) == (200, "")
    stage.simulator.ask("advance", {"seconds": 7200})  # and it stays shared with kiro-cli
    assert await turn(stage) == (200, "")


async def test_whose_sign_in_it_is_is_asked_again_when_kiro_could_not_say(stage: Stage) -> None:
    stage.kiro_cli(stage.member(arn("us-east-1")))
    stage.simulator.ask("fault", {"operation": PROFILES, "status": 503, "times": 4})

    [done] = stage.imported()

    assert "could not be listed" in done["trouble"]
    assert await turn(stage) == (200, "")
    assert stage.account()["kind"] == "idc"


def test_the_profile_that_was_chosen_over_there_comes_before_the_first_for_companies_too(
    stage: Stage,
) -> None:
    both = [arn("us-east-1", "FIRST"), arn("eu-central-1", "SECOND")]
    tokens = stage.member(*both, email=HEDY)
    row = {
        "access_token": tokens["accessToken"], "refresh_token": tokens["refreshToken"],
        "expires_at": foreign.rfc3339(time.time() + 3600), "client_id": tokens["clientId"],
        "token_endpoint": stage.simulator.url + tokens["tokenPath"],
    }  # fmt: skip
    stage.home.environment["KIRO_ENDPOINT_EXTERNAL_IDP"] = stage.simulator.url
    foreign.kiro_cli(stage.database, {"kirocli:external-idp:token": row}, CHOSEN)

    stage.imported()

    assert (stage.account()["kind"], stage.account()["profileArn"]) == ("external-idp", both[1])
    assert set(stage.asked(USAGE)) == {("eu-central-1", both[1])}


# ---------------------------------------------------------------------------------------- GovCloud


@pytest.mark.parametrize("signed_in", ["us-gov-west-1", "us-gov-east-1"])
async def test_in_govcloud_only_govcloud_is_asked(stage: Stage, signed_in: str) -> None:
    profile = arn("us-gov-east-1", partition="aws-us-gov")
    commercial = {"api.codewhisperer.profile": {"arn": arn("us-east-1"), "profile_name": "earlier"}}
    stage.kiro_cli(stage.member(profile, region=signed_in), commercial, start_url=START_URL)

    [done] = stage.imported()

    assert (done["trouble"], stage.account()["profileArn"]) == ("", profile)
    assert await turn(stage) == (200, "")
    regions = {call["region"] for call in stage.simulator.ask("calls")["calls"]}
    assert regions <= {"us-gov-west-1", "us-gov-east-1"}


# -------------------------------------------------------------------------------- files as they are


def with_mark(path: Path) -> None:
    path.write_bytes("\ufeff".encode() + path.read_bytes())


async def test_files_that_begin_with_a_byte_order_mark_are_read_everywhere(stage: Stage) -> None:
    stage.ide(dict(stage.simulator.ask("sign-in", {"user": ADA})), provider="BuilderId")
    for path in stage.cache.iterdir():
        with_mark(path)

    [done] = stage.imported()
    with_mark(stage.home.config / "kiro-accounts.json")
    with_mark(stage.home.config / "kiro-usage.json")
    (stage.home.config / "kiro.json").write_text('\ufeff{"toast_level": "none"}')

    assert (done["change"], stage.account()["kind"]) == ("added", "builder-id")
    assert await turn(stage) == (200, "")
    assert stage.home.json("usage")["accounts"][0]["used"] is not None
    assert "toast_level" not in stage.home.run("config", "check", check=False).stderr
    stage.simulator.ask("advance", {"seconds": 7200})
    assert await turn(stage) == (200, ""), "a renewal, which writes both files"


@pytest.mark.parametrize("program", ["kiro-ide", "kiro-cli"])
def test_a_missing_registration_is_named_with_what_to_do(stage: Stage, program: str) -> None:
    tokens = stage.member(arn("us-east-1"))
    if program == "kiro-ide":
        stage.ide(tokens, registered=False, startUrl=START_URL)
        missing = f"there is no {stage.cache / HASH}.json"
    else:
        stage.kiro_cli(tokens, start_url=START_URL)
        foreign.put_row(stage.database, REGISTRATION, None)
        missing = f"there is no {REGISTRATION} in {stage.database}"

    [done] = stage.imported()
    listed = stage.home.run("accounts", "import", check=False)

    remedy = f"kiro-auth login --start-url {START_URL} --region us-east-1"
    assert done["change"] == "incomplete"
    for said in (done["trouble"], listed.stdout):
        assert f"its client registration is missing: {missing}; sign in again with {program}" in said
        assert remedy in said


def test_an_old_row_beside_a_fresh_one_is_named_and_left_alone(stage: Stage) -> None:
    tokens = stage.member(arn("us-east-1"))
    stage.kiro_cli(tokens, start_url=START_URL)
    old = "codewhisperer:odic:token"
    dead = {"access_token": "aoa-old", "refresh_token": "aor-old", "expires_at": foreign.rfc3339(1.0)}
    foreign.put_row(stage.database, old, dead)
    foreign.put_row(
        stage.database, "codewhisperer:odic:device-registration", {"client_id": "c", "client_secret": "s"}
    )

    fresh, left = stage.imported()

    assert (fresh["change"], left["change"], left["account"]) == ("added", "left alone", None)
    assert f"{old} is an old copy beside the fresher {ODIC}" in left["trouble"]
    assert foreign.row_of(stage.database, old) == dead
    assert len(stage.home.accounts()) == 1
    assert stage.simulator.calls("CreateToken") == []


def test_a_program_that_signed_in_as_another_kind_is_taken_over_as_that(stage: Stage) -> None:
    stage.kiro_cli(
        dict(stage.simulator.ask("sign-in", {"user": ADA})), start_url="https://view.awsapps.com/start"
    )
    stage.imported()
    tokens = stage.member(arn("eu-central-1"))
    row = foreign.row_of(stage.database, ODIC) | {
        "access_token": tokens["accessToken"], "refresh_token": tokens["refreshToken"],
        "expires_at": foreign.rfc3339(time.time() + 7200), "start_url": START_URL,
    }  # fmt: skip
    foreign.put_row(stage.database, ODIC, row)
    registration = {"client_id": tokens["clientId"], "client_secret": tokens["clientSecret"]}
    foreign.put_row(stage.database, REGISTRATION, registration)

    [done] = stage.imported()

    account = stage.account()
    assert (done["change"], account["kind"], account["startUrl"]) == ("updated", "idc", START_URL)
    assert account["profileArn"] == arn("eu-central-1")


# --------------------------------------------------------------------------- one bad entry among others


@pytest.mark.parametrize(
    "bad", [5, None, "text", [], {}, {"id": ["x"]}, {"id": "b" * 32, "expiresAt": {}}], ids=repr
)
async def test_one_bad_entry_in_the_accounts_hides_no_other_and_stays(stage: Stage, bad: Any) -> None:
    stage.simulator.ask("settings", {"autoApprove": True})
    stage.home.run("login", "--builder-id", "--no-browser")
    path = stage.home.config / "kiro-accounts.json"
    document = json.loads(path.read_text())
    document["accounts"].insert(0, bad)
    path.write_text(json.dumps(document))
    name = "a***@example.com"

    listed = stage.home.run("accounts", "--json")
    stage.home.run("accounts", "set", name, "--label", "mine")
    assert await turn(stage) == (200, "")
    stage.home.run("login", "--builder-id", "--no-browser")

    assert [account["name"] for account in json.loads(listed.stdout)["accounts"]] == [name]
    assert "cannot be read" in listed.stderr
    said = stage.home.run("doctor", check=False).stdout
    assert "cannot be read" in " ".join(said.split())
    assert json.loads(path.read_text())["accounts"][0] == bad
    stage.home.run("accounts", "remove", "mine", check=False)
    assert bad in json.loads(path.read_text())["accounts"]
