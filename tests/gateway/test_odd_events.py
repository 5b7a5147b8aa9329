"""Whatever a service writes into the fields of its events, each API's stream is well formed and ends once."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import Conversation, Message, Text
from kiro_auth.events import Answered, Failed
from kiro_auth.failures import DEFECT, Failure
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.gateway.pipe import Pipe
from kiro_auth.gateway.progress import Progress
from kiro_auth.gateway.reply import Reply, reply_to
from kiro_auth.kiro.reply.eventstream import encode_frame
from kiro_auth.kiro.request.payload import Payload
from support.frames import END, event, text

ASKED = Conversation(model="m", messages=(Message("user", (Text("Hi"),)),), stream=True)
SENT = Payload(body=b"", tool_names={"read": "read"}, repairs=(), input_tokens=10, tag_reasoning=False)
FIELDS: dict[str, list[str]] = {
    "assistantResponseEvent": ["content"],
    "codeEvent": ["content"],
    "reasoningContentEvent": ["text", "signature", "redactedContent"],
    "toolUseEvent": ["toolUseId", "name", "input", "stop"],
    "metadataEvent": ["tokenUsage", "stopReason"],
    "contextUsageEvent": ["contextUsagePercentage"],
    "meteringEvent": ["usage", "unit"],
    "supplementaryWebLinksEvent": ["supplementaryWebLinks"],
    "citationEvent": ["target", "citationLink", "citationText"],
    "documentCitationEvent": ["title", "location"],
    "novelEvent": ["anything"],
}
"""The events that the service sends, and their fields."""
INNER = [
    *("uncachedInputTokens", "outputTokens", "cacheReadInputTokens", "contextUsagePercentage"),
    *("url", "title", "start", "end", "range", "location", "web"),
]
ODD: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()  # NaN and Infinity as well: Python writes them bare, as no JSON has them
    | st.text(max_size=20)
    | st.sampled_from(
        ["NaN", "Infinity", "-Infinity", "12.5", "1e999", 10**400, -(10**30), "\ud800", "END_TURN"]
    )
    | st.sampled_from(["https://a.example", "tooluse_1", "read", "{", '{"a":1}', "x" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=4),
    max_leaves=6,
)


def encoded(name: str, payload: Any) -> bytes:
    return encode_frame(
        {":message-type": "event", ":event-type": name}, json.dumps(payload).encode(errors="replace")
    )


ODD_EVENTS = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda name: st.builds(
        encoded, st.just(name), st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS[name], ODD)) | ODD
    )
)
ODD_HEADERS = st.dictionaries(
    st.sampled_from(
        [":message-type", ":event-type", ":exception-type", ":error-code", ":error-message", ":content-type"]
    ),
    st.sampled_from(
        ["event", "exception", "error", "ThrottlingException", "", "toolUseEvent", 7, True, b"\xff"]
    )
    | st.text(max_size=20),
)
FRAMES = ODD_EVENTS | st.builds(encode_frame, ODD_HEADERS, st.binary(max_size=30)) | st.just(text("word "))


def pipe_of(path: str) -> Pipe:
    reply = reply_to(
        ASKED, SURFACES[path], SENT, context_window=1000, request_id="r-1", reply_id="ab", created=0
    )
    began = reply.feed(text("Hello"))
    assert began
    return Pipe(reply, patience=60.0)


def lines(written: bytes) -> list[Any]:
    """The JSON values of a stream; each must be one that every language reads."""
    values = [line[6:] for line in written.splitlines() if line.startswith(b"data: ")]
    return [msgspec.json.decode(value) for value in values if value != b"[DONE]"]


@pytest.mark.parametrize("path", SURFACES)
@given(frames=st.lists(FRAMES, max_size=6))
def test_odd_fields_end_in_no_defect_and_each_stream_ends_once(path: str, frames: Sequence[bytes]) -> None:
    pipe, written = pipe_of(path), b""
    for frame in [*frames, END]:
        if pipe.ended is None:
            written += pipe.data(frame)
    if pipe.ended is None:
        written += pipe.eof()

    assert isinstance(pipe.ended, Answered | Failed)
    assert not isinstance(pipe.ended, Failed) or pipe.ended.failure.code != DEFECT.code
    said = lines(written)
    assert all(isinstance(value, dict) for value in said)
    kinds = [value.get("type") for value in said]
    assert (
        kinds.count("message_stop") + kinds.count("response.completed") + kinds.count("response.failed") <= 1
    )
    assert pipe.data(text("more")) == b""


class Broken:
    """An encoder that a defect breaks, in the middle and again at the end."""

    def __init__(self) -> None:
        self.calls = 0

    def encode(self, _: Any) -> bytes:
        self.calls += 1
        if self.calls > 1:
            raise ValueError("cannot convert float NaN to integer")
        return b"begun"

    def ping(self) -> bytes:
        return b""


@pytest.mark.parametrize("path", SURFACES)
def test_a_defect_after_the_first_word_leaves_the_fixed_last_words_and_never_raises(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    surface = SURFACES[path]
    made = reply_to(ASKED, surface, SENT, context_window=10, request_id=None, reply_id="ab", created=0)
    reply = Reply(made._reader, Broken(), last_words=surface.LAST_WORDS)
    assert reply.feed(text("Hello")) == b"begun"
    pipe = Pipe(reply, patience=60.0)

    assert pipe.data(text("more")) == surface.LAST_WORDS
    assert pipe.ended == Failed(DEFECT)
    for call in (pipe.eof, lambda: pipe.broke(Failure(code="KA-CUT", message="Cut."))):
        assert call() == b""
    [value] = lines(surface.LAST_WORDS)
    assert "KA-INTERNAL" in json.dumps(value)
    assert [r.levelno for r in caplog.records] == [logging.ERROR]


def test_a_reply_larger_than_any_is_cut() -> None:
    pipe, piece = pipe_of("/v1/messages"), event("novelEvent", padding="x" * 8_000_000)
    for _ in range(20):
        pipe.data(piece)

    assert isinstance(pipe.ended, Failed)
    assert "larger than any" in pipe.ended.failure.message


def test_progress_is_what_is_made_of_the_bytes() -> None:
    reply = reply_to(
        ASKED,
        SURFACES["/v1/messages"],
        SENT,
        context_window=10,
        request_id=None,
        reply_id="ab",
        created=0,
    )
    reply.feed(text("Hello"))
    progress = Progress(reply, 60.0)
    assert progress.until(100.0) == 160.0

    reply.feed(event("novelEvent") + text("") + event("toolUseEvent", toolUseId="t", name="read", input="a"))
    assert progress.until(130.0) == 160.0
    reply.feed(event("toolUseEvent", toolUseId="t", name="read", input="b" * 300))
    assert progress.until(140.0) == 200.0
    reply.feed(text("more"))
    assert progress.until(150.0) == 210.0
