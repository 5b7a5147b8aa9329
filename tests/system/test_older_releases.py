"""Older releases of OpenCode that people still have: the whole way with each, in few tests."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from support.opencode import VERSIONS, OpenCode, written_under
from support.programs import Home, Simulator
from support.storing import HandStore
from support.window import opened

pytestmark = [pytest.mark.real, pytest.mark.older_releases, pytest.mark.timeout(300)]

ADA = "ada@example.com"
START_URL = "https://d-1234567890.awsapps.com/start"
NO_EXIT_CODE = ("1.14.48",)
"""Releases that end with 0 whatever happened."""
WINDOWS = 3


@pytest.fixture(params=VERSIONS[1:])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Stage:
    """One release in a home in which Ada is signed in."""

    def __init__(self, version: str, home: Home, simulator: Simulator) -> None:
        self.version = version
        self.home = home
        self.simulator = simulator
        self.opencode = OpenCode(version, home)


@pytest.fixture(scope="module", params=VERSIONS[1:])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home = Home(tmp_path_factory.mktemp("home"))
    with home.simulator("--auto-approve") as simulator:
        home.run("install", "opencode")
        home.run("login", "--builder-id", "--no-browser")
        yield Stage(request.param, home, simulator)
        home.stop_gateway()


def test_a_task_with_a_tool_is_finished_after_a_start_that_settles_nothing(stage: Stage) -> None:
    opencode = OpenCode(stage.version, stage.home, first_start=True)

    done = opencode.run("run", "-m", "kiro/claude-sonnet-4-5", "Write a file named a.txt with the content: A")

    assert done.returncode == 0, done.stderr
    assert (opencode.project / "a.txt").read_text().strip() == "A"


def test_a_variant_reaches_the_service(stage: Stage) -> None:
    before = len(stage.simulator.calls())

    stage.opencode.ask("Think.", "--variant", "high", "--title", "A title")

    [call] = stage.simulator.calls()[before:]
    assert "<max_thinking_length>24576<" in json.dumps(call["body"])


def test_every_listed_model_answers(stage: Stage) -> None:
    listed = [name.removeprefix("kiro/") for name in stage.opencode.run("models", "kiro").stdout.split()]
    with stage.opencode.serving() as server:
        said = {model: server.ask("Say hello.", model=model) for model in listed}

    assert {"claude-sonnet-4-5", "claude-sonnet-4-5-thinking", "claude-haiku-4-5"} <= set(listed)
    assert [model for model, text in said.items() if "Hello from the simulated model" not in text] == []


def test_windows_at_once_have_one_gateway_and_renew_once(stage: Stage) -> None:
    store = HandStore(stage.home.config, stage.home.state / "locks")
    store.change_account(stage.home.accounts()[0]["id"], {"expiresAt": 1})
    stage.home.stop_gateway()
    stage.simulator.ask("advance", {"seconds": 7200})
    renewals, calls = (
        len(stage.simulator.calls(name)) for name in ("CreateToken", "GenerateAssistantResponse")
    )
    opencode = stage.opencode
    windows = [
        subprocess.Popen(
            opencode.command("run", "--title", "A title", "-m", "kiro/claude-sonnet-4-5", "Say hello."),
            cwd=opencode.project, env=opencode.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for _ in range(WINDOWS)
    ]  # fmt: skip

    assert [window.wait(240) for window in windows] == [0] * WINDOWS
    assert len(stage.simulator.calls("CreateToken")) - renewals == 1
    answered = [call for call in stage.simulator.calls()[calls:] if call["status"] == 200]
    assert len(answered) == WINDOWS
    assert all("Hello from the simulated model" in said for said in opencode.kept()[-WINDOWS:])


def test_a_failure_of_the_account_is_shown_with_its_reason(stage: Stage) -> None:
    stage.simulator.ask("user", {"email": ADA, "used": 1000, "limit": 1000})
    before = len(stage.simulator.calls())

    done = stage.opencode.ask("Say hello.", "--title", "A title")

    assert done.returncode == (0 if stage.version in NO_EXIT_CODE else 1)
    # Releases without an exit code do not print all of it when `run` ends quickly.
    assert "The account's plan limit for this month is used up (KA-QUOTA)." in stage.opencode.kept()[-1]
    assert len(stage.simulator.calls()) == before + 1


def test_sign_in_by_builder_id_and_by_organisation(home: Home, simulator: Simulator, version: str) -> None:
    home.run("install", "opencode")
    opencode = OpenCode(version, home)
    with opencode.terminal("auth", "login", "-p", "kiro", "-m", "AWS Builder ID (IDC)") as terminal:
        terminal.expect(r"user_code=[A-Z]{4}-[A-Z]{4}")
        terminal.expect("Login successful")
    with opencode.terminal("auth", "login", "-p", "kiro", "-m", "AWS SSO (IAM Identity Center)") as terminal:
        terminal.expect("Start URL")
        terminal.send(START_URL + "\r")
        terminal.expect("region")
        terminal.send("eu-north-1\r")
        terminal.expect("Login successful")

    assert [account["authMethod"] for account in home.accounts()] == ["idc", "sso"]
    # Older releases print nothing of a reply that comes in one burst.
    steps = [{"text": "Hello"}, {"pause": 0.6}, {"text": " there."}, {"pause": 0.6}]
    simulator.script({"steps": steps, "when": {"tools": True}})
    assert "Hello there." in opencode.ask("Say hello.").stdout


def test_a_turn_is_followed_by_a_toast_with_what_is_left(
    signed_in: Home, simulator: Simulator, version: str
) -> None:
    simulator.ask("user", {"email": ADA, "used": 850, "limit": 1000})

    with opened(OpenCode(version, signed_in)) as window:
        window.say("Say hello.")
        window.wait_for("Hello from the simulated model")
        window.wait_for("150 of 1,000 credits left")


def test_without_an_account_nothing_happens(home: Home, version: str) -> None:
    home.run("install", "opencode")
    opencode = OpenCode(version, home)

    done = opencode.run("models")

    assert "kiro" not in done.stdout + done.stderr
    installed = ("plugin/kiro.js", "plugins/kiro-auth/index.js", "plugins/kiro-auth/tui.js")
    ours = {path for path in written_under(home.folder) if "kiro" in path}
    assert ours == {f".config/opencode/{file}" for file in installed}
    assert not home.state.exists()
