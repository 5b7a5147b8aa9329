"""Whatever the services say, what is taken of it can be kept, shown, sent and reckoned with."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.kiro import checked

FIGURES = st.integers() | st.floats() | st.sampled_from([1e308, -1e308, 10**400, -(10**400), 0, -0.0, 5e-324])
LETTERS = st.text() | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "L"]))
ANYTHING: Any = st.recursive(
    st.none()
    | st.booleans()
    | FIGURES
    | LETTERS
    | st.sampled_from(["NaN", "Infinity", "-1", "1e308", "12.5"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
CHECKS = ["text", "identifier", "address", "code", "access_token", "kept_token"]
NUMBERS = ["figure", "amount", "count", "moment", "milliseconds"]


@given(ANYTHING)
def test_a_text_is_bounded_shows_and_can_be_written(value: Any) -> None:
    for name in CHECKS:
        said = getattr(checked, name)(value)
        assert said is None or (0 < len(said) <= checked.LONGEST_TOKEN)
        assert msgspec.json.decode(msgspec.json.encode(said)) == said
    for name in ("text", "identifier", "address", "code", "access_token"):
        said = getattr(checked, name)(value) or ""
        assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in said)
    assert len(checked.text(value) or "") <= checked.LONGEST_TEXT


@given(ANYTHING)
def test_a_number_is_finite_and_of_a_size_that_all_can_reckon_with(value: Any) -> None:
    for name in NUMBERS:
        said = getattr(checked, name)(value)
        assert said is None or (math.isfinite(said) and abs(said) <= 1e13)
        assert said is not True
        assert said is not False
    assert (checked.amount(value) or 0) >= 0
    assert (checked.seconds(value, 60) or 1) <= 60


@given(ANYTHING)
def test_a_date_is_one_of_this_century(value: Any) -> None:
    moment = checked.moment(value)
    if moment is not None:
        assert 2000 <= datetime.fromtimestamp(moment, UTC).year < 2100


@pytest.mark.parametrize(
    ("check", "value", "taken"),
    [
        (checked.moment, 1_800_000_000, 1_800_000_000),
        (checked.moment, 1_800_000_000_500, 1_800_000_000.5),
        (checked.moment, "1800000000", 1_800_000_000),
        (checked.moment, 1, None),
        (checked.moment, 9e9, None),
        (checked.text, "KIRO\x1b[31m PRO\u202e+\n", "KIRO[31m PRO+"),
        (checked.text, "Grüße, 世界 👋", "Grüße, 世界 👋"),
        (checked.text, {"title": "PRO"}, None),
        (checked.identifier, "arn:aws:x", "arn:aws:x"),
        (checked.identifier, "a b", None),
        (checked.identifier, "a\x00", None),
        (checked.address, "https://view.awsapps.com/start", "https://view.awsapps.com/start"),
        (checked.address, "file:///etc/passwd", None),
        (checked.address, "javascript:alert(1)", None),
        (checked.access_token, "aoa.b-c_d/e+f=\n", "aoa.b-c_d/e+f="),
        (checked.access_token, "a\r\nx: y", None),
        (checked.access_token, "tökén", None),
        (checked.kept_token, "a\nb", "a\nb"),
        (checked.figure, "NaN", None),
        (checked.count, 200_000.0, 200_000),
        (checked.count, 1e308, None),
        (checked.count, 0, None),
        (checked.amount, -1, None),
    ],
)
def test_what_is_taken_of_some_values(check: Any, value: Any, taken: Any) -> None:
    assert check(value) == taken


def test_a_long_text_is_cut_without_being_read_to_its_end() -> None:
    said = checked.text("x" * 50_000_000)

    assert said is not None
    assert len(said) == checked.LONGEST_TEXT
    assert said.endswith("…")
