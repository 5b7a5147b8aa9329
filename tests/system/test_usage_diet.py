"""What `usage --diet` and `usage --by` say of the ledger's turns: parts of the input, and cheaper models."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from kiro_auth.ledger.local import FILE
from kiro_auth.ledger.row import row_of
from kiro_auth.ledger.sqlite import SqliteFile
from kiro_auth.reply_usage import InputParts
from support.programs import Home
from support.turns import turn_ended

PARTS = InputParts(tools=600, system=250, history=100, attachments=50)


def keep(home: Home, *turns: dict[str, Any]) -> None:
    """Put turns into the home's ledger."""
    file = SqliteFile(home.state / FILE)
    file.add([row_of(turn_ended(**turn)) for turn in turns])
    file.close()


def test_the_diet_is_of_the_last_turns_that_say_it(home: Home) -> None:
    old = {"input_parts": replace(PARTS, tools=1_000_000)}
    keep(home, old, *[{"input_parts": PARTS}] * 19, {"input_parts": None})

    assert home.json("usage", "--diet") == {
        "turns": 19,
        "inputTokens": {"tools": 11_400, "system": 4750, "history": 1900, "attachments": 950},
        "source": "estimated",
    }
    lines = home.run("usage", "--diet").stdout.splitlines()
    assert lines[1].split() == ["tools", "and", "their", "schemas", "11,400", "60%", lines[1].split()[-1]]
    assert lines[5].split() == ["together", "19,000"]
    assert "the last 19 turns together, in tokens by our estimate" in lines[-1]


@pytest.mark.parametrize("parts", [None, InputParts(0, 0, 0, 0)])
def test_a_ledger_that_says_nothing_of_it_is_no_trouble(home: Home, parts: InputParts | None) -> None:
    empty = home.run("usage", "--diet").stdout
    keep(home, {"input_parts": parts})

    assert home.run("usage", "--diet").stdout == empty
    assert "no turns that say what their input consisted of" in empty


def test_what_a_cheaper_model_answered_is_named_below_the_sums(home: Home) -> None:
    served = replace(turn_ended().served, model="claude-haiku-4.5", thrift_for="claude-opus-4.6")
    keep(home, {"metered": 2.0}, {"metered": 0.25, "served": served}, {"metered": 0.5, "served": served})

    told = home.json("usage", "--by", "model")
    assert told["thrift"] == {
        "turns": 2, "credits": 0.75, "inputTokens": 20, "outputTokens": 4, "failed": 0,
    }  # fmt: skip
    assert told["total"]["turns"] == 3
    last = home.run("usage", "--by", "model").stdout.splitlines()[-1]
    assert last == "Of these a cheaper model answered 2 titles and summaries for 0.75 credits (thrift)."
    assert "thrift" not in home.json("usage", "--by", "model", "--until", "2020-01-01")
