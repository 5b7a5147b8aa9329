"""Accounts under fire: what a request through the running gateway causes at the services, call by call."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.accounts import upkeep
from kiro_auth.gateway.request_log import RequestLog
from support.programs import Home, Simulator
from support.serving import serving
from support.storing import HandStore

ADA, GRACE, LINUS = "ada@example.com", "grace@example.com", "linus@example.org"
CHAT, RENEW = "GenerateAssistantResponse", "CreateToken"
START_URL = "https://d-1234567890.awsapps.com/start"


class Stage:
    """A home with signed-in accounts, and a simulator that remembers all calls."""

    def __init__(self, home: Home, simulator: Simulator) -> None:
        self.home = home
        self.simulator = simulator
        self._store = HandStore(home.config, home.state / "locks")

    def sign_in(self, email: str, **fields: Any) -> None:
        """Store what a finished sign-in holds."""
        held = self.simulator.ask("sign-in", {"user": email})
        names = ("accessToken", "refreshToken", "clientId", "clientSecret", "region", "profileArn")
        record = {name: held[name] for name in names if held[name]}
        ends = round((time.time() + held["expiresIn"]) * 1000)
        name = email.partition("@")[0]
        self._store.add_account({"id": name * 4, "label": name, "expiresAt": ends, **record, **fields})

    def calls(self, *operations: str) -> list[dict[str, Any]]:
        """The calls to the services; with `operations` only those."""
        made = self.simulator.ask("calls")["calls"]
        return [call for call in made if not operations or call["operation"] in operations]

    def order(self) -> list[str]:
        """Renewals and chats, in their order."""
        return [call["operation"] for call in self.calls(CHAT, RENEW)]

    def expire(self) -> None:
        """As after a night's sleep: every access token has ended."""
        for account in self._store.accounts():
            self._store.change_account(account["id"], {"expiresAt": 1})
        self.simulator.ask("advance", {"seconds": 7200})

    async def until_asked(self, times: int) -> None:
        """Wait until the service was asked for so many chats."""
        async with asyncio.timeout(30):
            while len(self.calls(CHAT)) < times:
                await asyncio.sleep(0.05)

    def accounts(self) -> list[dict[str, Any]]:
        return self.home.json("accounts")["accounts"]

    def refuse(self, kind: str, reason: str | None = None, times: int = 1, **more: Any) -> None:
        refusal = {"type": kind, "message": "No.", **more} | ({"reason": reason} if reason else {})
        self.simulator.script(*[{"refuse": refusal}] * times)


@pytest.fixture
def nobody(served: tuple[Home, Simulator]) -> Stage:
    return Stage(*served)


@pytest.fixture
def stage(nobody: Stage) -> Stage:
    nobody.sign_in(ADA)
    return nobody


def said(answer: tuple[int, dict[str, str], Any]) -> str:
    return answer[2]["error"]["message"]


# ------------------------------------------------------------------------------------------ tokens


async def test_after_a_long_pause_the_first_request_is_answered_after_one_renewal(stage: Stage) -> None:
    stage.expire()
    async with serving(stage.home) as gateway:
        status, _, _ = await gateway.ask()

    assert status == 200
    assert stage.order() == [RENEW, CHAT]


async def test_thirty_requests_at_once_renew_once_and_all_are_answered(stage: Stage) -> None:
    stage.expire()
    async with serving(stage.home) as gateway:
        answers = await asyncio.gather(*(gateway.ask() for _ in range(30)))

    assert {status for status, _, _ in answers} == {200}
    assert stage.order() == [RENEW] + [CHAT] * 30


async def test_a_token_that_the_service_refuses_is_renewed_once_and_the_request_sent_again(
    stage: Stage,
) -> None:
    stage.simulator.ask("advance", {"seconds": 7200})  # the file still thinks that the token is good
    async with serving(stage.home) as gateway:
        status, _, _ = await gateway.ask()

    assert status == 200
    assert stage.order() == [CHAT, RENEW, CHAT]


async def test_a_dead_sign_in_is_found_out_once_and_the_other_account_serves(stage: Stage) -> None:
    stage.sign_in(GRACE)
    stage.simulator.ask("revoke", {"user": ADA})
    async with serving(stage.home, account_selection_strategy="round-robin") as gateway:
        statuses = [(await gateway.ask())[0] for _ in range(4)]

    assert statuses == [200] * 4
    assert len(stage.calls(RENEW)) == 1
    assert [call["user"] for call in stage.calls(CHAT) if call["status"] == 200] == [GRACE] * 4
    [dead] = [account for account in stage.accounts() if account["state"] == "sign-in"]
    assert dead["nextStep"] == "Sign in again: kiro-auth login --builder-id"


async def test_a_clock_that_is_wrong_by_hours_does_not_renew_with_every_request(stage: Stage) -> None:
    stage.simulator.ask("advance", {"seconds": 5 * 3600})  # of the services; this machine's stays behind
    async with serving(stage.home) as gateway:
        statuses = [(await gateway.ask())[0] for _ in range(3)]
        stage.simulator.ask("advance", {"seconds": 3600 - 60})  # within the margin before the end
        statuses.append((await gateway.ask())[0])  # hears of the hour
        statuses.append((await gateway.ask())[0])  # and renews ahead of the end

    assert statuses == [200] * 5
    assert stage.order() == [CHAT, RENEW, CHAT, CHAT, CHAT, CHAT, RENEW, CHAT]


# ---------------------------------------------------------------------------------------- failures

KINDS: list[Any] = [
    # refusal, reason, code in the message, state of the account afterwards, calls
    ("ThrottlingException", "USER_REQUEST_RATE_EXCEEDED", "slow down", "cooling", 1),
    ("ThrottlingException", "MONTHLY_REQUEST_COUNT", "for this month is used up", "quota", 1),
    ("ThrottlingException", "DAILY_REQUEST_COUNT", "for today is used up", "quota", 1),
    ("ServiceQuotaExceededException", "OVERAGE_REQUEST_LIMIT_EXCEEDED", "beyond the plan", "quota", 1),
    ("AccessDeniedException", "TEMPORARILY_SUSPENDED", "locked the account", "suspended", 1),
    ("AccessDeniedException", "FEATURE_NOT_SUPPORTED", "does not allow this", "cooling", 1),
    ("ValidationException", "REQUEST_BODY_INVALID", "refused the request as malformed", "ready", 1),
    ("ValidationException", "CONTENT_LENGTH_EXCEEDS_THRESHOLD", "prompt is too long", "ready", 1),
    ("ValidationException", "INVALID_MODEL_ID", "although it lists it", "ready", 2),
    ("InternalServerException", "INSUFFICIENT_MODEL_CAPACITY", "no free capacity", "ready", 4),
    ("ServiceUnavailableException", None, "fault of its own", "ready", 3),
]


@pytest.mark.parametrize(
    ("kind", "reason", "words", "state", "calls"), KINDS, ids=[f"{row[0]} {row[1]}" for row in KINDS]
)
async def test_each_failure_has_its_own_message_health_and_number_of_calls(
    stage: Stage, kind: str, reason: str | None, words: str, state: str, calls: int
) -> None:
    stage.refuse(kind, reason, times=9)
    async with serving(stage.home, rate_limit_max_retries=0) as gateway:
        status, headers, body = await gateway.ask()

    assert 400 <= status < 500
    assert words in body["error"]["message"]
    assert ("Retry-After" in headers) == (status == 429)
    assert len(stage.calls(CHAT)) == calls
    [account] = stage.accounts()
    assert account["state"] == state
    if state != "ready":
        assert account["stateReason"]
        assert account["nextStep"]


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_a_throttle_is_met_with_as_many_calls_and_as_long_pauses_as_the_options_say(
    stage: Stage, retries: int
) -> None:
    stage.refuse("ThrottlingException", "USER_REQUEST_RATE_EXCEEDED", times=9)
    options = {"rate_limit_retry_delay_ms": 2000, "rate_limit_max_retries": retries}
    async with serving(stage.home, **options) as gateway:
        status, headers, _ = await gateway.ask()

        assert gateway.pauses == [2.5, 5.0, 10.0][:retries]
    assert (status, len(stage.calls(CHAT))) == (429, 1 + retries)
    assert int(headers["Retry-After"]) >= 1


@pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
async def test_up_to_a_quarter_is_added_to_the_first_wait_which_then_doubles(
    stage: Stage, chance: float
) -> None:
    stage.refuse("ThrottlingException", "USER_REQUEST_RATE_EXCEEDED", times=2)
    async with serving(stage.home, chance=chance, rate_limit_retry_delay_ms=1000) as gateway:
        status, _, _ = await gateway.ask()

        assert (status, gateway.pauses) == (200, [1 + chance / 4, 2 + chance / 2])


@pytest.mark.parametrize("stated", ["7", "Wed, 21 Oct 2026 07:28:07 GMT"], ids=["seconds", "date"])
async def test_a_wait_that_the_service_names_is_kept_to(stage: Stage, stated: str) -> None:
    headers = {"Retry-After": stated, "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    body = {"__type": "ThrottlingException", "message": "Slow."}
    stage.simulator.ask("fault", {"operation": CHAT, "status": 429, "headers": headers, "body": body})
    async with serving(stage.home) as gateway:
        status, _, _ = await gateway.ask()

        assert (status, gateway.pauses) == (200, [7.0])


async def test_a_used_up_plan_is_not_asked_again_and_with_all_out_the_answer_is_at_once(stage: Stage) -> None:
    stage.sign_in(GRACE)
    for email in (ADA, GRACE):
        stage.simulator.ask("user", {"email": email, "used": 1000, "limit": 1000})
    async with serving(stage.home) as gateway:
        first = await gateway.ask()
        made = len(stage.calls(CHAT))
        began = time.monotonic()
        second = await gateway.ask()
        took = time.monotonic() - began

        assert gateway.pauses == []
    assert (made, len(stage.calls(CHAT))) == (2, 2)
    assert first[0] == second[0] == 424
    assert said(first) == said(second)
    assert "Available again 20" in said(second)
    assert took < 30, "the reset is days away, and a call that is not answered is waited for two minutes"


async def test_another_account_takes_over_before_anything_is_waited_for(stage: Stage) -> None:
    stage.sign_in(GRACE)
    stage.refuse("ThrottlingException", "USER_REQUEST_RATE_EXCEEDED")
    async with serving(stage.home) as gateway:
        status, _, _ = await gateway.ask()

        assert (status, gateway.pauses) == (200, [])
    assert [call["status"] for call in stage.calls(CHAT)] == [429, 200]
    assert len({call["user"] for call in stage.calls(CHAT)}) == 2


async def test_every_listener_of_a_gateway_hears_of_a_turn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures are read, models listed, the change of account is told, and its token kept fresh."""
    monkeypatch.setattr(upkeep, "LOOK_SECONDS", 0.1)
    stage.sign_in(GRACE)
    stage.refuse("ThrottlingException", "MONTHLY_REQUEST_COUNT")
    async with serving(stage.home, account_selection_strategy="sticky") as gateway:
        assert (await gateway.ask(stream=True))[0] == 200
        async with asyncio.timeout(20):
            while len(stage.calls("GetUsageLimits", "ListAvailableModels")) < 3:
                await asyncio.sleep(0.05)
        notices = await gateway.get("/kiro/notices")
        await asyncio.to_thread(stage.expire)
        async with asyncio.timeout(20):
            while len(stage.calls(RENEW)) < 2:  # Grace's, and that of the one whose plan is used up
                await asyncio.sleep(0.05)

    assert any("grace takes over. ada: " in notice["message"] for notice in notices["notices"])
    asked = {
        (call["operation"], call["user"]) for call in stage.calls("GetUsageLimits", "ListAvailableModels")
    }
    # Ada's usage says until when her plan is used up.
    assert asked == {("GetUsageLimits", ADA), ("GetUsageLimits", GRACE), ("ListAvailableModels", GRACE)}


async def test_a_failure_before_any_output_is_tried_again_and_after_output_never(stage: Stage) -> None:
    stage.simulator.script(*[{"steps": [{"cut": "reset"}]}] * 2)
    async with serving(stage.home) as gateway:
        status, _, _ = await gateway.ask(stream=True)
        assert (status, len(stage.calls(CHAT))) == (200, 3)

        stage.simulator.script({"steps": [{"text": "Half"}, {"pause": 0.2}, {"cut": "reset"}]})
        status, _, text = await gateway.ask(stream=True)
    assert (status, len(stage.calls(CHAT))) == (200, 4)
    assert "Half" in text
    assert text.rstrip().rpartition("\n\n")[2].startswith("event: error")


# ------------------------------------------------------------------------------------------- places


async def test_sign_in_region_and_profile_region_are_independent(nobody: Stage) -> None:
    nobody.sign_in(LINUS, authMethod="sso", ssoStartUrl=START_URL)
    nobody.expire()
    async with serving(nobody.home) as gateway:
        status, _, _ = await gateway.ask()

    assert status == 200
    places = {(call["operation"], call["region"]) for call in nobody.calls()}
    assert {(RENEW, "eu-north-1"), (CHAT, "eu-central-1")} <= places
    assert {region for _, region in places} == {"eu-north-1", "eu-central-1"}


async def test_a_host_that_does_not_answer_gives_way_to_the_next_once(stage: Stage) -> None:
    hosts = ["http://127.0.0.1:9", stage.home.environment.pop("KIRO_ENDPOINT_RUNTIME")]
    (stage.home.config / "kiro.json").write_text(json.dumps({"endpoints": {"runtime": hosts}}))
    async with serving(stage.home) as gateway:
        statuses = [(await gateway.ask())[0] for _ in range(2)]

        assert (statuses, gateway.pauses) == ([200, 200], [])
    assert len(stage.calls(CHAT)) == 2


# ------------------------------------------------------------------------------- clients and hangs


async def test_silence_ends_in_a_clear_error_at_the_timeout(stage: Stage) -> None:
    stage.simulator.script({"steps": [{"hang": 30}]})
    async with serving(stage.home, request_timeout_ms=3000) as gateway:
        status, _, body = await gateway.ask()

    assert status == 424
    assert "did not begin to answer in time" in body["error"]["message"]
    assert len(stage.calls(CHAT)) == 1
    assert stage.accounts()[0]["state"] == "ready"


async def test_attempts_together_have_no_more_time_than_one(stage: Stage) -> None:
    stage.simulator.script({"steps": [{"cut": "reset"}]}, {"steps": [{"hang": 30}]})
    async with serving(stage.home, request_timeout_ms=4000) as gateway:
        began = time.monotonic()
        status, _, body = await gateway.ask()
        took = time.monotonic() - began

    assert (status, len(stage.calls(CHAT))) == (424, 2)
    assert "did not begin to answer in time" in body["error"]["message"]
    assert took < 25, "the second alone would hang for 30 seconds"


async def test_a_reply_that_goes_on_may_take_longer_than_the_timeout(stage: Stage) -> None:
    steps = [step for n in range(12) for step in ({"text": f"{n} "}, {"pause": 0.5})]
    stage.simulator.script({"steps": steps})
    async with serving(stage.home, request_timeout_ms=4000) as gateway:
        status, _, body = await gateway.ask()

    assert status == 200
    assert body["content"][0]["text"].split() == [str(n) for n in range(12)]


async def test_a_client_that_leaves_ends_the_call_and_frees_its_place(stage: Stage) -> None:
    async with serving(stage.home, max_concurrent_per_account=1) as gateway:
        for asked, stream in ((1, True), (3, False)):  # after the first word, and before it
            stage.simulator.script({"steps": [*([{"text": "One"}] if stream else []), {"hang": 60}]})
            if stream:
                answer = await gateway.post(stream=True)
                await answer.content.readany()
                answer.close()
            else:
                asking = asyncio.create_task(gateway.ask())
                await stage.until_asked(asked)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
            async with asyncio.timeout(20):
                assert (await gateway.ask("Next."))[0] == 200


@pytest.mark.parametrize(
    ("steps", "stream"),
    [
        ([{"pause": 20}, {"text": "Hello"}], True),
        ([{"text": "Hello"}, {"pause": 20}], True),
        ([{"text": "Hello"}, {"pause": 20}], False),
    ],
    ids=["before the first word", "after words", "of a whole answer"],
)
async def test_a_client_that_presses_escape_is_no_failure_in_the_request_log(
    stage: Stage, tmp_path: Path, steps: list[Any], stream: bool
) -> None:
    stage.simulator.script({"steps": steps})
    log = RequestLog(tmp_path / "requests.jsonl")
    async with serving(stage.home, listeners=[log]) as gateway:
        asking = asyncio.create_task(gateway.ask(stream=stream))
        await stage.until_asked(1)
        await asyncio.sleep(2)  # in which words come that are said at once
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(30):
            while not (lines := (tmp_path / "requests.jsonl").read_text().splitlines()):
                await asyncio.sleep(0.01)
    log.close()

    [line] = map(json.loads, lines)
    assert (line["ended"], line.get("failure")) == ("the client left", None)
    assert ("account" in line) == (steps[0] != {"pause": 20})


async def test_a_client_that_takes_nothing_is_hung_up_on(stage: Stage) -> None:
    steps = [{"text": "word " * 20_000}] * 30
    stage.simulator.script({"steps": steps})
    options = {"max_concurrent_per_account": 1, "request_timeout_ms": 2000}
    async with serving(stage.home, **options) as gateway:
        stuck = await gateway.post(stream=True)
        async with asyncio.timeout(60):
            status, _, _ = await gateway.ask("Next.", stream=True)
            while status != 200:
                status, _, _ = await gateway.ask("Next.", stream=True)
        stuck.close()


# ---------------------------------------------------------------------------------- what people see


async def test_every_account_says_its_state_its_reason_its_end_and_the_next_step(stage: Stage) -> None:
    stage.simulator.ask("user", {"email": ADA, "used": 1000, "limit": 1000})
    async with serving(stage.home) as gateway:
        await gateway.ask()

    [account] = stage.accounts()
    assert account["state"] == "quota"
    assert account["stateReason"] == "The account's plan limit for this month is used up."
    assert account["stateUntil"].endswith("-01T00:00:00+00:00"), "the reset that Kiro names"
    assert account["stateUntilStated"] is True
    assert "Wait for the reset" in account["nextStep"]


async def test_a_removed_account_is_gone_for_good(stage: Stage) -> None:
    [account] = stage.accounts()
    async with serving(stage.home) as gateway:
        assert (await gateway.ask())[0] == 200
        stage.home.run("accounts", "remove", account["id"])
        status, _, body = await gateway.ask()

    assert status == 424
    assert "kiro-auth login" in body["error"]["message"]
    for path in (stage.home.config / "kiro-accounts.json", stage.home.config / "kiro-usage.json"):
        assert account["id"] not in path.read_text()
    assert stage.accounts() == []


# ---------------------------------------------------------------------------- accounts that cannot serve


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"profileRegion": "global", "profileArn": None}, id="region"),
        pytest.param({"region": "global", "expiresAt": 1}, id="region-of-the-sign-in"),
        pytest.param({"proxy": "http://127.0.0.1:9", "expiresAt": 1}, id="proxy"),
        pytest.param(
            {"authMethod": "external-idp", "expiresAt": 1, "kiroAuth": {"provider": {"token_endpoint": 5}}},
            id="identity-provider",
        ),
        pytest.param({"profileArn": 5}, id="record"),
    ],
)
async def test_an_account_that_cannot_be_used_stops_no_request_that_another_serves(
    nobody: Stage, fields: dict[str, Any]
) -> None:
    nobody.sign_in(ADA)
    nobody.sign_in(GRACE)
    ada = nobody.accounts()[0]["id"]
    nobody._store.change_account(ada, fields)
    async with serving(nobody.home, account_selection_strategy="round-robin") as gateway:
        answers = [await gateway.ask() for _ in range(3)]

    assert [status for status, _, _ in answers] == [200] * 3
    assert {call["user"] for call in nobody.calls(CHAT)} == {GRACE}


async def test_a_model_that_one_account_is_refused_for_good_is_asked_of_the_other(stage: Stage) -> None:
    stage.sign_in(GRACE)
    stage.refuse("ValidationException", "INVALID_MODEL_ID", times=2, status=400)
    async with serving(stage.home) as gateway:
        status, _, _ = await gateway.ask()

    assert status == 200
    assert [call["status"] for call in stage.calls(CHAT)] == [400, 400, 200]
    first, again, other = (call["user"] for call in stage.calls(CHAT))
    assert first == again != other


async def test_a_listed_model_that_all_are_refused_is_said_so_after_two_tries_of_each(stage: Stage) -> None:
    stage.sign_in(GRACE)
    stage.refuse("ValidationException", "INVALID_MODEL_ID", times=4, status=400)
    async with serving(stage.home) as gateway:
        status, _, body = await gateway.ask()

        assert gateway.pauses == [1.0, 1.0]
    assert (status, body["error"]["type"]) == (424, "invalid_request_error")
    assert "the model 'claude-sonnet-4-5', although it lists it" in body["error"]["message"]
    assert len(stage.calls(CHAT)) == 4


ODD_RECORDS: dict[str, dict[str, Any]] = {
    "a line break in its token": {"accessToken": "access\r\nx-evil: 1"},
    "a line break in its key": {"authMethod": "api-key", "accessToken": "key\r\nx-evil: 1"},
    "no id of a program": {"id": "../../../up"},
    "an end beyond all calendars": {"expiresAt": 1e308, "stateUntil": 1e308, "state": "cooling"},
    "no region": {"region": "us-east-1\r\n"},
    "no proxy": {"proxy": "http://\r\n"},
}


@pytest.mark.parametrize("odd", ODD_RECORDS.values(), ids=ODD_RECORDS.keys())
async def test_one_odd_record_fails_no_request_and_every_command_still_answers(
    nobody: Stage, odd: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    stage = nobody
    stage.sign_in(ADA, **odd)
    stage.sign_in(GRACE)

    async with serving(stage.home, account_selection_strategy="round-robin") as served:
        statuses = [(await served.ask())[0] for _ in range(4)]

    assert statuses == [200] * 4
    assert "Traceback" not in caplog.text
    assert not list(stage.home.folder.rglob("up.lock"))
    assert "grace" in [account["name"] for account in stage.accounts()]
    assert stage.home.run("status", check=False).returncode == 1


async def test_a_request_says_what_to_correct_where_addresses_may_be_named_but_cannot_be_read(
    stage: Stage,
) -> None:
    environment = stage.home.environment
    for name in [name for name in environment if name.startswith("KIRO_ENDPOINT_")]:
        del environment[name]  # or they would count over the file
    (stage.home.config / "kiro.json").write_text('{"endpoints": {"runtime": "https://kiro.example.com"')

    async with serving(stage.home) as served:
        status, _, body = await served.ask()

    assert status not in (200, 500)
    said = body["error"]["message"]
    assert f"{stage.home.config / 'kiro.json'} is not JSON" in said
    assert "Nothing is sent to the public addresses" in said
    assert "Correct" in said
    assert stage.calls() == []
