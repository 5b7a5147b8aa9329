"""`serve`, `status` and `stop`, from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from pathlib import Path

import pytest

from kiro_auth.gateway.calls import NEXT_START, RESTART
from support.programs import KEY, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_gateway_says_where_it_is_and_ends_when_told(home: Home) -> None:
    assert home.run("status", check=False).returncode == 1
    with home.gateway() as url:
        status = home.json("status")
        state = home.state / "gateway.json"
        assert (status["running"], status["url"]) == (True, url)
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
        kept = json.loads(state.read_text())["key"]
        assert home.run("key", "show").stdout == f"{kept}\n"
        assert not [key for key in (KEY, kept) if key in home.run("status").stdout]
        assert "Stopped" in home.run("stop").stdout
    assert not (home.state / "gateway.json").exists()
    assert "Not running" in home.run("stop").stdout


def test_a_health_check_tells_by_its_exit_code_whether_the_gateway_answers(home: Home) -> None:
    for more in ([], ["--json"]):
        assert home.run("status", "--health", *more, check=False).returncode == 1
    with home.gateway() as url:
        assert home.run("status", "--health").stdout == f"Running at {url}.\n"
        told = home.json("status", "--health")
        assert (told["running"], told["url"]) == (True, url)

        os.kill(told["pid"], signal.SIGSTOP)
        try:
            hung = home.run("status", "--health", check=False)
        finally:
            os.kill(told["pid"], signal.SIGCONT)
        assert (hung.returncode, "does not answer" in hung.stdout) == (1, True)


def test_a_second_gateway_says_that_one_runs(home: Home) -> None:
    with home.gateway():
        second = home.run("serve")

    assert "runs already" in second.stdout


def test_a_second_one_that_should_listen_elsewhere_is_refused(home: Home) -> None:
    with home.gateway() as url:
        port = url.rpartition(":")[2]
        for arguments in (["--host", "example.com"], ["--host", "example.com", "--port", port]):
            elsewhere = home.run("serve", *arguments, check=False)
            assert (elsewhere.returncode, elsewhere.stdout) == (1, "")
            assert (
                f"A gateway runs already, at {url}, not at the host example.com (KA-CONFIG)."
                in elsewhere.stderr
            )
        for arguments in (["--host", "127.0.0.1"], ["--port", port]):
            assert "runs already" in home.run("serve", *arguments).stdout


def test_an_unused_gateway_ends_by_itself(home: Home) -> None:
    with home.started("serve", "--idle-minutes", "0.02") as process:
        assert process.wait(40) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_success(home: Home, number: signal.Signals) -> None:
    with home.started("serve") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(40) == 0


def test_a_port_that_is_taken_is_named(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = home.run("serve", "--port", str(port), check=False)

    assert refused.returncode == 1
    assert f"port {port} cannot be used" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "key", "word"),
    [
        (["--host", "0.0.0.0"], KEY, "--allow-public"),
        (["--host", "0.0.0.0", "--allow-public"], "short", "24 characters"),
    ],
)
def test_it_does_not_listen_publicly_by_accident(
    home: Home, arguments: list[str], key: str, word: str
) -> None:
    home.environment["KIRO_GATEWAY_KEY"] = key

    refused = home.run("serve", *arguments, check=False)

    assert refused.returncode == 1
    assert word in refused.stderr


def test_accounts_without_any_say_what_to_do(home: Home) -> None:
    assert "kiro-auth login" in home.run("accounts").stdout
    assert home.json("accounts") == {"accounts": [], "unreadable": []}
    refused = home.run("accounts", "show", "nobody", check=False)
    assert (refused.returncode, "Sign in: kiro-auth login" in refused.stderr) == (1, True)
    assert list(home.folder.rglob("kiro-*.json")) == []


def test_a_second_gateway_at_a_port_of_its_own_needs_a_key_that_somebody_knows(home: Home) -> None:
    with home.gateway():
        del home.environment["KIRO_GATEWAY_KEY"]
        refused = home.run("serve", "--port", "65000", check=False)

    assert (refused.returncode, "KIRO_GATEWAY_KEY" in refused.stderr) == (1, True)


def test_what_stops_a_quiet_gateway_is_in_its_log(home: Home) -> None:
    home.environment["KIRO_RATE_LIMIT_MAX_RETRIES"] = "many"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = home.run("serve", "--quiet", "--port", str(taken.getsockname()[1]), check=False)

    log = home.state / "gateway.log"
    assert refused.returncode == 1
    assert "cannot be used" in log.read_text()
    assert "KIRO_RATE_LIMIT_MAX_RETRIES" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_proxy_does_not_stand_between_a_command_and_the_gateway(home: Home) -> None:
    with home.gateway():
        home.environment["http_proxy"] = "http://127.0.0.1:9"
        assert home.json("status")["running"] is True


def test_a_gateway_that_was_started_with_other_options_is_told_of(home: Home) -> None:
    with home.simulator("--auto-approve"):
        home.run("login", "--builder-id", "--no-browser")  # which writes the first kiro.json
        with home.started("serve", "--idle-minutes", "10") as process:
            assert process.stdout is not None
            process.stdout.readline()
            same = home.run("status")
            assert (same.stderr, home.json("status")["otherOptions"]) == ("", False)

            home.config.joinpath("kiro.json").write_text('{"account_selection_strategy": "sticky"}')
            for command in (["status"], ["config", "show"]):
                said = home.run(*command).stderr
                assert "account_selection_strategy: kiro-auth reload." in said
                assert "kiro-auth stop" not in said
            assert home.json("status")["otherOptions"] is True
            (found,) = [c for c in home.json("doctor")["checks"] if c["check"] == "gateway"]
            assert (found["level"], "other options" in found["message"]) == ("warning", True)
            assert "kiro-auth reload" in found["remedy"]

            home.config.joinpath("kiro.json").write_text('{"thrift": true, "ledger": false, "budgets": {}}')
            said = home.run("status").stderr
            assert "For thrift: kiro-auth reload. For ledger: kiro-auth stop." in said
            assert NEXT_START in said
            home.config.joinpath("kiro.json").write_text(
                '{"thrift": true, "ledger": false, "endpoints": {"oidc": "http://127.0.0.1:9"}}'
            )
            home.run("reload")
            assert "For ledger: kiro-auth stop." in home.run("status").stderr

            home.config.joinpath("kiro.json").write_text('{"thrift": true}')
            assert home.run("status").stderr == "", "which is what it goes by"
            home.config.joinpath("kiro.json").write_text('{"thrift": 5}')
            assert "Correct kiro.json first: kiro-auth config check" in home.run("status").stderr

            home.config.joinpath("kiro.json").write_text('{"thrift": true}')
            home.environment["KIRO_TOAST_LEVEL"] = "none"
            assert RESTART in home.run("status").stderr, "its variables stay those that it was started with"
