"""Every answer has a request id, failures too, which is kept of the turn; what it cost stands beside."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from kiro_auth.events import TurnEnded
from support.programs import KEY, Home, Simulator
from support.serving import Served, serving
from support.virtual import APIS, body_for

ID = re.compile(r"req_[0-9a-f]{24}")


class Turns:
    def __init__(self) -> None:
        self.ids: list[str] = []
        self.projects: list[str | None] = []

    def on_turn_ended(self, turn: TurnEnded) -> None:
        self.ids.append(turn.request_id)
        self.projects.append(turn.project)


async def sent(
    served: Served, method: str, path: str, body: Any = None, key: str = KEY, **headers: str
) -> tuple[int, dict[str, str], str]:
    async with served.http.request(
        method, served.url + path, json=body, headers={"x-api-key": key, **headers}
    ) as answer:
        return (
            answer.status,
            {name.lower(): value for name, value in answer.headers.items()},
            await answer.text(),
        )


@pytest.mark.parametrize("path", APIS)
async def test_every_answer_of_an_api_names_its_request(home: Home, simulator: Simulator, path: str) -> None:
    home.run("login", "--builder-id", "--no-browser")
    turns = Turns()
    async with serving(home, listeners=[turns]) as served:
        answers = [
            await sent(served, "POST", path, body_for(path, "Hi")),
            await sent(served, "POST", path, body_for(path, "Hi", stream=True)),
            await sent(served, "POST", path, body_for(path, "Hi", "no-such-model")),
            await sent(served, "POST", path, {"model": 1}),
            await sent(served, "POST", path, body_for(path, "Hi"), key="wrong"),
            await sent(served, "GET", f"{path}/none"),
            await sent(served, "GET", "/v1/models"),
        ]
        head = await unreadable(served, path)

    ids = [headers["x-request-id"] for _, headers, _ in answers]
    assert all(map(ID.fullmatch, ids))
    assert [headers["request-id"] for _, headers, _ in answers] == ids
    assert len(set(ids)) == len(ids)
    assert turns.ids == ids[:4]  # what the guard refuses is no turn
    assert [status < 400 for status, _, _ in answers] == [True, True, False, False, False, False, True]
    assert re.search(rf"x-request-id: {ID.pattern}", head)


async def unreadable(served: Served, path: str) -> str:
    """The answer to what is no readable request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(f"POST {path} HTTP/1.1\r\nbad header\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


@pytest.mark.parametrize("path", APIS)
async def test_an_answer_says_what_it_cost_and_whose_account_it_was(
    home: Home, simulator: Simulator, path: str
) -> None:
    home.run("login", "--builder-id", "--no-browser")
    async with serving(home) as served:
        _, whole, text = await sent(served, "POST", path, body_for(path, "Hi"))
        wanted = {**body_for(path, "Hi", stream=True)}
        if "completions" in path:
            wanted["stream_options"] = {"include_usage": True}
        _, streamed, events = await sent(served, "POST", path, wanted)

    charged = [line["credits"] for line in simulator.ask("books")["books"]]
    assert json.loads(text)["usage"]["kiro_credits"] == charged[0]
    assert float(whole["x-kiro-credits"]) == charged[0]
    assert "x-kiro-credits" not in streamed
    assert re.findall(r'"kiro_credits":([\d.]+)', events) == [f"{charged[1]:g}"]
    [account] = home.json("accounts")["accounts"]
    assert whole["x-kiro-account"] == streamed["x-kiro-account"] == account["name"]


@pytest.mark.parametrize(
    ("header", "wanted", "kept"),
    [
        ("caf%C3%A9", True, "café"),
        ("a%0d%0ab%1b[2J", True, "a b[2J"),
        ("", True, None),
        ("%ff%fe", True, None),
        ("shop", False, None),
    ],
)
async def test_a_project_is_one_line_of_characters_that_show_and_only_where_it_is_wanted(
    home: Home, simulator: Simulator, header: str, wanted: bool, kept: str | None
) -> None:
    home.run("login", "--builder-id", "--no-browser")
    turns = Turns()
    async with serving(home, listeners=[turns], ledger_projects=wanted) as served:
        await sent(served, "POST", APIS[0], body_for(APIS[0], "Hi"), **{"x-kiro-project": header})

    assert turns.projects == [kept]
