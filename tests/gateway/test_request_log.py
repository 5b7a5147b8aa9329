"""The lines of the request log: what is in them, and what never is."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kiro_auth.events import Answered, End, Failed, Left, Stopped
from kiro_auth.failures import Failure
from kiro_auth.gateway import request_log
from kiro_auth.gateway.request_log import RequestLog, entry
from kiro_auth.reply_usage import Figure, Usage
from support.turns import turn_ended

QUOTA = Failure(code="KA-QUOTA", message="Used up, s3cret.", account="a", reason="MONTHLY", request_id="r-9")


def test_a_line_says_what_was_asked_who_answered_what_it_used_and_how_long_it_took() -> None:
    usage = Usage(Figure(10, "measured"), Figure(2, "derived"), cache_read=4, cache_write=0, credits=0.5)
    turn = turn_ended(usage=usage, attempts=(QUOTA,), repairs=("a", "b"), seconds=1.23456)

    assert list(entry(turn).items()) == [
        ("api", "/v1/messages"),
        ("model", "claude-sonnet-4-5"),
        ("stream", True),
        ("messages", 1),
        ("tools", 0),
        ("images", 0),
        ("documents", 0),
        ("size", 1234),
        ("account", "Account a"),
        ("served", "claude-sonnet-4.5"),
        ("mended", ("a", "b")),
        ("before", ["KA-QUOTA"]),
        ("ended", "end"),
        ("input", 10),
        ("inputSource", "measured"),
        ("output", 2),
        ("outputSource", "derived"),
        ("cacheRead", 4),
        ("cacheWrite", 0),
        ("credits", 0.5),
        ("seconds", 1.235),
    ]


@pytest.mark.parametrize(
    ("end", "fields"),
    [
        (Answered("tool_calls"), {"ended": "tool_calls"}),
        (Failed(QUOTA), {"ended": "failed", "failure": "KA-QUOTA", "reason": "MONTHLY", "request": "r-9"}),
        (Failed(Failure(code="KA-CUT", message="x")), {"ended": "failed", "failure": "KA-CUT"}),
        (Left(), {"ended": "the client left"}),
        (Stopped(), {"ended": "the gateway stopped"}),
    ],
    ids=str,
)
def test_how_a_turn_ended_has_its_own_word(end: End, fields: dict[str, Any]) -> None:
    line = entry(turn_ended(None, asked=None, usage=None, end=end))

    assert line == {"api": "/v1/messages", **fields, "seconds": 2.0}


def test_the_sentences_of_failures_and_the_client_s_own_words_are_not_written(tmp_path: Path) -> None:
    asked = turn_ended().asked
    assert asked is not None
    long = msgspec.structs.replace(asked, model="m" * 99)
    log = RequestLog(tmp_path / "requests.jsonl")
    log.on_turn_ended(turn_ended(asked=long, client="s3cret", attempts=(QUOTA,), end=Failed(QUOTA)))
    log.close()

    [line] = (tmp_path / "requests.jsonl").read_text().splitlines()
    assert "s3cret" not in line
    assert json.loads(line)["model"] == "m" * 80
    assert json.loads(line)["time"] == "2027-01-15T08:00:00.000+00:00"


def test_the_file_is_private_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "BYTES", 2000)
    log = RequestLog(tmp_path / "state" / "requests.jsonl")
    for _ in range(50):
        log.on_turn_ended(turn_ended())
    log.close()

    files = sorted((tmp_path / "state").iterdir())
    assert [file.name for file in files] == ["requests.jsonl", "requests.jsonl.1", "requests.jsonl.lock"]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 and file.stat().st_size <= 2000 for file in files)
