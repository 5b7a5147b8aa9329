"""A link that stands in the arguments of a program, which all users can read, is for one user alone."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest

from dashboard.test_site import OURS, PEOPLE, visiting
from kiro_auth import socket_owners
from support.serving import Served
from support.stranger import fetched, other_user

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose a connection is")


async def link(served: Served, more: str = "?user=same") -> str:
    async with served.http.post(f"{served.url}/kiro/dashboard{more}", headers=OURS) as answer:
        assert answer.status == 200
        return served.url + str((await answer.json())["path"])


async def followed(served: Served, url: str) -> int:
    async with served.http.get(url, headers=PEOPLE, allow_redirects=False) as answer:
        return answer.status


async def test_another_user_s_program_is_refused_and_told_and_the_link_stays_good(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    user = other_user()
    caplog.set_level(logging.WARNING, "kiro_auth.dashboard")
    async with visiting(tmp_path) as visitor:
        url = await link(visitor.served)
        for _ in range(3):
            status, head, text = await asyncio.to_thread(fetched, url, user)
            assert (status, "set-cookie" in head.lower()) == (403, False)
            assert "This link is for another user" in text
            assert "kiro-auth dashboard --no-browser" in text

        assert await followed(visitor.served, url) == 303
        assert await followed(visitor.served, url) == 410

    [told] = [record.getMessage() for record in caplog.records if record.name == "kiro_auth.dashboard"]
    assert told.startswith(f"a program of the user nobody (uid {user}) followed a link to the dashboard")
    assert url.rpartition("/")[2] not in told


async def test_who_asked_is_who_may_follow_and_not_the_gateway_s_user(tmp_path: Path) -> None:
    """The holder of a client key may be another user of the machine."""
    user = other_user()
    async with visiting(tmp_path) as visitor:
        asking = f"{visitor.served.url}/kiro/dashboard?user=same"
        status, _, text = await asyncio.to_thread(fetched, asking, user, "POST", OURS)
        assert status == 200
        url = visitor.served.url + text.split('"path":"')[1].split('"')[0]

        assert await followed(visitor.served, url) == 403
        assert (await asyncio.to_thread(fetched, url, user))[0] == 303


async def test_a_link_that_was_asked_for_without_that_is_anybody_s_as_it_stands_in_no_arguments(
    tmp_path: Path,
) -> None:
    user = other_user()
    async with visiting(tmp_path) as visitor:
        url = await link(visitor.served, "")

        assert (await asyncio.to_thread(fetched, url, user))[0] == 303


async def test_where_nobody_sees_who_asks_the_link_is_anybody_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = other_user()
    async with visiting(tmp_path) as visitor:
        with monkeypatch.context() as blind:
            blind.setattr(socket_owners, "TABLES", (tmp_path / "none",))
            url = await link(visitor.served)

        assert (await asyncio.to_thread(fetched, url, user))[0] == 303


async def test_where_who_asks_is_seen_one_who_is_not_seen_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A friend of the stranger on another machine, say."""
    async with visiting(tmp_path) as visitor:
        url = await link(visitor.served)
        with monkeypatch.context() as blind:
            blind.setattr(socket_owners, "TABLES", (tmp_path / "none",))
            assert await followed(visitor.served, url) == 403

        assert await followed(visitor.served, url) == 303


async def test_another_word_than_same_is_refused_as_it_would_protect_nobody(tmp_path: Path) -> None:
    async with (
        visiting(tmp_path) as visitor,
        visitor.served.http.post(f"{visitor.served.url}/kiro/dashboard?user=mine", headers=OURS) as answer,
    ):
        assert answer.status == 400
        assert "user is same, or left out" in await answer.text()


async def test_no_table_is_read_for_a_link_that_is_not_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever knows no link makes no work."""
    async with visiting(tmp_path) as visitor:
        monkeypatch.setattr("kiro_auth.dashboard.site.caller", lambda *_: pytest.fail("it was read"))

        assert await followed(visitor.served, f"{visitor.served.url}/dashboard/open/guessed") == 410
        assert await followed(visitor.served, await link(visitor.served, "")) == 303
