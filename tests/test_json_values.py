"""JSON of other programs: every reader gives the type it names, whatever is there, and never an exception."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.failures import StoreFailed
from kiro_auth.gateway.discovery import STATE_FILE, find
from kiro_auth.gateway.model_lists import read_lists
from kiro_auth.json_values import (
    NotJson,
    as_list,
    as_number,
    as_object,
    as_objects,
    as_text,
    as_words,
    decoded,
    decoded_as,
    first_text,
    object_in,
    unmarked,
)
from kiro_auth.opencode.changes import FILE as CHANGES
from kiro_auth.opencode.changes import read_changes
from kiro_auth.opencode.models import USUAL_MODELS, read_models

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars | st.just(10**400),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(values)
def test_any_value_is_read_as_the_type_the_reader_names(value: Any) -> None:
    assert as_object(value) == (value if isinstance(value, dict) else {})
    assert as_list(value) == (value if isinstance(value, list) else [])
    assert all(isinstance(entry, dict) and entry in value for entry in as_objects(value))
    assert all(isinstance(word, str) and word in value for word in as_words(value))
    assert as_text(value) == (value if isinstance(value, str) and value != "" else None)


@given(values)
def test_a_number_is_finite_and_no_truth_value(value: Any) -> None:
    number = as_number(value)

    if number is None:
        assert isinstance(value, bool) or not isinstance(value, int | float) or not _fits(value)
    else:
        assert math.isfinite(number)
        assert number == value
        assert not isinstance(value, bool)


def _fits(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


@given(st.lists(st.sampled_from([None, "", 0, "one", "two", ["x"]]), max_size=4))
def test_the_first_text_is_the_first_field_that_is_one(listed: list[Any]) -> None:
    fields = {str(at): value for at, value in enumerate(listed)}

    texts = [value for value in listed if isinstance(value, str) and value]

    assert first_text(fields, "absent", *fields) == (texts[0] if texts else None)


@given(st.binary())
def test_any_bytes_are_json_or_not_json(data: bytes) -> None:
    """The one documented exception, whatever is wrong."""
    try:
        value = decoded(data)
    except NotJson:
        assert object_in(data) is None
    else:
        assert object_in(data) == (value if isinstance(value, dict) else None)


plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()


@given(st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12))
def test_what_another_writes_as_json_is_read_as_it_was(value: Any) -> None:
    assert decoded(json.dumps(value)) == value


@pytest.mark.parametrize(
    "data",
    [b"", b" ", b"{", b"{}x", b"<html>", b'"\xff"', b'"\xc3', b"[" * 100_000, b"NaN"],
    ids=lambda data: repr(data[:10]),
)
def test_grammar_utf_8_and_depth_fail_in_the_same_way(data: bytes) -> None:
    with pytest.raises(NotJson):
        decoded(data)
    assert object_in(data) is None


@pytest.mark.parametrize("data", [None, 1, 1.5, [], {}, "[]", b"null"], ids=repr)
def test_what_holds_no_object_is_none(data: Any) -> None:
    assert object_in(data) is None


def test_an_object_is_read_of_bytes_and_of_text() -> None:
    assert object_in(b'{"a": 1}') == object_in('{"a": 1}') == {"a": 1}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=12,
    ),
    st.sampled_from(["", "\ufeff"]),
)
def test_a_byte_order_mark_at_the_beginning_changes_nothing(value: Any, mark: str) -> None:
    text = json.dumps(value)

    assert decoded(mark + text) == decoded((mark + text).encode()) == decoded(text)
    assert object_in((mark + text).encode()) == object_in(text)
    assert unmarked(mark + text) == text


@pytest.mark.parametrize("data", ["\ufeff", "\ufeff\ufeff{}", " \ufeff{}", b"\xef\xbb{}", b"\xff\xfe{\0}\0"])
def test_a_mark_alone_twice_or_elsewhere_is_not_json(data: bytes | str) -> None:
    with pytest.raises(NotJson):
        decoded(data)


ODD = [b"", b"{", b"[1]", b'{"a": "\xff"}', b'{"a":' * 100_000, b'{"a": 1}', b'{"\xff": "b"}']


@pytest.mark.parametrize("data", ODD)
def test_what_is_of_another_type_is_not_read_and_says_so(data: bytes) -> None:
    with pytest.raises(NotJson):
        decoded_as(data, dict[str, str])


def damaged(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("data", ODD)
def test_damaged_files_of_this_program_end_no_command(tmp_path: Path, data: bytes) -> None:
    damaged(tmp_path, STATE_FILE, data)
    damaged(tmp_path, CHANGES, data)

    assert find(tmp_path) is None
    assert read_lists(damaged(tmp_path, "lists", data)) == {}
    assert read_models(damaged(tmp_path, "models", data)) is USUAL_MODELS
    with pytest.raises(StoreFailed, match="cannot be read"):
        read_changes(tmp_path)
