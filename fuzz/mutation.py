"""Inputs that are almost right: sound ones with a few places changed, which reach deeper than noise does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

_WHERE = st.integers(0, 0xFFFF).map(lambda number: number * 40503 % 0x10000)
"""A place.  Hypothesis likes small numbers; multiplied, they spread over the whole input."""
_PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [b'"', b"\\", b"{", b"]", b",", b"null", b"-1", b"1e999", b'"\\ud800"', b"\xff", b"[" * 300]
    ),
)
_EDITS = st.lists(st.tuples(_WHERE, st.integers(0, 6), _PIECES), max_size=4)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def changed_bytes(sound: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the sound inputs with up to four places overwritten, cut out or added to; or any bytes."""
    return st.builds(_edited, st.sampled_from(sound), _EDITS) | st.binary(max_size=200)


def changed_json(sound: Sequence[Any]) -> st.SearchStrategy[bytes]:
    """One of the sound values with up to three of its members replaced, cut short or taken away, as JSON."""
    swaps = st.lists(st.tuples(_WHERE, st.just(_CUT) | st.just(_GONE) | _VALUES), min_size=1, max_size=3)
    return st.builds(_swapped, st.sampled_from(sound), swaps)


_GONE, _CUT = object(), object()


def _edited(sound: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    data = bytearray(sound)
    for where, cut, piece in edits:
        start = where % (len(data) + 1)
        data[start : start + cut] = piece
    return bytes(data)


def _swapped(sound: Any, swaps: Sequence[tuple[int, Any]]) -> bytes:
    value = json.loads(json.dumps(sound))
    for where, instead in swaps:
        places = list(_places(value))
        if places:
            holder, key = places[where % len(places)]
            if instead is _GONE:
                del holder[key]
            elif instead is _CUT:  # texts may hold JSON in their turn
                holder[key] = holder[key][:-1] if isinstance(holder[key], str) else None
            else:
                holder[key] = instead
    return json.dumps(value).encode()


def _places(value: Any) -> Any:
    """Every member of every object and list in it, as (holder, key)."""
    if isinstance(value, dict | list):
        members = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        for key, inner in members:
            yield value, key
            yield from _places(inner)
