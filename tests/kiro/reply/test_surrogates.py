"""Text with half characters, mended."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.kiro.reply.surrogates import ends_in_half, whole, whole_json


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("", ""),
        ("a\ud83db", "a\ufffdb"),
        ("\ude00", "\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
    ],
)
def test_halves_that_meet_are_one_character_and_others_a_sign(text: str, mended: str) -> None:
    assert whole(text) == mended
    assert json.loads(whole_json({text: [text]})) == {mended: [mended]}


@given(st.text())
def test_text_of_whole_characters_stays_as_it_is(text: str) -> None:
    assert whole(text) == text


def test_only_a_first_half_at_the_end_waits_for_another() -> None:
    assert [ends_in_half(text) for text in ("a\ud83d", "\ud83da", "\ude00", "", "é")] == [
        True,
        False,
        False,
        False,
        False,
    ]
