"""`kiro-auth simulate`, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.programs import as_usual

pytestmark = pytest.mark.outside

# The verb alone, so that nothing but it is tested here.
PROGRAM = """
import sys, typer
from kiro_auth.cli.output import print_failure
from kiro_auth.cli.simulate import simulate
from kiro_auth.failures import KiroAuthError
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(simulate)
try:
    app()
except KiroAuthError as error:
    print_failure(error.failure)
    sys.exit(1)
"""
SECONDS = 120


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        as_usual(sys.executable, "-c", PROGRAM, "--port", "0", *arguments),
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(SECONDS)
        process.stdout.close()


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=SECONDS
    )


def ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=SECONDS) as answer:
        return json.load(answer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_one_line_of_json_tells_where_and_a_signal_ends_it_well(number: signal.Signals) -> None:
    with started("--json") as process:
        said = json.loads(process.stdout.readline())
        template = said["url"] + "/{region}"

        assert said["environment"] == {
            "KIRO_ENDPOINT_RUNTIME": template,
            "KIRO_ENDPOINT_MANAGEMENT": template,
            "KIRO_ENDPOINT_OIDC": template,
            "KIRO_ENDPOINT_DESKTOP_AUTH": template,
            "KIRO_ENDPOINT_EXTERNAL_IDP": template,
        }
        assert set(said["config"]["endpoints"].values()) == {template}
        assert said["url"].startswith("http://127.0.0.1:")
        assert ask(said["url"] + "/_control/state")["settings"]["autoApprove"] is False
        process.send_signal(number)
        assert process.wait(SECONDS) == 0


def test_people_get_lines_for_their_shell() -> None:
    with started("--auto-approve") as process:
        lines = [process.stdout.readline().strip() for _ in range(5)]

        url = lines[0].split()[2].rstrip(".")
        assert lines[1] == f"export KIRO_ENDPOINT_RUNTIME='{url}/{{region}}'"
        assert ask(url + "/_control/state")["settings"]["autoApprove"] is True


def test_people_get_lines_for_their_configuration_if_wanted() -> None:
    with started("--print-config") as process:
        url = process.stdout.readline().split()[2].rstrip(".")
        text = "".join(process.stdout.readline() for _ in range(9))

    assert json.loads(text)["endpoints"]["oidc"] == url + "/{region}"


def test_a_scenario_sets_the_world_up(tmp_path: Path) -> None:
    file = tmp_path / "scenario.json"
    file.write_text(
        json.dumps(
            {
                "users": [{"email": "solo@example.com", "limit": 5, "used": 4}],
                "settings": {"tokenSeconds": 60, "autoApprove": True},
                "script": [{"steps": [{"text": "Hi"}]}, {"refuse": {"type": "ThrottlingException"}}],
                "faults": [{"operation": "CreateToken", "status": 503}],
            }
        )
    )
    with started("--json", "--scenario", str(file)) as process:
        state = ask(json.loads(process.stdout.readline())["url"] + "/_control/state")

    assert [user["email"] for user in state["users"]] == ["solo@example.com"]
    assert (state["settings"]["tokenSeconds"], state["settings"]["autoApprove"]) == (60, True)
    assert (state["script"], len(state["faults"])) == (2, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(None, "it does not exist", id="absent"),
        pytest.param("{", "truncated", id="no JSON", marks=pytest.mark.clients),
        pytest.param("[" * 100_000, "", id="deep", marks=pytest.mark.clients),
        pytest.param("\udcff", "", id="no UTF-8", marks=pytest.mark.clients),
        pytest.param('{"people": []}', "people", id="unknown field", marks=pytest.mark.clients),
        pytest.param(
            '{"users": [{"email": 1}]}', "$.users[0].email", id="wrong type", marks=pytest.mark.clients
        ),
        pytest.param('{"script": [{}]}', "reply 1", id="empty reply", marks=pytest.mark.clients),
        pytest.param('{"script": [{"steps": [{"sing": 1}]}]}', "reply 1: step 1", id="unknown step"),
    ],
)
def test_a_scenario_that_cannot_be_used_is_named_with_its_fault(
    tmp_path: Path, text: str | None, says: str
) -> None:
    file = tmp_path / "scenario.json"
    if text is not None:
        file.write_bytes(text.encode(errors="surrogateescape"))
    done = ended("--scenario", str(file), "--port", "0")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: The scenario {file} cannot be used: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ended("--port", str(port))

    assert done.returncode == 1
    assert f"port {port} cannot be used" in done.stderr
    assert "--port" in done.stderr
