"""The dashboard's addresses over HTTP: who gets what, and who may change something."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.dashboard.site import CSRF_HEADER, STATIC
from kiro_auth.store.files import FileStore
from support.programs import KEY, Home
from support.serving import Served, serving
from support.storing import HandStore

PEOPLE = {"Accept": "text/html,*/*;q=0.8"}
OURS = {"x-api-key": KEY}
NAME = '<script>alert("x")</script>'


class Visitor:
    """A browser without a screen, at one gateway."""

    def __init__(self, served: Served, home: Home) -> None:
        self.served = served
        self.home = home
        self.cookie: str | None = None

    async def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
        """Status, headers and text; `origin="…"` is the header Origin."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie is not None:
            given["Cookie"] = self.cookie
        request = self.served.http.request(
            method, self.served.url + path, headers=PEOPLE | given, allow_redirects=False
        )
        async with request as answer:
            return answer.status, dict(answer.headers), await answer.text()

    async def link(self) -> str:
        """The path of a new link."""
        async with self.served.http.post(f"{self.served.url}/kiro/dashboard", headers=OURS) as answer:
            return str((await answer.json())["path"])

    async def enter(self) -> str:
        """Follow a link; the token for changes, as the page has it."""
        status, headers, _ = await self.ask(await self.link())
        assert (status, headers["Location"]) == (303, "/")
        self.cookie = headers["Set-Cookie"].partition(";")[0]
        _, _, text = await self.ask("/")
        [token] = re.findall(r'<meta name="csrf" content="([^"]+)">', text)
        return str(token)

    def state(self) -> str:
        return str(self.home.accounts()[0].get("state", "ready"))


@pytest.fixture
async def visitor(tmp_path: Path) -> AsyncIterator[Visitor]:
    async with visiting(tmp_path) as visitor:
        yield visitor


@asynccontextmanager
async def visiting(folder: Path, **options: Any) -> AsyncIterator[Visitor]:
    home = Home(folder)
    store = FileStore(home.config, home.state / "locks")
    lasts = round((time.time() + 86400) * 1000)
    await store.add(
        {"id": "a", "label": NAME, "accessToken": "t", "refreshToken": "r", "expiresAt": lasts,
         "state": "sign-in", "stateReason": "Ended\x1b[31m\u202e."}
    )  # fmt: skip
    async with serving(home, **options) as served:
        yield Visitor(served, home)


async def test_a_program_that_asks_for_the_base_address_hears_that_the_gateway_is_there(
    visitor: Visitor,
) -> None:
    async with visitor.served.http.get(visitor.served.url, headers={"Accept": "*/*"}) as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "ok")
    async with visitor.served.http.head(visitor.served.url) as answer:
        assert answer.status == 200


async def test_without_a_session_there_are_no_data_anywhere(visitor: Visitor) -> None:
    status, headers, text = await visitor.ask("/")

    assert status == 200
    assert "kiro-auth dashboard" in text
    assert "alert" not in text
    assert "Set-Cookie" not in headers
    for path in ("events", "spending", "sign-ins/x"):
        assert (await visitor.ask(f"/dashboard/{path}"))[0] == 401
    assert (await visitor.ask("/dashboard/accounts/a/enable", "POST"))[0] == 401


async def test_a_link_needs_the_key_and_works_once_and_not_for_a_look_ahead(visitor: Visitor) -> None:
    assert (await visitor.ask("/kiro/dashboard", "POST"))[0] == 401
    link = await visitor.link()

    assert (await visitor.ask(link, "HEAD"))[0] == 405
    status, headers, text = await visitor.ask(link)
    assert (status, text) == (303, "")
    for part in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert part in headers["Set-Cookie"]
    assert (await visitor.ask(link))[0] == 410
    assert (await visitor.ask("/dashboard/open/other"))[0] == 410


async def test_every_answer_forbids_what_a_page_does_not_need(visitor: Visitor) -> None:
    token = await visitor.enter()
    for path in ("/", "/dashboard/spending", "/dashboard/static/dashboard.js", "/dashboard/open/x"):
        _, headers, _ = await visitor.ask(path)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
    _, headers, text = await visitor.ask("/")
    assert headers["Cache-Control"] == "no-store"
    assert KEY not in text
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:|https?://", text)
    assert token


async def test_names_and_texts_of_others_are_data(visitor: Visitor) -> None:
    await visitor.enter()
    _, _, text = await visitor.ask("/")

    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in text
    assert NAME not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


async def test_what_changes_something_needs_the_page_s_own_origin_and_token(visitor: Visitor) -> None:
    token = await visitor.enter()
    change = "/dashboard/accounts/a/enable"
    own = visitor.served.url
    refused: list[dict[str, str]] = [
        {},
        {"origin": own},
        {CSRF_HEADER: token},
        {"origin": own, CSRF_HEADER: "wrong"},
        {"origin": "http://127.0.0.1:1", CSRF_HEADER: token},
        {"origin": "null", CSRF_HEADER: token},
    ]
    for headers in refused:
        assert (await visitor.ask(change, "POST", **headers))[0] == 403, headers
        assert visitor.state() == "sign-in"
    assert (await visitor.ask(change, "GET", origin=own, **{CSRF_HEADER: token}))[0] == 405

    status, _, text = await visitor.ask(change, "POST", origin=own, **{CSRF_HEADER: token})
    assert (status, visitor.state()) == (200, "ready")
    assert json.loads(text) == {"message": f"{NAME} takes requests again."}


async def test_an_account_or_an_action_that_is_not_there_is_said_so(visitor: Visitor) -> None:
    token = await visitor.enter()
    own = {"origin": visitor.served.url, CSRF_HEADER: token}
    for path in ("accounts/b/enable", "accounts/a/remove", "accounts/a/__class__"):
        assert (await visitor.ask(f"/dashboard/{path}", "POST", **own))[0] == 404
    assert (await visitor.ask("/dashboard/sign-ins/x"))[0] == 404


async def test_only_the_page_s_own_files_are_served(visitor: Visitor) -> None:
    for name in STATIC:
        status, headers, _ = await visitor.ask(f"/dashboard/static/{name}")
        assert (status, headers["Content-Type"].partition(";")[0]) == (200, STATIC[name])
    for name in ("vendored.json", "..%2fsite.py", "%2e%2e/pages.py", "x"):
        assert (await visitor.ask(f"/dashboard/static/{name}"))[0] == 404


async def test_another_host_or_page_is_not_let_in_at_all(visitor: Visitor) -> None:
    await visitor.enter()
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        status, _, text = await visitor.ask("/", **headers)
        assert status == 403
        assert "KA-ORIGIN" in text


async def test_a_page_is_told_of_a_change_and_of_the_end_of_its_session(visitor: Visitor) -> None:
    token = await visitor.enter()
    own = {"origin": visitor.served.url, CSRF_HEADER: token}
    headers = {"Cookie": visitor.cookie or ""}
    async with visitor.served.http.get(f"{visitor.served.url}/dashboard/events", headers=headers) as stream:
        first = await event(stream.content)
        assert set(first[1]) == {"summary", "accounts", "turns", "troubles"}
        assert "signed out" in first[1]["accounts"]
        await visitor.ask("/dashboard/accounts/a/enable", "POST", **own)
        second = await event(stream.content)
        assert set(second[1]) == {"summary", "accounts"}
        assert "Everything works" in second[1]["summary"]
        assert "&lt;script&gt;" in second[1]["accounts"]
        assert (await visitor.ask("/dashboard/close", "POST", **own))[0] == 200
        assert await event(stream.content) == ("bye", "closed")
    assert "kiro-auth dashboard" in (await visitor.ask("/"))[2]


async def event(content: Any) -> tuple[str, Any]:
    """The next event that is no comment."""
    name = ""
    while True:
        line = (await content.readline()).decode().strip()
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        if line.startswith("data: "):
            return name, json.loads(line.removeprefix("data: "))


async def test_an_old_tab_gives_way_to_newer_ones(visitor: Visitor) -> None:
    await visitor.enter()
    address, headers = f"{visitor.served.url}/dashboard/events", {"Cookie": visitor.cookie or ""}
    streams = [await visitor.served.http.get(address, headers=headers) for _ in range(5)]
    await event(streams[0].content)
    assert await event(streams[0].content) == ("bye", "elsewhere")
    for stream in streams:
        stream.close()


async def test_neither_an_open_page_nor_a_scrape_keeps_an_idle_gateway_alive(visitor: Visitor) -> None:
    await visitor.enter()
    before = visitor.served.activity.last
    headers = {"Cookie": visitor.cookie or ""}
    async with visitor.served.http.get(f"{visitor.served.url}/dashboard/events", headers=headers) as stream:
        await event(stream.content)
        await visitor.served.http.get(f"{visitor.served.url}/metrics", headers=OURS)
        assert (visitor.served.activity.open, visitor.served.activity.last) == (0, before)
    await visitor.ask("/")
    assert visitor.served.activity.last > before


async def test_accounts_that_cannot_be_read_are_said_so(visitor: Visitor) -> None:
    await visitor.enter()
    (visitor.home.config / "kiro-accounts.json").write_text("{")

    status, _, text = await visitor.ask("/")

    assert status == 200
    assert "The accounts cannot be read" in text
    assert "KA-STORE" in text


async def test_an_account_that_cannot_be_read_is_told_beside_the_others_and_not_all_is_well(
    visitor: Visitor,
) -> None:
    await visitor.enter()
    HandStore(visitor.home.config, visitor.home.state / "locks").add_account(
        {"id": "damaged", "accessToken": {"s3cret": "<b>"}}
    )

    _, _, text = await visitor.ask("/")

    assert "The account damaged cannot be read" in text
    assert "kiro-auth accounts remove damaged" in text
    assert "alert(" in text
    assert "s3cret" not in text
