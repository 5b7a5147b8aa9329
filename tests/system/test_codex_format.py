"""Codex where it insists on a form: the last message of a task, and the review of what it wants to do.

The simulated model answers by the form only if the words for it arrived.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from support.codex import UNASKED, Codex
from support.programs import Home, Simulator

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "kind": {"enum": ["note-47", "list"]}},
    "required": ["title", "kind"],
    "additionalProperties": False,
}


@pytest.fixture
def stage(tmp_path: Any) -> Iterator[tuple[Home, Simulator, str]]:
    home = Home(tmp_path)
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        with home.gateway() as url:
            yield home, simulator, url


def test_the_last_message_of_a_task_is_what_the_schema_wants(stage: tuple[Home, Simulator, str]) -> None:
    home, _, url = stage
    codex = Codex(home, url)
    schema, last = codex.project / "schema.json", codex.project / "last.json"
    schema.write_text(json.dumps(SCHEMA))

    done = codex.run(
        "Run `echo one > one.txt`.",
        *UNASKED,
        "--output-schema",
        str(schema),
        "--output-last-message",
        str(last),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    jsonschema.validate(json.loads(last.read_text()), SCHEMA)
    assert json.loads(last.read_text())["kind"] == "note-47"
    assert (codex.project / "one.txt").read_text() == "one\n", "tools are called all the same"


REVIEWED = {"approval_policy": "on-request", "approvals_reviewer": "auto_review"}


@pytest.mark.parametrize(
    ("review", "runs"),
    [
        pytest.param(None, True, marks=pytest.mark.clients, id="the model's own answer"),
        pytest.param('```json\n{"outcome": "deny", "rationale": "No."}\n```', False, id="no"),
        pytest.param(
            "I think that is all right.", False, marks=pytest.mark.clients, id="words without the form"
        ),
    ],
)
def test_what_codex_wants_to_do_is_reviewed(
    stage: tuple[Home, Simulator, str], review: str | None, runs: bool
) -> None:
    home, simulator, url = stage
    codex = Codex(home, url, **REVIEWED)
    outside = home.folder / "outside.txt"
    wanted = {
        "cmd": f"echo one > {outside}",
        "sandbox_permissions": "require_escalated",
        "justification": "The person asked for it.",
    }
    replies = [{"steps": [{"tool": {"name": "exec_command", "input": wanted}}]}]
    simulator.script(*replies, *([{"steps": [{"text": review}]}] * 3 if review else []))

    done = codex.run("Write one to a file outside of this folder.", "--sandbox", "workspace-write")

    assert done.returncode == 0, done.stdout + done.stderr
    assert outside.exists() is runs
    reviews = [call for call in simulator.calls() if "APPROVAL REQUEST START" in json.dumps(call["body"])]
    assert "JSON Schema of the answer" in json.dumps(reviews[0]["body"])
