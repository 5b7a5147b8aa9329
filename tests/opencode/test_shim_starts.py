"""How the plugin finds or starts a gateway, in Node: the module is loaded and asked as OpenCode 1.x does.

One of each kind is met by the real OpenCode too, in tests/system/test_shim.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.opencode.install import install_shim
from support.npm import NODE
from support.programs import Home
from support.scripted_gateway import ANSWER, Gateway, scripted_gateway, with_account

HOST = str(Path(__file__).parent / "host1.mjs")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    with_account(home)
    return home


@pytest.fixture
def gateway(home: Home) -> Iterator[Gateway]:
    with scripted_gateway(home) as gateway:
        yield gateway


def ask(home: Home, start: list[str], *, seconds: float = 240, folder: Path | None = None) -> dict[str, Any]:
    """The `status` and the `text` of what one request meets."""
    plugin = install_shim(home.config, start)
    done = subprocess.run(
        [NODE, HOST, str(plugin)],
        env=home.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stderr
    met: dict[str, Any] = json.loads(done.stdout)
    return met


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"port": 9}, id="nobody-listens", marks=pytest.mark.clients),
        pytest.param({"secret": "the-secret-before"}, id="another-secret"),
        pytest.param({"secret": None}, id="no-secret", marks=pytest.mark.clients),
        pytest.param({"port": None}, id="no-port", marks=pytest.mark.clients),
        pytest.param({"version": "0.0.1"}, id="an-older-version"),
    ],
)
def test_a_stale_state_file_leads_to_one_start(home: Home, gateway: Gateway, wrong: dict[str, Any]):
    gateway.announce(**wrong)
    met = ask(home, gateway.start_command())
    assert ANSWER in met["text"], met
    assert gateway.starts() == 1
    assert gateway.unproved == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        pytest.param(["/nowhere/python"], "Run again: kiro-auth install opencode", id="missing"),
        pytest.param([sys.executable, "-c", "raise SystemExit(3)"], "exit code 3 (see ", id="silent"),
        pytest.param(["/bin/sh", "-c", "kill -9 $$"], "exit code SIGKILL (see ", id="killed"),
        pytest.param(
            [sys.executable, "-m", "a_package_of_before"],
            "No module named a_package_of_before (see ",
            id="environment-rebuilt",
        ),
        pytest.param(
            [sys.executable, "-m", "kiro_auth", "serve", "--quiet", "--host", "0.0.0.0"],
            "start: Other machines could reach 0.0.0.0,",
            id="refused",
        ),
    ],
)
def test_a_gateway_that_cannot_start_is_one_clear_error(home: Home, command: list[str], reason: str):
    met = ask(home, command)
    assert met["status"] == 400  # which no client repeats
    assert "The Kiro gateway did not start: " in met["text"]
    assert reason in met["text"]
    assert (home.state / "gateway.log").stat().st_mode & 0o777 == 0o600


def test_a_relative_path_in_a_variable_is_handed_on_whole(home: Home, tmp_path: Path):
    home.environment |= {"KIRO_STORE_KEY_FILE": "store.key", "PGSSLROOTCERT": "system", "PGPASSFILE": "/pg"}
    program = (
        "import json, os, pathlib, sys;"
        "pathlib.Path(sys.argv[1]).write_text(json.dumps([dict(os.environ), os.getcwd()]))"
    )
    (tmp_path / "work").mkdir()

    ask(home, [sys.executable, "-c", program, str(tmp_path / "seen")], folder=tmp_path / "work")

    seen, folder = json.loads((tmp_path / "seen").read_text())
    assert seen["KIRO_STORE_KEY_FILE"] == str(tmp_path / "work" / "store.key")
    assert (seen["PGSSLROOTCERT"], seen["PGPASSFILE"], folder) == ("system", "/pg", str(home.folder))


@pytest.mark.clients
def test_a_gateway_that_does_not_answer_is_not_waited_for_long(home: Home):
    met = ask(home, ["/bin/sleep", "25"], seconds=120)
    assert "did not start: no answer in 20 seconds (see " in met["text"]


def test_a_reason_of_before_is_not_told_again(home: Home):
    home.state.mkdir(parents=True)
    (home.state / "gateway.log").write_text("error: of yesterday\n")
    met = ask(home, [sys.executable, "-c", "raise SystemExit(3)"])
    assert "did not start: exit code 3 (see " in met["text"]


def test_a_state_folder_that_cannot_be_used_is_named(home: Home, gateway: Gateway):
    home.state.parent.mkdir(parents=True)
    home.state.write_text("a file in its place")
    met = ask(home, gateway.start_command())
    assert "The Kiro gateway did not start: " in met["text"]
    assert str(home.state) in met["text"]
    assert gateway.starts() == 0


@pytest.mark.clients
def test_the_gateway_may_still_speak_when_the_program_with_the_plugin_has_ended(home: Home, gateway: Gateway):
    then = "; import time; time.sleep(4); print('still here', file=sys.stderr)"
    python, option, program, *words = gateway.start_command()
    assert ANSWER in ask(home, [python, option, program + then, *words])["text"]
    log = home.state / "gateway.log"
    end = time.monotonic() + 120
    while log.read_text() != "still here\n" and time.monotonic() < end:
        time.sleep(0.2)
    assert log.read_text() == "still here\n"
