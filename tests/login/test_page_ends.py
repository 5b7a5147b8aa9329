"""The end of the page that shows a sign-in: every tab hears of it, and none that is closed is waited for."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from kiro_auth.login import page as page_of_sign_in
from kiro_auth.login.device_flow import Prompt
from support.ports import free_port


@pytest.mark.outside
async def test_a_tab_that_was_closed_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_of_sign_in, "LAST_LOOK_SECONDS", 600.0)
    prompt = Prompt("https://device.example.test/", "ABCD-EFGH", time.time() + 600, None)
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession() as http,
        page_of_sign_in.served(prompt, free_port(), 1) as page,
    ):
        assert page is not None
        async with http.get(f"{page.url}events") as closed:
            await closed.content.readany()
        async with http.get(f"{page.url}events") as stays:
            page.failed("It was declined.")
            assert b"It was declined." in await stays.read()
