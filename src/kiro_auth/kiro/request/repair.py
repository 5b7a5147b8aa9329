"""Make any list of messages a history that the service accepts, losing no word and no tool result.

The service wants strict turns: the user begins and ends, both sides alternate, every tool call is answered
in the next turn and nothing else is answered, and no turn is empty.  Each deviation is mended in the way
that changes least, and listed.  The input is not changed; mending twice changes nothing.

The rules have names in the vendor's own agent, as a third party read them there (2026):
STARTS_WITH_USER_MESSAGE, ENDS_WITH_USER_MESSAGE, ALTERNATING_MESSAGES, TOOL_USES_AND_RESULTS,
TOOL_RESULTS_AND_NO_USES, TOOL_RESULTS_ORPHAN_IDS, NON_EMPTY_USER_MESSAGE.  The service answers a breach with
"Improperly formed request." or TOOL_USE_RESULT_MISMATCH, as many independent clients report.  One of them
finds that turns need not alternate; the strict form is taken everywhere.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from kiro_auth.conversation import (
    Block,
    Document,
    Image,
    Message,
    Reasoning,
    RedactedReasoning,
    Text,
    ToolCall,
    ToolResult,
)
from kiro_auth.json_values import WrittenText
from kiro_auth.kiro.request.validity import LEGAL_ID, has_words, valid_beginning

FILLER: Final = "."
"""The least a turn may say."""
CONTINUE: Final = "Continue."
"""The least that asks for more after an assistant's turn without words."""
GO_ON: Final = (
    "Go on exactly where your last message stops: begin with the very next character, repeat nothing of it, "
    "and say nothing about this."
)
"""What asks for the rest of an assistant's words; the APIs mean that by such a message at the end.

It does not say that they are unfinished: OpenCode 1.x puts there what the model is to do in its last step.
"""
NOT_RUN: Final = "The call was not run."

Side = Literal["user", "assistant"]


class Repair(Struct, frozen=True):
    """One change: what was done, where (`messages.3`), and why."""

    what: str
    where: str
    why: str


class _Turn(Struct):
    side: Side
    where: str
    blocks: list[Block] = field(default_factory=list)
    answers: list[_Answer] = field(default_factory=list)


class _Answer(Struct):
    """What stands for a call's result until one is found, and the turn it belongs to.

    `asked` is the id that the client gave to the call, if it gave one.
    """

    asked: str
    result: ToolResult
    home: _Turn
    open: bool = True


def repaired(messages: Sequence[Message]) -> tuple[tuple[Message, ...], tuple[Repair, ...]]:
    """Valid turns in their order, and what was changed.

    In the result, a user's turn begins with tool results, in the order of their calls; an assistant's begins
    with reasoning and ends with calls.
    """
    stand, ids = valid_beginning(messages)  # nearly all: to see that is a tenth of the work of mending it
    if stand == len(messages) > 0:
        return tuple(messages), ()
    mended, repairs = mended_from(stand, messages, ids)
    return (*messages[:stand], *mended), repairs


def mended_from(
    start: int, messages: Sequence[Message], ids: Iterable[str]
) -> tuple[tuple[Message, ...], tuple[Repair, ...]]:
    """The valid turns from this message on; those before it are valid and have calls with these ids."""
    repairs: list[Repair] = []
    turns = _joined(_turns(start, messages[start:], repairs), repairs)
    _pair(turns, set(ids), repairs)
    turns = _joined((turn for turn in turns if turn.blocks), repairs)
    if not start:
        _begin_with_user(turns, repairs)
    _end_with_user(turns, repairs)
    return tuple(Message(turn.side, tuple(_ordered(turn, repairs))) for turn in turns), tuple(repairs)


# ------------------------------------------------------------------------------------------- turns


def _turns(start: int, messages: Iterable[Message], repairs: list[Repair]) -> Iterator[_Turn]:
    """Every message as one turn, or several when it holds blocks of the other side."""
    for number, message in enumerate(messages, start):
        where = f"messages.{number}"
        if message.role == "system":
            repairs.append(Repair("an instruction between turns became user text", where, "no such role"))
        own: Side = "assistant" if message.role == "assistant" else "user"
        turn = _Turn(own, where)
        for block in message.content:
            if _is_blank(block):
                continue
            side = _SIDES.get(type(block), own)
            if side != turn.side:
                repairs.append(Repair("a block moved to the other side", where, "wrong role for its kind"))
                yield turn
                turn = _Turn(side, where)
            turn.blocks.append(_with_clean_id(block))
        yield turn


_SIDES: Final[Mapping[type[Block], Side]] = {
    ToolCall: "assistant",
    Reasoning: "assistant",
    RedactedReasoning: "assistant",
    ToolResult: "user",
    Image: "user",
    Document: "user",
}
"""Whose the blocks are that only one side has."""


def _with_clean_id(block: Block) -> Block:
    if isinstance(block, ToolCall):
        clean = not block.id or LEGAL_ID.fullmatch(block.id)
        return block if clean else replace(block, id=_clean_id(block.id))
    if isinstance(block, ToolResult):
        clean = not block.call_id or LEGAL_ID.fullmatch(block.call_id)
        return block if clean else replace(block, call_id=_clean_id(block.call_id))
    return block


def _clean_id(id_: str) -> str:
    """The same legal id for the same odd one, so that calls and results still find each other."""
    return "call_" + hashlib.sha256(id_.encode(errors="surrogatepass")).hexdigest()[:24]


def _joined(turns: Iterable[_Turn], repairs: list[Repair]) -> list[_Turn]:
    joined: list[_Turn] = []
    for turn in turns:
        if joined and joined[-1].side == turn.side:
            if joined[-1].blocks and turn.blocks:
                repairs.append(Repair("two turns of one side were joined", turn.where, "turns alternate"))
            joined[-1].blocks += turn.blocks
        else:
            joined.append(turn)
    return joined


# ------------------------------------------------------------------------------- calls and results


class _Waiting:
    """The calls that wait for their results, oldest first: all of them, and those of the last turn."""

    def __init__(self) -> None:
        self._by_id: dict[str, deque[_Answer]] = {}  # of the last turn that has a call of the id
        self._all: deque[_Answer] = deque()
        self._nameless: deque[_Answer] = deque()
        self._last: deque[_Answer] = deque()
        self._last_nameless: deque[_Answer] = deque()

    def add(self, answers: Iterable[_Answer]) -> None:
        """The calls of one more turn."""
        by_id: dict[str, deque[_Answer]] = {}
        for answer in answers:
            by_id.setdefault(answer.asked, deque()).append(answer)
        self._last, self._last_nameless = deque(answers), by_id.pop("", deque())
        self._all += self._last
        self._nameless += self._last_nameless
        self._by_id |= by_id

    def of_id(self, id_: str) -> _Answer | None:
        """The first that waits for this id."""
        waiting = self._by_id.get(id_)
        return None if waiting is None else _first_open(waiting)

    def fitting(self, id_: str) -> _Answer | None:
        """The first that may be meant, of the last turn if it has one.

        A result without an id may be of any call, one whose id no call has of a call without.
        """
        if id_:
            return _first_open(self._last_nameless) or _first_open(self._nameless)
        return _first_open(self._last) or _first_open(self._all)


def _first_open(answers: deque[_Answer]) -> _Answer | None:
    while answers and not answers[0].open:
        answers.popleft()
    return answers[0] if answers else None


def _pair(turns: list[_Turn], seen: set[str], repairs: list[Repair]) -> None:
    """Bring every result into the turn after its call; answer calls that nobody answered.

    `seen` are the ids that calls have by now.
    """
    if turns and turns[-1].side == "assistant":
        turns.append(_Turn("user", turns[-1].where))
    waiting = _Waiting()
    for turn, following in itertools.zip_longest(turns, turns[1:]):
        if turn.side == "assistant":
            following.answers = _expect(turn, following, seen, repairs)
            waiting.add(following.answers)
        else:
            _hand_out(turn, waiting, repairs)
    for turn in turns:
        turn.blocks[:0] = [answer.result for answer in turn.answers]
        if any(answer.open for answer in turn.answers):
            repairs.append(Repair("a call was answered as not run", turn.where, "nobody answered it"))


def _expect(turn: _Turn, following: _Turn, seen: set[str], repairs: list[Repair]) -> list[_Answer]:
    """What the next turn has to answer.

    A call that stands twice in one turn, with one id, is dropped; one without an id, or with that of another
    call, gets an id of its own.
    """
    expected: list[_Answer] = []
    calls: dict[str, ToolCall] = {}
    kept: list[Block] = []
    for block in turn.blocks:
        if not isinstance(block, ToolCall):
            kept.append(block)
            continue
        if block.id and block == calls.get(block.id):
            repairs.append(Repair("a call was dropped", turn.where, "it stands twice"))
            continue
        calls.setdefault(block.id, block)
        id_ = block.id
        if not id_ or id_ in seen:
            id_ = _clean_id(f"{len(seen)} {id_}")
            repairs.append(Repair("a call got another id", turn.where, "it has none of its own"))
        seen.add(id_)
        kept.append(block if id_ == block.id else replace(block, id=id_))
        not_run = ToolResult(id_, (Text(NOT_RUN),), is_error=True)
        expected.append(_Answer(block.id, not_run, following))
    turn.blocks = kept
    return expected


def _hand_out(turn: _Turn, waiting: _Waiting, repairs: list[Repair]) -> None:
    """Hand the results of a turn to the calls that wait for them: first those whose id is known.

    One that fits no call becomes text: it may be all that is left of something that happened.
    """
    left = {n: block for n, block in enumerate(turn.blocks) if isinstance(block, ToolResult)}
    if not left:
        return
    for find in (waiting.of_id, waiting.fitting):
        left = {
            n: block for n, block in left.items() if not _handed(block, find(block.call_id), turn, repairs)
        }
    turn.blocks = list(_without_results(turn, left, repairs))


def _handed(block: ToolResult, answer: _Answer | None, turn: _Turn, repairs: list[Repair]) -> bool:
    """Whether there is a call for the result, which then has it."""
    if answer is None:
        return False
    if answer.home is not turn:
        repairs.append(Repair("a tool result moved behind its call", turn.where, "it came late"))
    if answer.asked != block.call_id or not answer.asked:
        repairs.append(Repair("a tool result was given to a call", turn.where, "its place says so"))
    id_ = answer.result.call_id
    answer.result = block if id_ == block.call_id else replace(block, call_id=id_)
    answer.open = False
    return True


def _without_results(turn: _Turn, over: Collection[int], repairs: list[Repair]) -> Iterator[Block]:
    """The other blocks of a turn, with the results that are left over as text in their places."""
    for number, block in enumerate(turn.blocks):
        if not isinstance(block, ToolResult):
            yield block
        elif number in over:
            repairs.append(Repair("a tool result became text", turn.where, "it fits no open call"))
            yield from _as_text(block)


def _as_text(result: ToolResult) -> Iterator[Block]:
    named = f" ({result.call_id})" if result.call_id else ""
    yield Text(f"Result of an earlier tool call{named}:")
    for block in result.content:
        words = Text(block.text) if isinstance(block, WrittenText) else block
        if not _is_blank(words):
            yield words


def _is_blank(block: Block) -> bool:
    return isinstance(block, Text) and not has_words(block.text)


# --------------------------------------------------------------------------------------- the edges


def _begin_with_user(turns: list[_Turn], repairs: list[Repair]) -> None:
    if turns and turns[0].side == "assistant":
        turns.insert(0, _Turn("user", "messages.0", [Text(FILLER)]))
        repairs.append(Repair("a user's turn was put first", "messages.0", "the user begins"))


def _end_with_user(turns: list[_Turn], repairs: list[Repair]) -> None:
    if not turns or turns[-1].side == "assistant":
        unfinished = any(isinstance(block, Text) for block in turns[-1].blocks) if turns else False
        words = GO_ON if unfinished else CONTINUE if turns else FILLER
        turns.append(_Turn("user", "messages", [Text(words)]))
        repairs.append(Repair("a user's turn was put last", "messages", "the user ends"))


def _ordered(turn: _Turn, repairs: list[Repair]) -> list[Block]:
    if turn.side == "user":
        results: list[Block] = [block for block in turn.blocks if isinstance(block, ToolResult)]
        rest: list[Block] = [block for block in turn.blocks if not isinstance(block, ToolResult)]
        if not results and not any(isinstance(block, Text) for block in rest):
            rest.append(Text(FILLER))
            repairs.append(Repair("filler was put into a turn", turn.where, "it had no words"))
        return results + rest
    reasoning: list[Block] = [b for b in turn.blocks if isinstance(b, (Reasoning, RedactedReasoning))]
    texts: list[Block] = [block for block in turn.blocks if isinstance(block, Text)]
    calls: list[Block] = [block for block in turn.blocks if isinstance(block, ToolCall)]
    if not texts and not calls:
        texts.append(Text(FILLER))
        repairs.append(Repair("filler was put into a turn", turn.where, "it had no words"))
    return reasoning + texts + calls
