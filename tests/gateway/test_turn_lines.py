"""The line of a turn: what is in it, and what never is."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.events import FIELDS, Answered, Asked, Failed, Instead, Left, Served, Stopped, TurnEnded
from kiro_auth.failures import Failure
from kiro_auth.gateway.log_file import AsJson
from kiro_auth.gateway.turn_lines import TurnLines, client_name, line
from support.turns import turn_ended

FULL = Failure(code="KA-CAPACITY", message="Full.")
THROTTLE = Failure(
    code="KA-THROTTLE",
    message="Slow down. It said: your words.",
    next_step="Wait.",
    account="b",
    request_id="r-9",
)


def asked(model: str) -> Asked:
    usual = turn_ended().asked
    assert usual is not None
    return msgspec.structs.replace(usual, model=model)


def in_the_log(turn: TurnEnded) -> str:
    """What a person reads of a turn in the log, where every message is made plain."""
    record = logging.makeLogRecord({"msg": "%s", "args": (line(turn),)})
    message: str = msgspec.json.decode(AsJson().format(record))["message"]
    return message


def test_a_usual_turn_has_one_line_that_fits_in_80_columns_with_its_time() -> None:
    turn = turn_ended(
        name="builder-id-3f2a91", client="claude-cli", first_byte=1.23, seconds=8.4, metered=0.52
    )

    said = line(turn)

    assert said == "ok Claude Code, claude-sonnet-4-5, builder-id-3f2a91, 1.2/8.4s, 0.52 cr"
    assert len(f"20:17:23 {said}") <= 80


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"account": None, "first_byte": None, "end": Failed(THROTTLE)},
            "failed OpenCode, claude-sonnet-4-5, b, 2.0s: Slow down (KA-THROTTLE). Wait. [request r-9]",
        ),
        (
            {"end": Left()},
            "left OpenCode, claude-sonnet-4-5, Account a, 0.5/2.0s: The client left before the end.",
        ),
        (
            {"name": "a", "end": Stopped()},
            "stopped OpenCode, claude-sonnet-4-5, a, 0.5/2.0s: The gateway ended before the answer did.",
        ),
        (
            {"end": Answered("length"), "attempts": (FULL, FULL)},
            "ok OpenCode, claude-sonnet-4-5, Account a, 0.5/2.0s, after KA-CAPACITY: cut at the output limit",
        ),
    ],
    ids=["failed", "left", "stopped", "cut"],
)
def test_how_it_ended_is_told(fields: dict[str, Any], said: str) -> None:
    assert line(turn_ended(client="opencode", **fields)) == said


@pytest.mark.parametrize(
    ("name", "served", "instead", "shown"),
    [
        ("claude-sonnet-4-5-thinking", "claude-sonnet-4.5", None, "claude-sonnet-4-5-thinking"),
        ("claude-new-9-1", "claude-new-9.1", None, "claude-new-9-1"),
        ("fast", "claude-haiku-4.5", None, "fast → claude-haiku-4.5"),
        ("claude-opus-4-6", "claude-haiku-4.5", "claude-opus-4.6", "claude-opus-4-6 → claude-haiku-4.5"),
    ],
)
def test_a_model_is_shown_as_it_was_asked_for_and_another_one_that_answered(
    name: str, served: str, instead: str | None, shown: str
) -> None:
    other = Instead(instead, FULL) if instead else None
    turn = turn_ended(
        asked=asked(name), served=Served(account="a", account_name="a", model=served, instead=other)
    )

    assert line(turn).split(", ")[1] == shown


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("claude-cli", "Claude Code"),
        ("codex_cli_rs", "Codex"),
        ("codex_exec", "Codex"),
        ("opencode", "OpenCode"),
        ("AsyncOpenAI", "OpenAI SDK"),
        ("Anthropic", "Anthropic SDK"),
        ("curl", "curl"),
        (None, None),
    ],
)
def test_clients_have_the_names_that_people_know(product: str | None, name: str | None) -> None:
    assert client_name(product) == name


@given(st.text(), st.text(), st.text())
def test_whatever_a_client_sends_the_line_is_one_and_steers_no_terminal(
    client: str, model: str, message: str
) -> None:
    failure = Failure(code="KA-REQUEST", message=message)
    said = in_the_log(turn_ended(client=client, asked=asked(model), end=Failed(failure)))

    assert said.isprintable()
    assert len(line(turn_ended(asked=asked("m" * 10_000)))) < 200


def test_e_mails_are_shown_as_their_owners_recognise_them() -> None:
    assert "a***@example.com" in in_the_log(turn_ended(name="ada@example.com"))
    assert "ada@" not in in_the_log(turn_ended(name="ada@example.com"))


def test_programs_get_the_same_in_fields_and_no_sentence_of_the_service(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "kiro_auth.turns"):
        TurnLines().on_turn_ended(turn_ended(client="claude-cli", end=Failed(THROTTLE)))

    [record] = caplog.records
    fields = getattr(record, FIELDS)
    told = {name: fields[name] for name in ("event", "client", "failure", "request", "size", "firstWord")}
    assert told == {
        "event": "turn", "client": "Claude Code", "failure": "KA-THROTTLE", "request": "r-9", "size": 1234,
        "firstWord": 0.5,
    }  # fmt: skip
    assert "your words" not in f"{fields} {record.getMessage()}"
