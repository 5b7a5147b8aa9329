"""Budgets and the reserve from outside: told, stopped, the next day; on all three APIs, and in OpenCode."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from support.opencode import VERSIONS, OpenCode
from support.programs import Home, Simulator
from support.serving import serving
from support.virtual import APIS, VirtualTime, body_for
from system.test_ledger import until_written

DAY = 86400.0


def write_options(home: Home, **options: Any) -> None:
    home.config.mkdir(parents=True, exist_ok=True)
    (home.config / "kiro.json").write_text(json.dumps(options))


def expensive(simulator: Simulator, *credits_: float) -> None:
    """The next replies cost so much."""
    simulator.script(
        *(
            {
                "steps": [
                    {"text": "Hello"},
                    {"event": {"name": "meteringEvent", "payload": {"usage": each, "unit": "credit"}}},
                    {"tail": {"withMetering": False}},
                ]
            }
            for each in credits_
        )
    )


@pytest.mark.timeout(120)
def test_a_day_s_budget_is_told_stops_every_api_and_begins_anew_also_for_a_new_gateway(
    home: Home, simulator: Simulator
) -> None:
    home.environment["TZ"] = "UTC"
    home.run("login", "--builder-id", "--no-browser")
    write_options(home, budgets={"day": 1})
    tomorrow = (time.time() // DAY + 1) * DAY + 3600
    with VirtualTime(home, simulator, tomorrow) as virtual:
        expensive(simulator, 0.85, 0.2)
        for path in APIS[:2]:
            assert virtual.ask(path, body_for(path, "Hi"))[0] == 200
        calls = len(simulator.calls())
        told = json.loads(virtual.ask("/kiro/notices?after=0")[2])["notices"]
        assert [
            n
            for n in told
            if n["message"] == "The budget of 1 credits for today is nearly used up: 0.85 were spent."
        ]

        assert "is nearly used up: 0.85 were spent." in home.run("logs").stdout

        for stream in (False, True):
            for path in APIS:
                refused(virtual, path, stream=stream)
        until_written(home, 8)
        virtual.kill()
        virtual.start()
        refused(virtual, "/v1/messages", stream=False)
        assert len(simulator.calls()) == calls

        virtual.advance(DAY - 3600)
        for path in APIS:
            assert virtual.ask(path, body_for(path, "Hi"))[0] == 200
        virtual.end()
    [today, next_day] = home.json("usage", "--by", "day")["rows"]
    assert (today["credits"], today["turns"], today["failed"]) == (1.05, 9, 7)
    assert (next_day["turns"], next_day["failed"]) == (3, 0)


def refused(virtual: VirtualTime, path: str, *, stream: bool) -> None:
    status, headers, text = virtual.ask(path, body_for(path, "Hi", stream=stream))
    error = json.loads(text)["error"]
    midnight = f"{datetime.fromtimestamp(virtual.now // DAY * DAY + DAY, UTC):%Y-%m-%d} 00:00 UTC"
    assert (status, error["type"], headers["x-should-retry"]) == (402, "invalid_request_error", "false")
    assert "The budget of 1 credits for today is used up: 1.05 were spent (KA-BUDGET)" in error["message"]
    assert f"Available again {midnight}" in error["message"]
    assert headers["x-request-id"].startswith("req_")


@pytest.mark.usefixtures("one_day")
async def test_a_project_s_and_a_conversation_s_budget_stop_no_other(
    home: Home, simulator: Simulator
) -> None:
    home.run("login", "--builder-id", "--no-browser")
    async with serving(home, budgets={"project": 1, "session": 0.5}) as served:
        expensive(simulator, 0.6, 0.6)

        async def status(project: str, session: str) -> int:
            headers = {"x-api-key": "a-test-key-of-thirty-two-characters", "x-kiro-project": project}
            headers |= {"x-session-id": session}
            async with served.http.post(
                f"{served.url}/v1/messages", json=body_for("/v1/messages", "Hi"), headers=headers
            ) as answer:
                return answer.status

        assert [await status("shop", "s-1"), await status("shop", "s-1")] == [200, 402]
        assert [await status("shop", "s-2"), await status("shop", "s-3")] == [200, 402]
        assert await status("blog", "s-4") == 200


async def test_what_is_kept_back_of_a_plan_is_not_spent(home: Home, simulator: Simulator) -> None:
    """With two accounts the other one serves; when both are down to it, requests are refused."""
    for _ in range(2):
        home.run("login", "--builder-id", "--no-browser")
    emails = [account["email"] for account in home.accounts()]
    for email, used in zip(emails, (899, 10), strict=True):
        simulator.ask("user", {"email": email, "used": used, "limit": 1000})
    home.json("usage")  # Kiro says what is used
    async with serving(home, reserve=10, account_selection_strategy="sticky") as served:
        expensive(simulator, 2, 2)
        first, _, _ = await served.ask()
        assert first == 200
        home.json("usage")  # the gateway reads it too, but some time after the turn
        for _ in range(3):
            status, headers, _ = await served.ask()
            assert status == 200
        assert headers["x-kiro-account"].startswith(emails[1][0])
        simulator.ask("user", {"email": emails[1], "used": 950, "limit": 1000})
        home.json("usage")

        status, _, body = await served.ask()

        assert (status, body["error"]["type"]) == (402, "invalid_request_error")
        assert (
            "has only the 10% left that you keep back (KA-BUDGET). Available again"
            in body["error"]["message"]
        )


def rows_by_project(home: Home) -> dict[str | None, Any]:
    return {row["key"]: row for row in home.json("usage", "--by", "project")["rows"]}


@pytest.mark.real
@pytest.mark.clients
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("one_day")
def test_opencode_shows_that_a_budget_is_used_up_and_asks_once(signed_in: Home, simulator: Simulator) -> None:
    write_options(signed_in, budgets={"project": 0.03})
    opencode = OpenCode(VERSIONS[0], signed_in)
    for _ in range(2):  # the first gateway writes down for the plugin that it wants to know the project
        assert "Hello" in opencode.ask("Say hello.").stdout
    turns = len(simulator.calls())

    refused = opencode.ask("Say hello.", seconds=300)

    assert refused.returncode == 1
    assert "for the project project today is used up" in refused.stdout + refused.stderr
    assert len(simulator.calls()) == turns
    end = time.monotonic() + 30
    while not (rows := rows_by_project(signed_in)).get("project", {}).get("failed"):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert rows.keys() == {"project", None}
    assert 1 <= rows["project"]["failed"] <= 2  # the title of the conversation is a turn too
