"""Streams of one page: a few at once, of which the newest stay."""

from __future__ import annotations

from contextlib import ExitStack

from kiro_auth.tabs import MOST_TABS, Tabs


async def test_the_oldest_end_where_there_are_too_many_and_none_is_left_of_those_that_ended() -> None:
    tabs = Tabs()
    with ExitStack() as opened:
        ends = [opened.enter_context(tabs.followed()) for _ in range(MOST_TABS + 2)]
        assert [end.is_set() for end in ends] == [True, True, *[False] * MOST_TABS]
        assert tabs
    assert not tabs


async def test_all_end_with_the_page() -> None:
    tabs = Tabs()
    with tabs.followed() as first, tabs.followed() as second:
        tabs.end()
        assert first.is_set()
        assert second.is_set()
