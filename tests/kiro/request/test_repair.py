"""Any list of messages becomes a valid history, and no word of it is lost."""

import copy
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import (
    Image,
    Message,
    Reasoning,
    RedactedReasoning,
    Text,
    ToolCall,
    ToolResult,
)
from kiro_auth.kiro.request.repair import CONTINUE, FILLER, GO_ON, NOT_RUN, mended_from, repaired
from kiro_auth.kiro.request.validity import valid_beginning

ids = st.sampled_from(["t1", "t2", "t3", "odd id!", ""])  # few, so that orphans and repeats happen
texts = st.builds(Text, st.text(max_size=6))
images = st.just(Image("png", "iVBORw0KGgo="))
blocks = st.one_of(
    texts,
    images,
    st.builds(Reasoning, st.just("why"), st.sampled_from(["", "sig"])),
    st.just(RedactedReasoning("cmVk")),
    st.builds(ToolCall, ids, st.sampled_from(["read", "write"]), st.just({})),
    st.builds(ToolResult, ids, st.lists(texts | images, max_size=2).map(tuple), st.booleans()),
)
roles = st.sampled_from(["user", "assistant", "system"])
histories = st.lists(st.builds(Message, roles, st.lists(blocks, max_size=4).map(tuple)), max_size=8)


def user(*content):
    return Message("user", tuple(Text(c) if isinstance(c, str) else c for c in content))


def assistant(*content):
    return Message("assistant", tuple(Text(c) if isinstance(c, str) else c for c in content))


def call(id_="t1"):
    return ToolCall(id_, "read", {})


def result(id_="t1", text="found"):
    return ToolResult(id_, (Text(text),))


def of(kind, message):
    return [block for block in message.content if isinstance(block, kind)]


def pairs(turns):
    """The name of each call that was answered, and the words of its result."""
    names = {block.id: block.name for turn in turns for block in of(ToolCall, turn)}
    results = (block for turn in turns for block in of(ToolResult, turn))
    return [(names[block.call_id], block.content[0].text) for block in results]


def words(messages):
    """Every text, in turns and in results."""
    for message in messages:
        for block in message.content:
            inner = block.content if isinstance(block, ToolResult) else (block,)
            yield from (part.text for part in inner if isinstance(part, Text))


def pictures(messages):
    return sum(
        isinstance(part, Image)
        for message in messages
        for block in message.content
        for part in (block.content if isinstance(block, ToolResult) else (block,))
    )


# -------------------------------------------------------------------------------------------- laws


@given(histories, histories)
def test_what_stands_as_it_is_is_what_mending_all_would_leave_alone(history, more):
    beginning, _ = mended_from(0, history, ())
    for each in (history, beginning, (*beginning[:-1], *more), (*beginning, *more)):
        assert repaired(each) == mended_from(0, each, ())
        stands = valid_beginning(each)[0]
        assert (stands == len(each) > 0) == (repaired(each) == (tuple(each), ()))
    assert valid_beginning((*beginning, *more))[0] >= len(beginning) - 2  # the last may be joined with more


@given(histories)
def test_turns_alternate_from_user_to_user(history):
    turns, _ = repaired(history)
    assert [turn.role for turn in turns] == ["user", *["assistant", "user"] * (len(turns) // 2)]
    assert not of(ToolResult, turns[0])


@given(histories)
def test_every_call_is_answered_in_the_next_turn_and_nothing_else_is(history):
    turns, _ = repaired(history)
    for before, after in itertools.pairwise(turns):
        if before.role == "assistant":
            asked = [block.id for block in of(ToolCall, before)]
            assert [block.call_id for block in of(ToolResult, after)] == asked


@given(histories)
def test_ids_are_legal_and_stand_once(history):
    turns, _ = repaired(history)
    asked = [block.id for turn in turns for block in of(ToolCall, turn)]
    assert len(set(asked)) == len(asked)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", id_) for id_ in asked)


@given(histories)
def test_no_turn_is_empty(history):
    for turn in repaired(history)[0]:
        said = any(text.text.strip() for text in of(Text, turn))
        assert said or of(ToolResult if turn.role == "user" else ToolCall, turn)


@given(histories)
def test_blocks_stand_on_their_own_side(history):
    for turn in repaired(history)[0]:
        foreign = (ToolCall, Reasoning, RedactedReasoning) if turn.role == "user" else (ToolResult, Image)
        assert not of(foreign, turn)


@given(histories)
def test_no_word_and_no_picture_is_lost(history):
    """Neither in turns nor in results, whatever became of the result."""
    turns, _ = repaired(history)
    left = list(words(turns))
    for text in words(history):
        if text.strip():
            left.remove(text)
    assert pictures(turns) == pictures(history)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=3), max_size=4), st.data())
def test_results_are_those_of_the_calls_before_them_whichever_lost_its_id(rounds, data):
    """However many of the calls of a turn, or of the results after it, have no id: each call has its own."""
    history, number = [user("a")], itertools.count()
    for kept in rounds:
        own = [str(next(number)) for _ in kept]
        with_gaps = [id_ if has else "" for id_, has in zip(own, kept, strict=True)]
        of_calls, of_results = data.draw(st.permutations([own, with_gaps]))
        calls = [ToolCall(id_, f"tool{n}", {}) for id_, n in zip(of_calls, own, strict=True)]
        results = [result(id_, f"of{n}") for id_, n in zip(of_results, own, strict=True)]
        history += [assistant(*calls), user(*results)]

    turns, _ = repaired(history)

    assert pairs(turns) == [(f"tool{n}", f"of{n}") for n in range(sum(map(len, rounds)))]


@given(histories)
def test_repairing_twice_changes_nothing(history):
    once, _ = repaired(history)
    assert repaired(once) == (once, ())


@given(histories)
def test_the_input_is_left_alone_and_the_answer_is_always_the_same(history):
    before = copy.deepcopy(history)
    assert repaired(history) == repaired(history)
    assert history == before


# ------------------------------------------------------------------------------------------- facts

ERROR = ToolResult("t1", (Text(NOT_RUN),), is_error=True)


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        pytest.param([], [user(FILLER)], id="nothing"),
        pytest.param([user("a")], [user("a")], id="one turn"),
        pytest.param([user("a"), user("b")], [user("a", "b")], id="neighbours"),
        pytest.param(
            [assistant("a"), user("b")], [user(FILLER), assistant("a"), user("b")], id="leading assistant"
        ),
        pytest.param([user("a"), assistant("b")], [user("a"), assistant("b"), user(GO_ON)], id="prefill"),
        pytest.param(
            [user("a"), assistant(Reasoning("r", "s"))],
            [user("a"), assistant(Reasoning("r", "s"), FILLER), user(CONTINUE)],
            id="reasoning at the end",
        ),
        pytest.param([user("a"), assistant(""), user("b")], [user("a", "b")], id="empty turn"),
        pytest.param(
            [user("a"), Message("system", (Text("s"),)), assistant("b"), user("c")],
            [user("a", "s"), assistant("b"), user("c")],
            id="instruction between turns",
        ),
        pytest.param(
            [user("a"), assistant(call()), user("b")],
            [user("a"), assistant(call()), user(ERROR, "b")],
            id="unanswered call",
        ),
        pytest.param(
            [user("a"), assistant(call())],
            [user("a"), assistant(call()), user(ERROR)],
            id="unanswered call at the end",
        ),
        pytest.param(
            [user("a"), assistant(call()), user("b"), assistant("c"), user(result(), "d")],
            [user("a"), assistant(call()), user(result(), "b"), assistant("c"), user("d")],
            id="late result",
        ),
        pytest.param(
            [user("a"), assistant(call("t1"), call("t2")), user(result("t2")), user(result("t1"))],
            [user("a"), assistant(call("t1"), call("t2")), user(result("t1"), result("t2"))],
            id="results in two turns",
        ),
        pytest.param(
            [user(result(text="kept"), "a")],
            [user("Result of an earlier tool call (t1):", "kept", "a")],
            id="result of a call that was cut away",
        ),
        pytest.param(
            [user("a"), assistant(call()), user(result(text="one"), result(text="two"))],
            [
                user("a"),
                assistant(call()),
                user(result(text="one"), "Result of an earlier tool call (t1):", "two"),
            ],
            id="second result of one call",
        ),
        pytest.param(
            [user("a"), assistant(call(), call()), user(result())],
            [user("a"), assistant(call()), user(result())],
            id="one id twice in a turn",
        ),
        pytest.param(
            [user("a"), assistant(Reasoning("r", "s")), user("b")],
            [user("a"), assistant(Reasoning("r", "s"), FILLER), user("b")],
            id="reasoning alone",
        ),
    ],
)
def test_each_deviation_is_mended_in_the_least_way(given_, wanted):
    turns, repairs = repaired(given_)
    assert list(turns) == wanted
    assert bool(repairs) == (given_ != wanted)


def test_a_valid_history_is_not_touched():
    history = (user("a"), assistant("b", call()), user(result()), assistant("c"), user("d"))
    assert repaired(history) == (history, ())


def test_clients_may_count_their_calls_anew_in_each_turn():
    """Each result stays with the call of its own turn."""
    turns, _ = repaired(
        [user("a"), assistant(call()), user(result(text="one")), assistant(call()), user(result(text="two"))]
    )
    [first], [second] = of(ToolResult, turns[2]), of(ToolResult, turns[4])
    assert (first.content, second.content) == ((Text("one"),), (Text("two"),))
    assert first.call_id != second.call_id


def test_an_odd_id_is_cleaned_alike_in_call_and_result():
    turns, _ = repaired([user("a"), assistant(call("x y/z")), user(result("x y/z"))])
    assert of(ToolResult, turns[2])[0].content == (Text("found"),)


def test_a_repair_says_what_where_and_why():
    _, [repair] = repaired([user("a"), assistant(call()), user("b")])
    assert (repair.what, repair.where, repair.why) == (
        "a call was answered as not run",
        "messages.2",
        "nobody answered it",
    )


def test_two_calls_of_one_id_in_a_turn_are_two_and_one_that_stands_twice_is_one():
    write = ToolCall("t1", "write", {})
    results = [result(text="r"), result(text="w")]

    turns, _ = repaired([user("a"), assistant(call(), call(), write), user(*results)])

    assert pairs(turns) == [("read", "r"), ("write", "w")]


def test_a_result_without_an_id_is_of_the_turn_before_it_whoever_was_never_answered():
    turns, _ = repaired(
        [
            user("a"),
            assistant(call("")),
            user("b"),
            assistant(ToolCall("", "write", {})),
            user(result("", "w")),
        ]
    )

    assert pairs(turns) == [("read", NOT_RUN), ("write", "w")]


def test_a_late_result_without_an_id_is_of_the_call_that_still_waits():
    turns, _ = repaired([user("a"), assistant(call("")), user("b"), assistant("c"), user(result("", "late"))])

    assert pairs(turns) == [("read", "late")]
