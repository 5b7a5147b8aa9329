"""Any bytes give frames or FrameCorrupt; however they are cut, the verdict and sound frames are the same."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime

from hypothesis import strategies as st

from fuzz.mutation import changed_bytes
from kiro_auth.kiro.reply.eventstream import EventStreamDecoder, FrameCorrupt, encode_frame

_HEADERS = {
    ":event-type": "assistantResponseEvent", "on": True, "n": 7, "raw": b"\x00\xff",
    "at": datetime(2026, 1, 1, tzinfo=UTC), "id": uuid.UUID(int=1),
}  # fmt: skip
_FRAMES = [
    encode_frame({}, b""),
    encode_frame(_HEADERS, b'{"content":"Hi"}'),
    encode_frame({":message-type": "exception"}, b"{}" * 40),
]
_SOUND = [*_FRAMES, b"".join(_FRAMES)]

INPUTS = st.tuples(changed_bytes(_SOUND), st.lists(st.integers(0, 400), max_size=6))


def check(data: tuple[bytes, list[int]]) -> None:
    """The invariant, for one input: bytes, and where they are cut."""
    wire, cuts = data
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    pieces = [wire[start:end] for start, end in itertools.pairwise(edges)]

    whole, corrupt = _decoded([wire])
    in_pieces, corrupt_in_pieces = _decoded(pieces)
    assert corrupt == corrupt_in_pieces
    # Of one piece that is corrupt no frame comes out, not even those before the fault.
    assert in_pieces[: len(whole)] == whole if corrupt else in_pieces == whole


def _decoded(pieces: list[bytes]) -> tuple[list[object], bool]:
    """The frames, and whether the bytes were corrupt."""
    decoder, frames = EventStreamDecoder(), list[object]()
    try:
        for piece in pieces:
            frames += decoder.feed(piece)
        decoder.close()
    except FrameCorrupt:
        return frames, True
    return frames, False
