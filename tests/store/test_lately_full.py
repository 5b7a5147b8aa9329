"""What a process knows of places that others use up."""

from __future__ import annotations

import asyncio
import itertools
import random
import time

import pytest

from kiro_auth.store.lately_full import LatelyFull


@pytest.mark.slow
async def test_a_name_is_full_from_a_refusal_until_it_is_worth_to_ask_again() -> None:
    lately = LatelyFull(2.0, 2.1)
    assert list(lately.names) == []

    lately.refused("account:a", time.monotonic())

    assert list(lately.names) == ["account:a"]
    await lately.over()
    assert list(lately.names) == []


async def test_who_asked_before_the_refusal_is_refused_with_it_and_who_comes_later_is_not() -> None:
    lately = LatelyFull(60, 60)
    lately.refused("account:a", 5.0)

    assert lately.was_refused_since("account:a", 4.9)
    assert not lately.was_refused_since("account:a", 5.1)
    assert not lately.was_refused_since("account:b", 4.9)


async def test_one_that_was_free_counts_for_all_who_ask_from_then_on() -> None:
    lately = LatelyFull(60, 60)
    lately.refused("account:a", 5.0)
    lately.refused("account:b", 5.0)

    lately.taken("account:a")

    assert list(lately.names) == ["account:b"]
    assert not lately.was_refused_since("account:a", 4.9)


@pytest.mark.slow
async def test_all_who_wait_ask_again_at_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = itertools.chain([2.0], itertools.repeat(60.0))
    monkeypatch.setattr(random, "uniform", lambda *_: next(pauses))
    lately = LatelyFull(0.5, 60)

    async def wait(after: float) -> None:
        await asyncio.sleep(after)
        lately.refused("account:a", time.monotonic())
        await lately.over()

    async with asyncio.timeout(20):  # who had a moment of its own would wait for three times as long
        await asyncio.gather(wait(0), wait(0), wait(0.001))
