"""The way of a streamed answer, without a socket: what is written when, and how it ends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import Conversation, Message, Text
from kiro_auth.events import Answered, Failed, Left, Stopped
from kiro_auth.failures import Failure
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.gateway.pipe import SILENCE, Pipe
from kiro_auth.gateway.reply import Reply, reply_to
from kiro_auth.kiro.request.payload import Payload
from kiro_auth.surfaces.surface import Surface
from support.frames import END, text

PATIENCE = 60.0
ASKED = Conversation(model="m", messages=(Message("user", (Text("Hi"),)),), stream=True)
SENT = Payload(body=b"", tool_names={}, repairs=(), input_tokens=10, tag_reasoning=False)
CUT = Failure(code="KA-CUT", message="The line broke.")
ENDINGS = {
    "/v1/messages": b"message_stop",
    "/v1/chat/completions": b"[DONE]",
    "/v1/responses": b"response.completed",
}
ERRORS = {
    "/v1/messages": b"event: error",
    "/v1/chat/completions": b'{"error"',
    "/v1/responses": b"response.failed",
}
PINGS = {"/v1/messages": b"event: ping", "/v1/chat/completions": b": ping", "/v1/responses": b": ping"}

every_api = pytest.mark.parametrize("path", SURFACES)


def speaking(surface: Surface) -> Reply:
    """A reply that has said its first word."""
    reply = reply_to(ASKED, surface, SENT, context_window=1000, request_id="r-1", reply_id="ab", created=0)
    assert reply.feed(text("Hello"))
    return reply


def pipe_of(path: str = "/v1/messages") -> Pipe:
    return Pipe(speaking(SURFACES[path]), patience=PATIENCE)


@every_api
def test_a_silent_stream_gets_a_ping_whenever_it_was_silent_for_long(path: str) -> None:
    pipe = pipe_of(path)

    pings = {second: pipe.tick(float(second)) for second in range(100, 100 + 3 * int(SILENCE) + 1)}

    assert [second - 100 for second, data in pings.items() if data] == [15, 30, 45]
    assert all(data.startswith(PINGS[path]) for data in pings.values() if data)
    assert pipe.ended is None


def test_a_stream_that_speaks_gets_no_ping() -> None:
    pipe = pipe_of()
    for second in range(0, 100, 10):
        assert pipe.data(text("word "))
        assert pipe.tick(float(second)) == b""


def test_a_client_that_takes_nothing_has_left_when_its_patience_is_over_and_is_sent_no_ping() -> None:
    pipe = pipe_of()
    pipe.tick(0.0)
    pipe.pause()

    ticks = [pipe.tick(float(second)) for second in range(1, 61)]
    assert (set(ticks), pipe.ended) == ({b""}, None)
    assert (pipe.tick(61.0), pipe.ended) == (b"", Left())


def test_a_client_that_takes_slowly_is_waited_for() -> None:
    pipe = pipe_of()
    for second in range(0, 1000, 50):
        pipe.pause()
        pipe.tick(float(second))
        pipe.resume()
        pipe.pause()

    assert pipe.ended is None


def test_after_a_pause_the_silence_counts_anew() -> None:
    pipe = pipe_of()
    pipe.pause()
    pipe.tick(0.0)
    pipe.resume()

    assert (pipe.tick(14.0), pipe.tick(28.0)) == (b"", b"")
    assert pipe.tick(29.0)


@every_api
def test_an_answer_that_is_complete_ends_in_the_api_s_own_form(path: str) -> None:
    pipe = pipe_of(path)

    written = pipe.data(END) + pipe.eof()

    assert ENDINGS[path] in written
    assert pipe.ended == Answered("end")


@every_api
@pytest.mark.parametrize("how", ["broke", "cut", "damaged"])
def test_an_answer_that_breaks_off_ends_with_an_error(path: str, how: str) -> None:
    pipe = pipe_of(path)
    match how:
        case "broke":
            written = pipe.broke(CUT)
        case "cut":
            written = pipe.data(text("more")[:-1]) + pipe.eof()
        case _:
            written = pipe.data(b"\0" * 64)

    assert ERRORS[path] in written
    assert ENDINGS[path] not in written
    assert isinstance(pipe.ended, Failed)
    assert (pipe.ended.failure.code, pipe.ended.failure.request_id) == ("KA-CUT", "r-1")


@every_api
def test_a_gateway_that_stops_says_so_to_the_client_and_blames_no_line(path: str) -> None:
    pipe = pipe_of(path)

    written = pipe.stop()

    assert ERRORS[path] in written
    assert b"The gateway was stopped (KA-CUT)." in written
    assert pipe.ended == Stopped()


def test_nothing_is_added_to_a_complete_answer_when_the_gateway_stops() -> None:
    pipe = pipe_of()
    pipe.data(END)
    pipe.eof()

    assert pipe.stop() == b""


def test_a_client_that_left_has_left_though_the_ending_was_ready() -> None:
    pipe = pipe_of()
    pipe.data(END)
    pipe.eof()
    pipe.leave()

    assert pipe.ended == Left()


def test_a_reply_that_was_complete_with_its_first_bytes_has_ended_at_once() -> None:
    reply = reply_to(
        ASKED, SURFACES["/v1/messages"], SENT, context_window=1000, request_id=None, reply_id="ab", created=0
    )
    reply.feed(text("Hello") + END)
    reply.close()

    assert Pipe(reply, patience=PATIENCE).ended == Answered("end")


@given(
    st.lists(st.integers(0, len(text("Grüße, 世界") + END)), max_size=6),
    st.lists(st.integers(0, 40), max_size=7),
)
def test_neither_cuts_nor_pings_nor_pauses_change_what_an_answer_says(
    cuts: list[int], ticks: list[int]
) -> None:
    wire, now, written = text("Grüße, 世界") + END, 0.0, b""
    pipe = Pipe(speaking(SURFACES["/v1/messages"]), patience=1000.0)
    places = [0, *sorted(cuts), len(wire)]
    waits = [*ticks, *[0] * len(places)]
    for start, end, seconds in zip(places, places[1:], waits, strict=False):
        written += pipe.data(wire[start:end])
        pipe.pause()
        pipe.resume()
        now += seconds
        written += pipe.tick(now)
    written += pipe.eof()

    lines = [json.loads(line[6:]) for line in written.splitlines() if line.startswith(b"data: ")]
    assert "".join(line.get("delta", {}).get("text", "") for line in lines) == "Grüße, 世界"
    assert pipe.ended == Answered("end")
