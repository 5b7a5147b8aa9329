"""A history that comes again is not read again, and what is made of a request is the same as without that."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth.conversation import Block, Conversation
from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.surfaces import prefixes as module
from kiro_auth.surfaces.prefixes import IDLE_SECONDS, MOST_HISTORIES, Prefixes
from support.counting import calls
from support.examples import examples
from support.odd_requests import PATHS, requests

FIELDS = {"/v1/messages": "messages", "/v1/chat/completions": "messages", "/v1/responses": "input"}
WORDS = "def f(x): return x\n" * 300


def still() -> float:
    """A clock on which nothing rests for long."""
    return 0.0


def body(path: str, entries: Any, **more: Any) -> bytes:
    """A request with this history; what `more` there is stands behind it."""
    return json.dumps({"model": "claude-sonnet-4-5", FIELDS[path]: entries, **more}).encode()


def said(count: int, *, words: str = WORDS) -> list[dict[str, Any]]:
    """A talk of so many messages of some KB each."""
    return [
        {"role": ("user", "assistant")[number % 2], "content": f"{number}: {words}"}
        for number in range(count)
    ]


def outcome(decode: Callable[[], Conversation]) -> Conversation | str:
    """The conversation, or why there is none."""
    try:
        return decode()
    except TurnFailed as error:
        return error.failure.sentence()


def seen(path: str, given: bytes, kept: Prefixes) -> Conversation:
    """What is read of a request that comes twice, as what begins for the first time is not kept."""
    for _ in range(2):
        conversation = SURFACES[path].decode(given, {}, kept)
    return conversation


def blocks(conversation: Conversation) -> list[Block]:
    return [block for message in conversation.messages for block in message.content]


def holds_the_same(path: str, bodies: Sequence[bytes], kept: Prefixes) -> None:
    """Each of the bodies is read with what is kept of those before as it is without."""
    for each in bodies:
        with_them = outcome(lambda each=each: SURFACES[path].decode(each, {}, kept))  # type: ignore[misc]
        without = outcome(lambda each=each: SURFACES[path].decode(each, {}))  # type: ignore[misc]
        assert with_them == without


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_a_request_is_the_same_whatever_came_before_it(path: str, data: st.DataObject) -> None:
    made: dict[str, Any] = data.draw(requests(path))
    other: dict[str, Any] = data.draw(requests(path))
    field = FIELDS[path]
    turns = []
    for number in (1, 2, 3):
        entries = made.get(field)
        part = entries[: number * len(entries) // 3] if isinstance(entries, list) else entries
        turns.append({**made, field: part})
    mixed = {**made, field: [*_list(made.get(field)), *_list(other.get(field))]}
    spaced = data.draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n ", " :\t")]))
    bodies = [json.dumps(each, separators=spaced).encode() for each in (*turns, other, mixed, made, other)]
    bodies = [each for each in bodies for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LEAST_BYTES", 0)
        kept = Prefixes(still)
        holds_the_same(path, bodies, kept)


def _list(entries: Any) -> list[Any]:
    return entries if isinstance(entries, list) else []


ODD = (
    b'{"metadata": {"messages": [%b]}, "model": "m", "messages": []}',
    b'{"metadata": {"messages": [%b]}, "model": "m"}',
    b'{"model": "m", "messages": [%b], "messages": [{"role": "user", "content": "second"}]}',
    b'{"metadata": {"messages": [%b]}, "model": "m", "messages": [%b]}',
    b'{"model": "m", "messages": [%b], "mess\\u0061ges": [%b, {"role": "user", "content": "third"}]}',
    b'{"model": "m", "messages": [ %b\n,  {"role": "user", "content": "after spaces"} ] }',
    b'{"model": "m", "messages": [%b, {"role": "user", "content": "half \\ud83d of a character"}]}',
    b'{"model": "m", "messages": [%b, {"role": "user", "content": "\xff"}]}',
    b'{"model": "m", "messages": [%b, {"role": "nobody"}]}',
    b'{"model": "m", "messages": [%b, 5, "words", {"role": "system", "content": "Be brief."}]}',
    b'{"model": "m", "messages": [%b, ',
    b'{"model": "m", "messages": [%b}',
    b'{"model": "m", "messages": "none", "metadata": {"messages": [%b]}}',
    b'{"model": "m", "messages": null}',
)
"""What is no history that goes on, though it begins like one."""


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_bytes_that_only_look_like_a_known_history_are_read_as_what_they_are(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST_BYTES", 0)
    known = b'{"role": "user", "content": "first"}'
    plain = b'{"model": "m", "messages": [%b]}' % known
    odd = [text.replace(b"%b", known) for text in ODD]
    for each in odd:
        kept = Prefixes(still)
        holds_the_same(path, [plain, plain, each, plain, each, each, *odd, *odd], kept)


@pytest.mark.parametrize("path", PATHS)
def test_what_was_read_before_is_not_read_again(path: str) -> None:
    kept, decode = Prefixes(still), SURFACES[path].decode
    before, now = body(path, said(101)), body(path, said(103))
    first = seen(path, before, kept)
    without = calls(lambda: decode(now, {}))

    cost = calls(lambda: decode(now, {}, kept))

    assert cost < 0.6 * without
    assert blocks(decode(now, {}, kept))[0] is blocks(first)[0]


@pytest.mark.parametrize("path", PATHS)
def test_two_conversations_with_one_beginning_are_kept_beside_each_other(path: str) -> None:
    kept, decode = Prefixes(still), SURFACES[path].decode
    start = said(20)
    one, other = [*start[:5], *said(30, words="one" * 500)], [*start[:5], *said(30, words="two" * 500)]
    first = [seen(path, body(path, entries), kept) for entries in (one, other)]

    again = [decode(body(path, entries), {}, kept) for entries in (one, other)]

    assert again == first
    for before, now in zip(first, again, strict=True):
        assert all(a is b for a, b in zip(blocks(before), blocks(now), strict=True))


@pytest.mark.parametrize("path", PATHS)
def test_a_history_that_begins_for_the_first_time_costs_nothing_more_than_to_read_it(path: str) -> None:
    kept, decode = Prefixes(still), SURFACES[path].decode
    new = [body(path, said(200, words=f"{number}{WORDS}")) for number in range(3)]
    without = calls(lambda: decode(new[0], {}))

    for each in new:
        assert calls(lambda each=each: decode(each, {}, kept)) < without + 20  # type: ignore[misc]

    assert kept.size == 0


def test_no_more_beginnings_are_remembered_than_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SEEN", 2)
    kept = Prefixes(still)
    first, *others = [body("/v1/messages", said(12, words=f"{number}" * 6000)) for number in range(3)]
    for each in (first, *others, first):
        SURFACES["/v1/messages"].decode(each, {}, kept)
    assert kept.size == 0

    SURFACES["/v1/messages"].decode(others[1], {}, kept)

    assert kept.size > 0


def test_a_small_request_is_not_kept() -> None:
    kept = Prefixes(still)
    seen("/v1/messages", body("/v1/messages", said(3)), kept)

    assert kept.size == 0


def test_memory_has_a_bound_and_is_about_two_bytes_for_each_of_a_history() -> None:
    path, most = "/v1/messages", 1_000_000
    kept = Prefixes(still, most=most)
    sizes = []
    for number in range(10):
        seen(path, body(path, said(30, words=str(number) * 6000)), kept)
        sizes.append(kept.size)
    assert 0.5 * most < max(sizes) <= most

    large = body(path, said(150))
    assert len(large) < most < 2 * len(large)
    seen(path, large, kept)  # larger than all that may be kept: its beginning is
    assert 0.9 * most < kept.size <= most
    holds_the_same(path, [large, large], kept)

    kept, text = Prefixes(still), body(path, said(100))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    seen(path, text, kept)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken < 2.1 * len(text)
    assert taken == pytest.approx(kept.size, rel=0.1)


@pytest.mark.parametrize(("result", "words", "times"), [("ü", 4 * WORDS, 2.1), (4 * WORDS + "ü", "and", 1.1)])
def test_the_bytes_of_messages_that_stay_in_part_as_they_are_written_are_kept_and_counted_once(
    result: str, words: str, times: float
) -> None:
    answer = {"type": "tool_result", "tool_use_id": "t1", "content": result}
    call = {"type": "tool_use", "id": "t1", "name": "read", "input": {}}
    turn = [
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [answer, {"type": "text", "text": words}]},
    ]
    history = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "ü"}, *turn * 20]}
    kept, text = Prefixes(still), json.dumps(history, ensure_ascii=False).encode()
    seen("/v1/messages", text, Prefixes(still))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    seen("/v1/messages", text, kept)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert taken < times * len(text)
    assert taken == pytest.approx(kept.size, rel=0.1)


def test_texts_that_take_more_memory_than_bytes_are_counted_as_what_they_take() -> None:
    kept = Prefixes(still)
    text = body("/v1/messages", said(20, words="x" * 5000 + "\N{GRINNING FACE}"))
    seen("/v1/messages", text, kept)

    assert kept.size > 4.5 * len(text)


def test_histories_are_forgotten_when_there_are_many_and_when_they_rest() -> None:
    now = 0.0
    kept = Prefixes(lambda: now)
    for number in range(MOST_HISTORIES + 5):
        seen("/v1/messages", body("/v1/messages", said(12, words=f"{number:02}" * 3000)), kept)
    assert len(kept._kept) == MOST_HISTORIES

    now = IDLE_SECONDS
    kept.forget_idle()
    assert kept.size > 0
    now = IDLE_SECONDS + 1
    kept.forget_idle()

    assert kept.size == 0
