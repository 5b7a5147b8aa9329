"""The page of a client key's holder: its own figures, nothing of others, and nothing that it could do."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from dashboard.test_site import Visitor, visiting
from kiro_auth.dashboard.site import CSRF_HEADER
from kiro_auth.keys.changes import Changes, Limits, Made
from kiro_auth.keys.files import FileKeys
from kiro_auth.keys.key import Budget
from kiro_auth.store.apart import MARK
from kiro_auth.store.files import ACCOUNTS, FileStore
from support.programs import KEY

FORM = "application/x-www-form-urlencoded"


def changes(visitor: Visitor) -> Changes:
    return Changes(FileKeys(visitor.home.config, visitor.home.state), "ada", time.time())


def made(visitor: Visitor) -> Made:
    budget = Budget(5, "day")
    return changes(visitor).create("ann", Limits(accounts=("a",), budget=budget, models=("claude-haiku-*",)))


async def send(visitor: Visitor, path: str, **fields: str) -> tuple[int, dict[str, str], str]:
    """What a browser does with a form of the gateway's own page."""
    request = visitor.served.http.post(
        visitor.served.url + path,
        data=urlencode(fields),
        headers={"Content-Type": FORM, "Origin": visitor.served.url}
        | ({"Cookie": visitor.cookie} if visitor.cookie else {}),
        allow_redirects=False,
    )
    async with request as answer:
        return answer.status, dict(answer.headers), await answer.text()


async def enter(visitor: Visitor, secret: str) -> None:
    status, headers, _ = await send(visitor, "/dashboard/open", key=secret)
    assert (status, headers["Location"]) == (303, "/")
    assert "HttpOnly" in headers["Set-Cookie"]
    assert secret not in str(headers)
    visitor.cookie = headers["Set-Cookie"].partition(";")[0]


async def test_the_holder_of_a_key_sees_its_own_limits_and_accounts_and_nothing_of_others(
    tmp_path: Path,
) -> None:
    async with visiting(tmp_path) as visitor:
        store = FileStore(visitor.home.config, visitor.home.state / "locks")
        await store.add({"id": "b", "label": "work of others", "refreshToken": "r", "state": "sign-in"})
        key = made(visitor)
        changes(visitor).create("bob", Limits(accounts=("b",)))
        await enter(visitor, key.secret)
        status, headers, text = await visitor.ask("/")

    assert status == 200
    assert "The key ann" in text
    assert "5.00</strong> of 5" in text
    assert "claude-haiku-*" in text
    assert "&lt;script&gt;alert" in text  # the name of its account
    for hidden in ("work of others", "bob", key.secret, KEY, "data-action"):
        assert hidden not in text
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:|https?://", text)
    assert "form-action 'self'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"


async def test_a_holder_s_session_reads_and_changes_nothing_else(tmp_path: Path) -> None:
    async with visiting(tmp_path) as visitor:
        await enter(visitor, made(visitor).secret)
        _, _, text = await visitor.ask("/")
        [token] = re.findall(r'name="csrf" value="([^"]+)"', text)
        for path in ("events", "spending", "sign-ins/x"):
            assert (await visitor.ask(f"/dashboard/{path}"))[0] == 403
        for path in ("accounts/a/enable", "accounts/a/sign-in", "accounts/a/verify", "close"):
            headers = {CSRF_HEADER.replace("-", "_"): token, "origin": visitor.served.url}
            assert (await visitor.ask(f"/dashboard/{path}", "POST", **headers))[0] == 403
        assert visitor.state() == "sign-in"


async def test_a_program_gets_a_link_with_a_client_key_that_opens_the_holder_s_page_once(
    tmp_path: Path,
) -> None:
    async with visiting(tmp_path) as visitor:
        headers = {"x-api-key": made(visitor).secret}
        async with visitor.served.http.post(
            f"{visitor.served.url}/kiro/dashboard", headers=headers
        ) as answer:
            link = (await answer.json())["path"]
        status, headers, _ = await visitor.ask(link)
        visitor.cookie = headers["Set-Cookie"].partition(";")[0]
        assert status == 303
        assert "The key ann" in (await visitor.ask("/"))[2]
        assert (await visitor.ask(link))[0] == 410


async def test_a_page_of_a_key_that_was_revoked_is_closed(tmp_path: Path) -> None:
    async with visiting(tmp_path) as visitor:
        await enter(visitor, made(visitor).secret)
        changes(visitor).revoke("ann")
        end = time.monotonic() + 30
        while (answer := await visitor.ask("/"))[0] == 200:
            assert time.monotonic() < end
        assert answer[0] == 401
        assert "The key ann was revoked" in answer[2]
        assert "The key ann was revoked" not in (await visitor.ask("/"))[2]  # the session has ended


async def test_a_page_that_was_opened_with_a_secret_ends_when_the_key_gets_another(tmp_path: Path) -> None:
    async with visiting(tmp_path) as visitor:
        key = made(visitor)
        async with visitor.served.http.post(
            f"{visitor.served.url}/kiro/dashboard", headers={"x-api-key": key.secret}
        ) as answer:
            link = (await answer.json())["path"]
        await enter(visitor, key.secret)
        rotated = changes(visitor).rotate("ann")
        end = time.monotonic() + 30
        while (answer := await visitor.ask("/"))[0] == 200:
            assert time.monotonic() < end
        assert answer[0] == 401
        assert "The key ann was given another secret" in answer[2]
        visitor.cookie = (await visitor.ask(link))[1]["Set-Cookie"].partition(";")[0]
        assert (await visitor.ask("/"))[0] == 401
        await enter(visitor, rotated.secret)
        assert "The key ann" in (await visitor.ask("/"))[2]


async def test_a_keyring_that_does_not_open_ends_no_session_of_a_key_s_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    async with visiting(tmp_path) as visitor:
        await enter(visitor, made(visitor).secret)
        file = visitor.home.config / ACCOUNTS
        good = file.read_text()
        marked = json.loads(good)
        marked["accounts"][0] |= {"accessToken": "", "refreshToken": ""}
        marked["accounts"].append({"id": "c", "accessToken": "", MARK: {"keyring": "a", "revision": "0"}})
        file.write_text(json.dumps(marked))

        status, _, text = await visitor.ask("/")
        assert (status, "KA-KEYRING" in text) == (503, True)
        file.write_text(good)
        assert "The key ann" in (await visitor.ask("/"))[2]


@pytest.mark.parametrize("secret", [KEY, "", "kak_wrong", "x" * 5000])
async def test_what_is_no_client_key_opens_nothing_and_is_not_repeated(tmp_path: Path, secret: str) -> None:
    async with visiting(tmp_path) as visitor:
        made(visitor)
        status, headers, text = await send(visitor, "/dashboard/open", key=secret)
        assert (status, "Set-Cookie" in headers) == (403, False)
        assert not secret or secret not in text


async def test_a_form_of_another_page_opens_no_session(tmp_path: Path) -> None:
    async with visiting(tmp_path) as visitor:
        request = visitor.served.http.post(
            visitor.served.url + "/dashboard/open",
            data=urlencode({"key": made(visitor).secret}),
            headers={"Content-Type": FORM, "Origin": "https://example.com"},
        )
        async with request as answer:
            assert (answer.status, "Set-Cookie" in answer.headers) == (403, False)


async def test_close_ends_the_session_with_the_page_s_own_token_alone(tmp_path: Path) -> None:
    async with visiting(tmp_path) as visitor:
        await enter(visitor, made(visitor).secret)
        _, _, text = await visitor.ask("/")
        [token] = re.findall(r'name="csrf" value="([^"]+)"', text)
        assert (await send(visitor, "/dashboard/leave", csrf="wrong"))[0] == 403
        assert "The key ann" in (await visitor.ask("/"))[2]
        assert (await send(visitor, "/dashboard/leave", csrf=token))[0] == 303
        assert "The key ann" not in (await visitor.ask("/"))[2]


async def test_without_client_keys_the_closed_page_asks_for_none(tmp_path: Path) -> None:
    async with visiting(tmp_path) as visitor:
        assert "<form" not in (await visitor.ask("/"))[2]
        made(visitor)
        end = time.monotonic() + 30
        while "<form" not in (await visitor.ask("/"))[2]:
            assert time.monotonic() < end


async def test_many_sessions_of_one_holder_end_none_of_the_owner(tmp_path: Path) -> None:
    async with visiting(tmp_path) as visitor:
        await visitor.enter()
        of_owner, key = visitor.cookie, made(visitor)
        for _ in range(20):
            await enter(visitor, key.secret)
        visitor.cookie = of_owner
        assert (await visitor.ask("/dashboard/spending"))[0] == 200
