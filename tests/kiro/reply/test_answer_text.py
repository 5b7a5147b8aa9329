"""What does not belong to an answer is taken out, wherever its text is cut: fences, words said twice."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kiro_auth.kiro.reply.answer_text import AnswerFilter, Expected

JSON = Expected(fence=True)


def said(expected: Expected, pieces: Iterable[str]) -> str:
    """The answer, once its text has ended."""
    source = AnswerFilter(expected)
    parts = [*itertools.chain.from_iterable(map(source.feed, pieces)), *source.close()]
    assert all(text and not is_reasoning for is_reasoning, text in parts)
    return "".join(text for _, text in parts)


def cuts(text: str) -> Iterable[list[str]]:
    """The text in one, in two at every place, and in letters."""
    yield from ([text[:place], text[place:]] for place in range(len(text) + 1))
    yield list(text)


FENCED = [
    pytest.param('```json\n{"a": 1}\n```', '{"a": 1}', id="as models do it"),
    pytest.param("```\n[1]\n```\n", "[1]", id="without a word, with a line at the end"),
    pytest.param('```JSON {"a": 1}```', '{"a": 1}', id="in one line"),
    pytest.param("\n ```json\n\n{}\n\n``` \n\n", "{}", id="in white space"),
    pytest.param('```json\n{"a": 1,\n "b": 2}\n```', '{"a": 1,\n "b": 2}', id="of several lines"),
    pytest.param('```json\n{"a": "```js\\n```"}\n```', '{"a": "```js\\n```"}', id="around a fence in a text"),
    pytest.param('```json\n{"a": "`"}`\n``', '{"a": "`"}`\n``', id="that is not whole at the end"),
    pytest.param("```json\n{}\n```\nThat is all.", "{}\nThat is all.", id="with words after it"),
    pytest.param('```json\n{"a": ', '{"a":', id="around an answer that was cut"),
]
PLAIN = [
    *('{"a": "```"}', "[1]  \n", "", " ", "``", "```json", "```json\n", "words", "```json\nwords\n```"),
    *("```python\n{}\n```", "Here it is:\n```json\n{}\n```", "`{}`", "``````{}", "{}\n```\n"),
]


@pytest.mark.parametrize(("answer", "inside"), FENCED)
def test_a_fence_around_json_is_taken_off_wherever_it_is_cut(answer: str, inside: str) -> None:
    for pieces in cuts(answer):
        assert said(JSON, pieces) == inside


@pytest.mark.parametrize("answer", PLAIN)
def test_all_else_stays_as_it_is(answer: str) -> None:
    for pieces in cuts(answer):
        assert said(JSON, pieces) == answer


def test_where_no_json_was_asked_for_a_fence_stays() -> None:
    assert said(Expected(stops=("END",)), ['```json\n{"a": 1}\n```']) == '```json\n{"a": 1}\n```'


documents: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text("a`\n{}\\ "),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a`\n"), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, list | dict))


@given(documents, st.sampled_from([None, 1]), st.sampled_from(["```json\n", "```\n", "```"]), st.data())
def test_any_json_in_a_fence_is_read_as_what_it_is(
    value: Any, indent: int | None, fence: str, data: st.DataObject
) -> None:
    written = f"{fence}{json.dumps(value, indent=indent)}\n```"
    places = sorted(data.draw(st.lists(st.integers(0, len(written)), max_size=6)))

    pieces = [written[a:b] for a, b in itertools.pairwise([0, *places, len(written)])]

    assert json.loads(said(JSON, pieces)) == value


@given(st.text("`json{}[]\n x", max_size=40))
@example("```json{\n```\n\n``` x")
def test_any_text_is_the_same_however_it_is_cut(text: str) -> None:
    for expected in (JSON, Expected(fence=True, prefill="{", stops=("x",))):
        assert said(expected, text) == said(expected, [text])


@pytest.mark.parametrize("flood", [" ", "\n", "`", "```", "{\n ", "```json\n{ \n"])
def test_no_more_than_a_little_is_ever_held_back(flood: str) -> None:
    source = AnswerFilter(Expected(fence=True, prefill="{ {"))
    fed = given_ = 0
    for piece in [flood] * 500:
        fed += len(piece)
        given_ += sum(len(text) for _, text in source.feed(piece))
        assert fed - given_ < 250


# --------------------------------------------------------------------------- words that were begun

BEGUN = [
    pytest.param("The sky is", " blue.", " blue.", id="gone on from"),
    pytest.param("The sky is", "The sky is blue.", " blue.", id="said again"),
    pytest.param("The sky is", "\nThe  sky\nis blue.", " blue.", id="said again in other white space"),
    pytest.param("The sky is", "The sky was blue.", "The sky was blue.", id="said otherwise"),
    pytest.param("The sky is", "The sky", "The sky", id="said again in part"),
    pytest.param("{", '"a": 1}', '"a": 1}', id="one letter"),
    pytest.param("{", '{"a": 1}', '"a": 1}', id="one letter again"),
]


@pytest.mark.parametrize(("begun", "answer", "rest"), BEGUN)
def test_words_that_the_client_has_are_not_said_again(begun: str, answer: str, rest: str) -> None:
    for pieces in cuts(answer):
        assert said(Expected(prefill=begun), pieces) == rest


@given(st.text("ab \n", min_size=1, max_size=12), st.text("ab \n", max_size=12))
def test_of_words_said_again_the_rest_is_left(begun: str, rest: str) -> None:
    if begun.strip():
        assert said(Expected(prefill=begun), begun.rstrip() + rest) == rest


def test_json_that_was_begun_goes_on_though_it_is_said_again_in_a_fence() -> None:
    for pieces in cuts('```json\n{"a": 1}\n```'):
        assert said(Expected(fence=True, prefill="{"), pieces) == '"a": 1}'
