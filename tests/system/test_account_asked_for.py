"""A request that asks for one account: that one serves it or none does, on every API, whatever it asks."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kiro_auth.gateway.request_log import RequestLog
from support.programs import KEY, Home, Simulator
from support.serving import Served, serving
from support.storing import HandStore

ADA, GRACE = "ada@example.com", "grace@example.com"
IDS = {ADA: "a" * 32, GRACE: "b" * 32}
CHAT, SEARCH = "GenerateAssistantResponse", "InvokeMCP"
MESSAGES, COMPLETIONS, RESPONSES = PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
COMPACT, COUNT = "/v1/responses/compact", "/v1/messages/count_tokens"
NAMES = "a***@example.com, g***@example.com"
EMPTY = (
    "The header x-kiro-account must name one account (KA-ACCOUNT). "
    "Name it as `kiro-auth accounts` does, or leave the header out."
)
STATUS = {MESSAGES: 424, COMPLETIONS: 424, RESPONSES: 400, COMPACT: 400}
apis = pytest.mark.parametrize("path", PATHS)


class Stage:
    """Ada, with 1000 credits, and Grace, with 50, in this order; by their use Ada's turn comes first."""

    def __init__(self, home: Home, simulator: Simulator) -> None:
        self.home = home
        self.simulator = simulator
        self.store = HandStore(home.config, home.state / "locks")
        self.sign_in(ADA)
        self.sign_in(GRACE)

    def sign_in(self, email: str) -> None:
        """Store what a finished sign-in holds."""
        held = self.simulator.ask("sign-in", {"user": email})
        names = ("accessToken", "refreshToken", "clientId", "clientSecret", "region", "profileArn")
        record = {name: held[name] for name in names if held[name]}
        ends = round((time.time() + held["expiresIn"]) * 1000)
        self.store.add_account({"id": IDS[email], "realEmail": email, "expiresAt": ends, **record})

    def asked(self, *operations: str) -> list[str]:
        """Whose calls the services got, in order."""
        made = self.simulator.ask("calls")["calls"]
        return [call["user"] for call in made if call["operation"] in (operations or (CHAT,))]


@pytest.fixture
def stage(served: tuple[Home, Simulator]) -> Stage:
    return Stage(*served)


@pytest.fixture
async def gateway(stage: Stage) -> AsyncIterator[Served]:
    async with serving(stage.home, account_selection_strategy="sticky") as gateway:
        yield gateway


def body_for(path: str, words: str = "Say hello.", **more: Any) -> dict[str, Any]:
    field = "input" if path in (RESPONSES, COMPACT) else "messages"
    said: Any = [{"role": "user", "content": words}]
    limit = {"max_tokens": 900} if path == MESSAGES else {}
    return {"model": "claude-sonnet-4-5", field: said, **limit, **more}


async def ask(
    gateway: Served, path: str, account: str | None = None, *, headers: Any = (), **more: Any
) -> tuple[int, str]:
    """The status, and the failure's sentence or else the answer's text."""
    sent = [("x-api-key", KEY), *headers, *([("x-kiro-account", account)] if account is not None else [])]
    body = body_for(path, **more)
    async with gateway.http.post(gateway.url + path, json=body, headers=sent) as answer:
        text = await answer.text()
    if answer.status == 200:
        return answer.status, text
    return answer.status, str(json.loads(text)["error"]["message"])


# -------------------------------------------------------------------------------- who serves it


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@apis
async def test_it_is_served_by_that_account_and_others_go_on_as_before(
    stage: Stage, gateway: Served, path: str, stream: bool
) -> None:
    for account in (GRACE, None, "g***@example.com", None, IDS[GRACE]):
        status, _ = await ask(gateway, path, account, stream=stream)
        assert status == 200

    assert stage.asked() == [GRACE, ADA, GRACE, ADA, GRACE]


@pytest.mark.parametrize("strategy", ["sticky", "round-robin", "lowest-usage"])
async def test_it_does_not_move_other_conversations_nor_its_own(stage: Stage, strategy: str) -> None:
    async with serving(stage.home, account_selection_strategy=strategy) as gateway:
        mine, other = [("x-session-id", "mine")], [("x-session-id", "other")]
        for headers, account in ((mine, None), (mine, GRACE), (mine, None), (other, None), (other, None)):
            assert (await ask(gateway, MESSAGES, account, headers=headers))[0] == 200

    first, bound, again, *others = stage.asked()
    assert (first, bound, again) == (ADA, GRACE, ADA)
    assert len(set(others)) == 1
    if strategy == "sticky":
        assert others[0] == ADA
        document = json.loads((stage.home.config / "kiro-accounts.json").read_text())
        assert document["activeIndex"] == 0  # Ada, for the next gateway


async def test_a_conversation_that_began_with_it_settles_when_it_is_free_to(
    stage: Stage, gateway: Served
) -> None:
    session = [("x-session-id", "one")]
    for account in (GRACE, None, None):
        await ask(gateway, MESSAGES, account, headers=session)

    assert stage.asked() == [GRACE, ADA, ADA]


@pytest.mark.parametrize(
    ("path", "tools"),
    [
        (MESSAGES, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        (COMPLETIONS, {"web_search_options": {}}),
        (RESPONSES, {"tools": [{"type": "web_search"}]}),
    ],
)
async def test_so_are_the_searches_and_the_calls_between_them(
    stage: Stage, gateway: Served, path: str, tools: dict[str, Any]
) -> None:
    status, _ = await ask(gateway, path, GRACE, words="Search the web for: rain in Graz", **tools)

    assert status == 200
    assert set(stage.asked(CHAT, SEARCH)) == {GRACE}
    assert len(stage.asked(CHAT)) == 2
    assert stage.asked(SEARCH)


async def test_so_is_a_compaction(stage: Stage, gateway: Served) -> None:
    assert (await ask(gateway, COMPACT, GRACE))[0] == 200
    assert stage.asked() == [GRACE]


async def test_counting_tokens_asks_nobody_whatever_the_header_says(stage: Stage, gateway: Served) -> None:
    assert await ask(gateway, COUNT, "nobody") == await ask(gateway, COUNT)
    assert stage.asked() == []


async def test_the_models_are_asked_for_that_account(stage: Stage, gateway: Served) -> None:
    async def models(account: str | None, path: str = "/v1/models") -> tuple[int, Any]:
        headers = {"x-api-key": KEY, **({"x-kiro-account": account} if account else {})}
        async with gateway.http.get(gateway.url + path, headers=headers) as answer:
            return answer.status, await answer.json()

    status, listed = await models(GRACE)
    assert status == 200
    assert set(stage.asked("ListAvailableModels")) == {GRACE}
    name = listed["data"][0]["id"]
    assert (await models(GRACE, f"/v1/models/{name}"))[0] == 200
    for path in ("/v1/models", f"/v1/models/{name}"):
        status, refused = await models("nobody", path)
        assert (status, "No account is called 'nobody'" in refused["error"]["message"]) == (424, True)


# --------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("account", "sentence"),
    [
        ("nobody", f"No account is called 'nobody' (KA-ACCOUNT). Your accounts: {NAMES}."),
        (
            "nobody@example.com",
            f"No account is called 'n***@example.com' (KA-ACCOUNT). Your accounts: {NAMES}.",
        ),
        ("grace", f"No account is called 'grace' (KA-ACCOUNT). Your accounts: {NAMES}."),
        ("", EMPTY),
    ],
    ids=["unknown", "e-mail", "a part", "empty"],
)
@pytest.mark.parametrize("path", [*PATHS, COMPACT])
async def test_what_fits_no_one_account_is_refused_by_name_and_nobody_is_asked(
    stage: Stage, gateway: Served, path: str, account: str, sentence: str
) -> None:
    assert await ask(gateway, path, account) == (STATUS[path], sentence)
    assert stage.asked() == []


async def test_what_fits_two_accounts_is_refused_with_their_names(stage: Stage, gateway: Served) -> None:
    stage.store.change_account(IDS[ADA], {"realEmail": GRACE})
    names = "g***@example.com (aaaaaa), g***@example.com (bbbbbb)"

    for typed in (GRACE, "g***@example.com"):
        status, sentence = await ask(gateway, MESSAGES, typed)
        assert (status, f"fits more than one account: {names} (KA-ACCOUNT)." in sentence) == (424, True)
    assert stage.asked() == []
    assert (await ask(gateway, MESSAGES, "g***@example.com (bbbbbb)"))[0] == 200
    assert stage.asked() == [GRACE]


async def test_two_different_names_are_refused(stage: Stage, gateway: Served) -> None:
    status, sentence = await ask(gateway, MESSAGES, ADA, headers=[("x-kiro-account", GRACE)])

    assert (status, sentence.startswith("The header x-kiro-account must name one account")) == (424, True)
    assert stage.asked() == []


@apis
async def test_a_disabled_one_is_refused_with_the_way_back(stage: Stage, gateway: Served, path: str) -> None:
    stage.home.run("accounts", "disable", "grace")

    back = "kiro-auth accounts enable 'g***@example.com'"
    sentence = f"The account g***@example.com is disabled (KA-ACCOUNT). To use it again: {back}"
    assert await ask(gateway, path, GRACE) == (STATUS[path], sentence)
    assert stage.asked() == []


async def test_without_any_account_the_way_to_one_is_told(stage: Stage, gateway: Served) -> None:
    for email in (ADA, GRACE):
        stage.store.remove_account(IDS[email])

    status, sentence = await ask(gateway, MESSAGES, GRACE)

    assert (status, "kiro-auth login" in sentence) == (424, True)


@pytest.mark.parametrize("sent", ["Büro", "B%C3%BCro", "büro"])
async def test_a_name_beyond_ascii_is_read_as_it_is_or_percent_encoded(
    stage: Stage, gateway: Served, sent: str
) -> None:
    stage.store.change_account(IDS[GRACE], {"label": "Büro"})

    assert (await ask(gateway, MESSAGES, sent))[0] == 200
    assert stage.asked() == [GRACE]


# ------------------------------------------------------------------------------------ what fails

ALONE = "The request asked for the account g***@example.com alone, so no other was tried."


def says_alone(sentence: str, code: str) -> bool:
    """Whether it says that no other account was tried; the code stands in it once."""
    return sentence.count("(KA-") == 1 and ALONE in sentence.replace(f" ({code})", "")


@pytest.mark.parametrize(
    ("kind", "reason", "status", "code"),
    [
        ("ServiceQuotaExceededException", "MONTHLY_REQUEST_COUNT", 402, "KA-QUOTA"),
        ("ThrottlingException", None, 429, "KA-THROTTLE"),
        ("AccessDeniedException", "TEMPORARILY_SUSPENDED", 402, "KA-SUSPENDED"),
        ("AccessDeniedException", None, 424, "KA-PROFILE"),
    ],
    ids=["quota", "throttle", "suspended", "entitlement"],
)
async def test_a_failure_of_the_account_ends_the_request_and_says_that_no_other_was_tried(
    stage: Stage, kind: str, reason: str | None, status: int, code: str
) -> None:
    refusal = {"type": kind, "message": "No.", **({"reason": reason} if reason else {})}
    stage.simulator.script({"refuse": refusal})
    async with serving(stage.home, rate_limit_max_retries=0) as gateway:
        first = await ask(gateway, MESSAGES, GRACE)
        second = await ask(gateway, MESSAGES, GRACE)  # by now the state of the account says it
        other = await ask(gateway, MESSAGES)

    assert (first[0], second[0], other[0]) == (status, status, 200)
    assert says_alone(first[1], code), first[1]
    assert says_alone(second[1], code), second[1]
    assert stage.asked() == [GRACE, ADA]


@apis
async def test_a_model_that_the_account_lacks_is_told_so_and_no_other_is_tried(
    stage: Stage, gateway: Served, path: str
) -> None:
    status, sentence = await ask(gateway, path, GRACE, model="claude-nonsense-9")

    assert (status, says_alone(sentence, "KA-MODEL")) == (400 if path == RESPONSES else 404, True)
    assert set(stage.asked()) == {GRACE}


async def test_a_failure_of_the_request_says_nothing_of_accounts(stage: Stage, gateway: Served) -> None:
    refusal = {"type": "ValidationException", "reason": "CONTENT_LENGTH_EXCEEDS_THRESHOLD", "message": "No."}
    stage.simulator.script({"refuse": refusal})

    status, sentence = await ask(gateway, MESSAGES, GRACE)

    assert (status, "alone" in sentence) == (400, False)


async def test_a_sign_in_that_ended_is_that_account_s_and_the_others_serve_on(
    stage: Stage, gateway: Served
) -> None:
    stage.simulator.ask("revoke", {"user": GRACE})

    status, sentence = await ask(gateway, MESSAGES, GRACE)

    assert (status, says_alone(sentence, "KA-SIGNIN"), "kiro-auth login" in sentence) == (424, True, True)
    assert (await ask(gateway, MESSAGES))[0] == 200


# ----------------------------------------------------------------------------------- what is told


async def test_the_log_of_requests_names_the_account_that_was_asked_for(stage: Stage) -> None:
    log = RequestLog(stage.home.state / "requests.jsonl")
    async with serving(stage.home, listeners=[log]) as gateway:
        await ask(gateway, MESSAGES, GRACE)
        await ask(gateway, MESSAGES, "nobody@example.com")
        await ask(gateway, MESSAGES)
    log.close()

    text = (stage.home.state / "requests.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line.get("bound"), line.get("account")) for line in lines] == [
        ("g***@example.com", "g***@example.com"), (None, None), (None, "a***@example.com"),
    ]  # fmt: skip
    assert lines[1]["failure"] == "KA-ACCOUNT"
    assert "nobody" not in text
    assert "grace@" not in text
