"""Results of tools that stay as a client wrote them reach the service as if they were read and written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth.conversation import Conversation, ToolResult
from kiro_auth.failures import TurnFailed
from kiro_auth.json_values import WrittenText
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload
from kiro_auth.surfaces.anthropic import messages
from kiro_auth.surfaces.anthropic import request as module
from kiro_auth.surfaces.prefixes import LEAST_BYTES, Prefixes
from support.examples import examples
from support.odd_requests import requests

OPTIONS = payload.Options(
    model=resolve("claude-opus-4-6", ()).model, protocol="rpc", origin="KIRO_CLI", profile_arn=None
)
LETTERS = {"metadata": {"user_id": "ü"}}
"""What shows that a client writes letters as letters."""


@pytest.fixture(autouse=True)
def _short_bodies_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_BYTES", 0)


def written(body: dict[str, Any]) -> bytes:
    return json.dumps({**body, **LETTERS}, ensure_ascii=False).encode(errors="surrogatepass")


def escaped(body: dict[str, Any]) -> bytes:
    """The same, of which nothing may stay as it is."""
    return json.dumps({**body, **LETTERS}).encode()


def sent(body: bytes) -> bytes | str:
    """What the service gets, or why it gets nothing."""
    try:
        return payload.build(messages.decode(body, {}), OPTIONS).body
    except TurnFailed as error:
        return error.failure.sentence()


def stay(conversation: Conversation) -> list[str]:
    """The texts that stayed as they were written."""
    blocks = [block for message in conversation.messages for block in message.content]
    results = [block for block in blocks if isinstance(block, ToolResult)]
    return [part.text for result in results for part in result.content if isinstance(part, WrittenText)]


def talk(*results: Any, id_: str = "t0", **more: Any) -> dict[str, Any]:
    """A request with a call, these results of it and a question."""
    use = {"type": "tool_use", "id": "t0", "name": "read", "input": {"path": "/a"}}
    answers = [{"type": "tool_result", "tool_use_id": id_, "content": result} for result in results]
    return {
        "model": "claude-opus-4-6",
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, use]},
            {"role": "user", "content": [{**answer, **more} for answer in answers]},
        ],
    }


texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text('"\\/\n\t\x00\x1b\x7fu0aü€😀')
_thinking = st.builds(
    lambda text: {"type": "thinking", "thinking": text, "signature": "c2ln"}, st.sampled_from(["", "why"])
)
_uses = st.builds(
    lambda id_, text: {"type": "tool_use", "id": id_, "name": "read", "input": {"path": text}},
    st.sampled_from(["t0", "t1", "odd id!", ""]),
    texts,
)
_results = st.builds(
    lambda id_, content, more: {"type": "tool_result", "tool_use_id": id_, "content": content, **more},
    st.sampled_from(["t0", "t1", "odd id!", ""]),
    texts | st.none() | st.lists(st.builds(lambda text: {"type": "text", "text": text}, texts), max_size=2),
    st.sampled_from([{}, {"is_error": True}, {"cache_control": {"type": "ephemeral"}}, {"is_error": None}]),
)
_words = st.builds(lambda text: {"type": "text", "text": text}, texts)
usual = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant"]),
        texts | st.lists(_thinking | _uses | _results | _words, max_size=4),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=examples(300), deadline=None)
@given(usual)
def test_what_is_sent_of_usual_messages_is_the_same_to_the_byte_as_if_all_were_read(
    turns: list[dict[str, Any]],
) -> None:
    body = {"model": "claude-opus-4-6", "messages": turns}

    assert sent(written(body)) == sent(escaped(body))


@settings(max_examples=examples(200), deadline=None)
@given(requests("/v1/messages"))
def test_what_is_sent_of_odd_messages_is_the_same_as_if_all_were_read(body: dict[str, Any]) -> None:
    assert sent(written(body)) == sent(escaped(body))


@settings(max_examples=examples(200), deadline=None)
@given(texts, st.lists(st.booleans(), min_size=1), st.sampled_from(["", " ", "\n\t"]))
def test_however_a_client_escapes_what_stays_means_the_same(text: str, which: list[bool], space: str) -> None:
    def escape(number: int, letter: str) -> str:
        if which[number % len(which)]:
            return "".join(f"\\u{unit:04X}" for unit in units(letter))
        return "\\/" if letter == "/" else json.dumps(letter, ensure_ascii=False)[1:-1]

    mixed = '"' + "".join(escape(number, letter) for number, letter in enumerate(text)) + '"'
    body = written(talk("HERE")).replace(b'"HERE"', f"{space}{mixed}{space}".encode())
    conversation = messages.decode(body, {})

    assert stay(conversation) == ([] if "\\u" in mixed else [text])
    assert json.loads(payload.build(conversation, OPTIONS).body) == json.loads(sent(escaped(talk(text))))


def units(letter: str) -> list[int]:
    """The letter in UTF-16."""
    encoded = letter.encode("utf-16-be")
    return [int.from_bytes(encoded[at : at + 2], "big") for at in range(0, len(encoded), 2)]


def test_a_result_that_fits_no_call_is_sent_as_words() -> None:
    body = talk("What was found: ü", id_="t9")
    body["messages"][1]["content"].pop()

    assert sent(written(body)) == sent(escaped(body))
    assert "What was found: ü".encode() in sent(written(body))  # type: ignore[operator]


@pytest.mark.parametrize("damage", [b"\xff", b"\xed\xa0\x80", b"\xc3", b"\n", rb"\q", rb"\u12", b"\x01"])
def test_a_result_that_is_no_text_is_refused_as_it_is_where_all_is_read(damage: bytes) -> None:
    body = written(talk("some HERE words")).replace(b"HERE", damage)
    usual, other = sent(body), sent(body.replace(b'"role"', b'"x": 1, "role"'))

    assert isinstance(usual, str)
    assert "KA-REQUEST" in usual
    assert _without_place(usual) == _without_place(str(other))


def _without_place(sentence: str) -> str:
    return "".join(letter for letter in sentence if not letter.isdigit())


def test_half_a_character_in_a_result_becomes_the_sign_for_none() -> None:
    body = written(talk("a HERE b")).replace(b"HERE", rb"\ud83d")

    assert sent(body) == sent(escaped(talk("a � b")))


@pytest.mark.parametrize("twice", [b'"content": "first", ', b'"type": "text", ', b'"tool_use_id": "x", '])
def test_of_a_field_that_stands_twice_the_last_counts(twice: bytes) -> None:
    part = b'"type": "tool_result", '
    body = written(talk("HERE ü"))
    body = body.replace(part, twice + part, 1)

    assert sent(body) == sent(body.replace("ü".encode(), rb"\u00fc").replace(b"\xc3\xbc", b""))


def test_texts_of_a_client_that_escapes_its_letters_are_written_as_letters() -> None:
    conversation = messages.decode(json.dumps(talk("ünïcode")).encode(), {})

    assert stay(conversation) == []
    assert "ünïcode".encode() in payload.build(conversation, OPTIONS).body


def test_what_stays_is_no_more_than_a_message_where_a_history_is_kept_for_later_requests() -> None:
    kept, body = Prefixes(lambda: 0.0), talk(*["ü" + "a" * LEAST_BYTES] * 2)
    once = messages.decode(written(body), {}, kept)
    for _ in range(3):
        again = messages.decode(written(body), {}, kept)

    assert len(stay(once)) == len(stay(again)) == 2
    assert payload.build(again, OPTIONS).body == payload.build(once, OPTIONS).body
    assert 2 * LEAST_BYTES < kept.size < 2.5 * LEAST_BYTES
