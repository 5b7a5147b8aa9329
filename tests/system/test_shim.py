"""The plugin inside the real OpenCode, in front of a gateway that only follows a script."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_auth.opencode.install import install_shim
from support.opencode import VERSIONS, OpenCode, written_under
from support.programs import Home
from support.scripted_gateway import ANSWER, Gateway, scripted_gateway, with_account

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

START_URL = "https://d-1234567890.awsapps.com/start"
BUILDER_ID = "AWS Builder ID (IDC)"
ORGANISATION = "AWS SSO (IAM Identity Center)"


@pytest.fixture(params=VERSIONS)
def opencode(request: pytest.FixtureRequest, tmp_path: Path) -> OpenCode:
    return OpenCode(request.param, Home(tmp_path))


@pytest.fixture
def newest(tmp_path: Path) -> OpenCode:
    """For what does not depend on the release."""
    return OpenCode(VERSIONS[0], Home(tmp_path))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with scripted_gateway(Home(tmp_path)) as gateway:
        yield gateway


def test_models_are_listed_without_a_gateway(opencode: OpenCode, gateway: Gateway):
    with_account(opencode.home)
    install_shim(opencode.home.config, gateway.start_command())
    done = opencode.run("models", "kiro")
    assert done.stdout.split() == [
        "kiro/auto",
        "kiro/claude-haiku-4-5",
        "kiro/claude-sonnet-4-5",
        "kiro/claude-sonnet-4-5-thinking",
    ], done.stderr
    assert (gateway.starts(), gateway.asked) == (0, [])


@pytest.mark.clients
def test_the_models_that_the_gateway_wrote_down_are_listed(newest: OpenCode, gateway: Gateway):
    with_account(newest.home)
    install_shim(newest.home.config, gateway.start_command())
    newest.home.state.mkdir(parents=True)
    models = {"opencode1": {"claude-opus-4-6": {"name": "Claude Opus 4.6"}}, "opencode2": []}
    (newest.home.state / "models.json").write_text(json.dumps(models))
    assert newest.run("models", "kiro").stdout.split() == ["kiro/claude-opus-4-6"]


@pytest.mark.early
def test_the_first_request_starts_the_gateway_once(opencode: OpenCode, gateway: Gateway):
    with_account(opencode.home)
    install_shim(opencode.home.config, gateway.start_command())
    done = opencode.ask("How many?")
    assert ANSWER in done.stdout, done.stderr
    assert done.returncode == 0
    assert gateway.starts() == 1
    assert [turn["model"] for turn in gateway.turns()] == ["claude-sonnet-4-5"]
    titles = [body for body in gateway.bodies("/v1/messages") if not body.get("tools")]
    assert {title["model"] for title in titles} == {"claude-haiku-4-5"}
    assert not any("thinking" in title for title in titles)


@pytest.mark.clients
def test_a_running_gateway_is_used_and_without_a_window_nothing_else_is_asked(
    newest: OpenCode, gateway: Gateway
):
    with_account(newest.home)
    gateway.announce()
    install_shim(newest.home.config, gateway.start_command())
    done = newest.ask("How many?")
    assert ANSWER in done.stdout, done.stderr
    assert gateway.starts() == 0
    assert not any(path.startswith("/kiro/") for _, path, _ in gateway.asked)


@pytest.mark.clients
def test_a_stale_state_file_leads_to_one_start(newest: OpenCode, gateway: Gateway):
    with_account(newest.home)
    gateway.announce(secret="the-secret-before")
    install_shim(newest.home.config, gateway.start_command())
    done = newest.ask("How many?")
    assert ANSWER in done.stdout, done.stderr
    assert gateway.starts() == 1
    assert gateway.unproved == []


@pytest.mark.clients
def test_a_gateway_that_cannot_start_is_one_clear_error(newest: OpenCode):
    with_account(newest.home)
    install_shim(newest.home.config, [sys.executable, "-m", "a_package_of_before"])
    done = newest.ask("How many?")
    assert "Error: The Kiro gateway did not start: " in done.stderr
    assert "No module named a_package_of_before (see " in done.stderr
    assert done.returncode == 1
    log = (newest.home.state / "gateway.log").read_text()
    assert log.count("No module named") <= 2, "each of two requests, the title's as well, is made once"


@pytest.mark.clients
def test_what_the_user_configured_counts(opencode: OpenCode, gateway: Gateway):
    with_account(opencode.home)
    gateway.announce()
    install_shim(opencode.home.config, gateway.start_command())
    opencode.configure("""{
        // as the original plugin's manual has it
        "provider": {"kiro": {"models": {
            "claude-sonnet-4-5-thinking": {
                "limit": {"context": 100000, "output": 20000},
                "variants": {"low": {"thinkingConfig": {"thinkingBudget": 8192}}},
            },
            "my-own": {"name": "Mine", "limit": {"context": 1000, "output": 1000}},
        }}},
    }""")
    done = opencode.ask("How many?", "--variant", "low", model="claude-sonnet-4-5-thinking")
    assert ANSWER in done.stdout, done.stderr
    (turn,) = gateway.turns()
    assert turn["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    assert turn["max_tokens"] == 20000 + 8192
    assert "kiro/my-own" in opencode.run("models", "kiro").stdout


@pytest.mark.clients
def test_nothing_happens_for_people_without_an_account(opencode: OpenCode, gateway: Gateway):
    install_shim(opencode.home.config, gateway.start_command())
    gateway.announce()  # even one that runs is not asked
    done = opencode.run("models")
    assert "kiro" not in done.stdout + done.stderr
    assert (gateway.starts(), gateway.asked) == (0, [])
    ours = {path for path in written_under(opencode.home.folder) if "kiro" in path}
    installed = {"plugin/kiro.js", "plugins/kiro-auth/index.js", "plugins/kiro-auth/tui.js"}
    assert ours == {
        *(f".config/opencode/{file}" for file in installed),
        ".local/state/kiro-auth/gateway.json",
    }


@pytest.mark.clients
def test_the_sign_in_is_found_by_its_name(opencode: OpenCode, gateway: Gateway):
    install_shim(opencode.home.config, gateway.start_command())
    with opencode.terminal("auth", "login") as terminal:
        terminal.expect_exact("Select provider")
        terminal.send("kiro")
        terminal.expect_exact("(1 match)")
        terminal.send("\r")
        terminal.expect_exact(BUILDER_ID)
        terminal.expect_exact(ORGANISATION)


@pytest.mark.clients
def test_sign_in_with_builder_id(opencode: OpenCode, gateway: Gateway):
    install_shim(opencode.home.config, gateway.start_command())
    with opencode.terminal("auth", "login", "-p", "kiro", "-m", BUILDER_ID) as terminal:
        terminal.expect_exact("https://device.example.test/?code=ABCD")
        terminal.expect_exact("ABCD-EFGH")
        terminal.expect_exact("Login successful")
    assert gateway.bodies("/kiro/login") == [{"method": "builder-id"}]
    assert opencode.signed_in()["kiro"] == {"type": "api", "key": "kept-by-the-gateway"}


@pytest.mark.clients
@pytest.mark.parametrize("given", [(START_URL, "eu-central-1"), ("", "")], ids=["typed", "as-configured"])
def test_sign_in_with_an_organisation(newest: OpenCode, gateway: Gateway, given: tuple[str, str]):
    install_shim(newest.home.config, gateway.start_command())
    with newest.terminal("auth", "login", "-p", "kiro", "-m", ORGANISATION) as terminal:
        terminal.expect_exact("Start URL of your organisation")
        terminal.send(given[0] + "\r")
        terminal.expect_exact("AWS region of your IAM Identity Center")
        terminal.send(given[1] + "\r")
        terminal.expect_exact("Login successful")
    assert gateway.bodies("/kiro/login") == [{"method": "idc", "startUrl": given[0], "region": given[1]}]


@pytest.mark.clients
def test_what_there_is_to_say_of_a_sign_in_is_said(opencode: OpenCode, gateway: Gateway):
    install_shim(opencode.home.config, gateway.start_command())
    gateway.notice = "The start URL is known in eu-north-1."
    gateway.sign_in = [{"status": "done", "notices": ["2 Kiro profiles are assigned; A is used."]}]
    with opencode.terminal("auth", "login", "-p", "kiro", "-m", BUILDER_ID) as terminal:
        terminal.expect_exact("The start URL is known in eu-north-1.")
        terminal.expect_exact("2 Kiro profiles are assigned; A is used.")
        terminal.expect_exact("Login successful")


@pytest.mark.clients
@pytest.mark.parametrize("command", ["auth", "providers"])  # two names of one
def test_a_failed_sign_in_says_why(opencode: OpenCode, gateway: Gateway, command: str):
    install_shim(opencode.home.config, gateway.start_command())
    gateway.sign_in = [{"status": "failed", "message": "The code has expired."}]
    with opencode.terminal(command, "login", "-p", "kiro", "-m", BUILDER_ID) as terminal:
        terminal.expect_exact("The code has expired.")
        terminal.expect_exact("Failed to authorize")
    assert opencode.signed_in() == {}
