"""The words in which clients get failures."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.failures import CATALOGUE, DEFECT, Failure
from kiro_auth.surfaces.waiting import final_text
from kiro_auth.surfaces.wording import final_wording, passing_wording

# What OpenCode 1.18.34 looks for, written down apart from the code under test.
RETRY_NUMBERS = ("429", "500", "502", "503", "504", "524")
RETRY_PHRASES = (
    "rate limit",
    "rate_limit",
    "rate-limit",
    "ratelimit",
    "too many requests",
    "overloaded",
    "service unavailable",
    "internal error",
    "server error",
    "provider returned error",
    "terminated",
    "fetch failed",
    "network error",
    "connection error",
    "connection refused",
    "connection lost",
    "socket hang up",
    "econnreset",
    "etimedout",
    *(f"{what} timed out" for what in ("request", "response", "connection", "network", "stream", "read")),
    "retry your request",
    "resource exhausted",
    "resource_exhausted",
    "try again later",
    "try again in",
    "currently at capacity",
    "temporarily at capacity",
)
# What OpenCode 2.x takes for a filtered answer, and what in a 429 for a plan that is used up.
FILTER_PHRASES = (
    *(f"content{between}{what}" for what in ("policy", "filter") for between in (" ", "-", "_", "")),
    "safety",
)
QUOTA_PHRASES = (
    *(f"insufficient{between}quota" for between in (" ", "-", "_", "")),
    *(f"quota{between}exceeded" for between in (" ", "-", "_", "")),
)


def holding(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


MISLEADS_WHEN_FINAL = holding(*RETRY_NUMBERS, *RETRY_PHRASES, *FILTER_PHRASES)
MISLEADS_WHEN_PASSING = holding(*FILTER_PHRASES, *QUOTA_PHRASES)
ALL_PHRASES = (*RETRY_PHRASES, *FILTER_PHRASES, *QUOTA_PHRASES)

words = st.sampled_from(
    (
        *RETRY_NUMBERS,
        *ALL_PHRASES,
        *" ".join(ALL_PHRASES).split(),
        "4",
        "29",
        "5",
        "0",
        "2",
        " ",
        ".",
        "…",
    )
)
"""Phrases, and the pieces of which new ones could grow together."""


LAWS = [
    pytest.param(
        final_wording, MISLEADS_WHEN_FINAL, (*RETRY_NUMBERS, *RETRY_PHRASES, *FILTER_PHRASES), id="final"
    ),
    pytest.param(passing_wording, MISLEADS_WHEN_PASSING, (*FILTER_PHRASES, *QUOTA_PHRASES), id="passing"),
]
BOTH = pytest.mark.parametrize(
    ("wording", "misleads"), [(final_wording, MISLEADS_WHEN_FINAL), (passing_wording, MISLEADS_WHEN_PASSING)]
)
Wording = Callable[[str], str]


@pytest.mark.parametrize(("wording", "misleads", "phrases"), LAWS)
def test_every_phrase_that_misleads_a_client_is_put_in_other_words(
    wording: Wording, misleads: re.Pattern[str], phrases: tuple[str, ...]
) -> None:
    for phrase in phrases:
        for text in (phrase, phrase.upper(), f"It said: {phrase}.", f"({phrase.capitalize()})"):
            assert not misleads.search(wording(text))


@BOTH
@given(
    text=st.lists(words, max_size=12).flatmap(
        lambda parts: st.sampled_from(["".join(parts), " ".join(parts)])
    )
)
def test_no_text_keeps_or_grows_a_phrase_that_misleads_a_client(
    wording: Wording, misleads: re.Pattern[str], text: str
) -> None:
    assert not misleads.search(wording(text))


@BOTH
@given(text=st.text() | st.lists(words, max_size=8).map(" ".join))
def test_wording_twice_changes_nothing_more(wording: Wording, misleads: re.Pattern[str], text: str) -> None:
    assert wording(wording(text)) == wording(text)


@BOTH
@given(
    text=st.text(alphabet=st.characters(exclude_categories=["N"], exclude_characters="tT"))
    | st.lists(words, max_size=4).map(" ".join)
)
def test_text_without_such_a_phrase_is_left_alone(
    wording: Wording, misleads: re.Pattern[str], text: str
) -> None:
    if not misleads.search(text):
        assert wording(text) == text


@pytest.mark.parametrize(
    ("text", "softer"),
    [
        pytest.param("500 of 500 used", "5·0·0 of 5·0·0 used", id="the number alone"),
        pytest.param("50429", "5·0·4·2·9", id="one number inside another"),
        pytest.param("1000 of 1000", "1000 of 1000", id="a harmless number"),
        pytest.param(
            "Too many requests, please", "More requests than allowed, please", id="keeps the capital"
        ),
        pytest.param("Please try again later.", "Please wait and repeat.", id="inside a sentence"),
        pytest.param("Safety settings", "Protection settings", id="what 2.x takes for a filter"),
        pytest.param("Quota exceeded.", "Quota exceeded.", id="what only a throttle must not say"),
    ],
)
def test_the_final_wording_stays_readable(text: str, softer: str) -> None:
    assert final_wording(text) == softer


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_is_told_in_whole_sentences_that_no_client_takes_for_passing(code: str) -> None:
    entry = CATALOGUE[code]
    assert re.fullmatch(r"KA-[A-Z]+(-[A-Z]+)*", code)
    assert entry.title.endswith(".")
    assert entry.remedy
    sentence = Failure(code=code, message=entry.title, next_step=entry.remedy).sentence()
    assert not MISLEADS_WHEN_FINAL.search(sentence)
    assert final_wording(sentence) == passing_wording(sentence) == sentence


def test_the_last_words_of_a_defect_need_no_other_words() -> None:
    """So no start looks for phrases in them."""
    assert final_text(DEFECT) == DEFECT.sentence() == final_wording(DEFECT.sentence())
