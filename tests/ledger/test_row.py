"""What the ledger keeps of a turn, and what never."""

from __future__ import annotations

import msgspec
import pytest

from kiro_auth.events import Answered, End, Failed, Left, Stopped
from kiro_auth.failures import Failure
from kiro_auth.ledger.row import row_of
from kiro_auth.ledger.schema import COLUMNS, row_from, values_of
from kiro_auth.reply_usage import Figure, InputParts, Usage
from support.turns import turn_ended

QUOTA = Failure(code="KA-QUOTA", message="Used up, s3cret.", account="Account b", request_id="r-9")


def test_a_row_says_who_asked_what_for_who_answered_what_it_used_and_how_it_ended() -> None:
    usage = Usage(Figure(10, "measured"), Figure(2, "derived"), credits=0.5)
    asked = msgspec.structs.replace(turn_ended().asked, session="s-1", kind="title")
    turn = turn_ended(
        usage=usage, asked=asked, client="opencode", project="shop", attempts=(QUOTA,),
        repairs=("a call was dropped",), request_id="req_1", input_parts=InputParts(700, 200, 90, 10),
    )  # fmt: skip

    assert msgspec.structs.asdict(row_of(turn)) == {
        "when": 1_800_000_000.0,
        "caller": "owner",
        "client": "opencode",
        "session": "s-1",
        "project": "shop",
        "surface": "/v1/messages",
        "kind": "title",
        "model_asked": "claude-sonnet-4-5",
        "model": "claude-sonnet-4.5",
        "account": "a",
        "account_name": "Account a",
        "credits": 0.5,
        "input_tokens": 10,
        "input_source": "measured",
        "output_tokens": 2,
        "output_source": "derived",
        "first_byte": 0.5,
        "seconds": 2.0,
        "attempts": ("KA-QUOTA",),
        "repairs": ("a call was dropped",),
        "outcome": "answered",
        "request_id": "req_1",
        "thrift_for": None,
        "input_parts": InputParts(700, 200, 90, 10),
    }


@pytest.mark.parametrize(
    ("end", "outcome", "failed"),
    [
        (Answered("tool_calls"), "answered", False),
        (Failed(QUOTA), "KA-QUOTA", True),
        (Left(), "left", False),
        (Stopped(), "stopped", False),
    ],
    ids=str,
)
def test_how_a_turn_ended_is_a_word_or_a_code(end: End, outcome: str, failed: bool) -> None:
    row = row_of(turn_ended(end=end))

    assert (row.outcome, row.failed) == (outcome, failed)


def test_a_turn_that_no_account_answered_names_the_account_whose_failure_it_is() -> None:
    row = row_of(turn_ended(None, usage=None, end=Failed(QUOTA)))

    assert (row.account, row.account_name, row.model, row.credits) == (None, "Account b", None, None)


def test_no_sentence_of_a_failure_is_kept() -> None:
    row = row_of(turn_ended(attempts=(QUOTA,), end=Failed(QUOTA)))

    assert b"s3cret" not in msgspec.json.encode(row)


def test_what_a_client_calls_things_is_one_bounded_line_that_does_nothing_to_a_terminal() -> None:
    asked = msgspec.structs.replace(
        turn_ended().asked, model="m\x1b[2J\u202e\n" * 99, session="\udc80\u200b \x07"
    )
    row = row_of(turn_ended(asked=asked, project="a\tb\x9b"))

    assert row.model_asked == ("m[2J " * 99)[:120].strip()
    assert (row.session, row.project) == (None, "a b")


def test_a_row_is_read_as_it_was_written() -> None:
    row = row_of(turn_ended(attempts=(QUOTA, QUOTA), repairs=("a, b", 'c"d')))

    assert row_from(values_of(row)) == row
    assert len(COLUMNS) == len(values_of(row))
