"""Options that change while the gateway runs."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pexpect
import pytest

from kiro_auth.gateway.log_lines import LOG_FILE
from support.programs import KEY, KIRO_AUTH, Home, Simulator, as_usual
from system.test_drain import Gateway, asked, ready

__all__ = ["ready"]

pytestmark = pytest.mark.timeout(120)


def write(home: Home, **options: Any) -> None:
    (home.config / "kiro.json").write_text(json.dumps(options))


COUNTING = """
import os, sys
file = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def on_event(event, arguments):
    if event == "open" and str(arguments[0]).endswith("kiro.json"):
        os.write(file, b"read\\n")
sys.addaudithook(on_event)
from kiro_auth.cli.main import main
main()
"""
"""The program, which writes a line into the given file for each time that kiro.json is opened."""


@contextlib.contextmanager
def gateway(home: Home, *arguments: str, program: Sequence[str] = KIRO_AUTH) -> Iterator[Gateway]:
    """One that has no terminal, whatever the tests run in: what commands find."""
    home.environment["KIRO_GATEWAY_KEY"] = KEY
    command = as_usual(*program, "serve", *arguments)
    with subprocess.Popen(
        command, env=home.environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield Gateway(process)
        finally:
            process.kill()


def turn(running: Gateway, **more: Any) -> tuple[int, Any]:
    with contextlib.closing(running.connection()) as connection:
        answer = asked(connection, **more)
        return answer.status, json.loads(answer.read())


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def log_of(home: Home) -> str:
    return (home.state / LOG_FILE).read_text()


def test_new_options_count_from_the_next_request_on_and_no_stream_is_cut(
    ready: tuple[Home, Simulator],
) -> None:
    home, simulator = ready
    write(home, model_aliases={"mine": "claude-haiku-4-5"})
    with gateway(home) as running, contextlib.closing(running.connection()) as connection:
        assert turn(running, model="mine")[0] == 200
        assert turn(running, model="yours")[0] == 404
        simulator.script({"steps": [{"text": "One "}, {"pause": 1.5}, {"text": "two."}]})
        stream = asked(connection, stream=True)
        write(home, model_aliases={"yours": "claude-haiku-4-5"}, allow_host=["box"], drain_seconds=1)

        done = home.run("reload")

        assert done.stdout == "Changed: drain_seconds, allow_host, model_aliases.\n"
        assert turn(running, model="yours")[0] == 200
        assert turn(running, model="mine")[0] == 404
        text = stream.read().decode()
        assert "two." in text
        assert "message_stop" in text
        with contextlib.closing(running.connection()) as named:
            named.request("GET", "/health", headers={"host": "box"})
            assert named.getresponse().status == 200
        assert "other options" not in home.run("status").stderr
        running.process.terminate()
        running.becomes((503, "draining"))


def test_with_a_mistake_nothing_changes_and_it_is_named(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    write(home, model_aliases={"mine": "claude-haiku-4-5"})
    with gateway(home) as running:
        write(home, model_aliases={"yours": "claude-haiku-4-5"}, reserve=200)

        done = home.run("reload", check=False)

        assert done.returncode == 1
        assert "Nothing has changed" in done.stderr
        assert "reserve" in done.stderr
        assert "a whole number from 0 to 90" in done.stderr
        assert turn(running, model="mine")[0] == 200
        assert turn(running, model="yours")[0] == 404

        write(home, model_aliases={"yours": "claude-haiku-4-5"}, thrift="perhaps")
        running.process.send_signal(signal.SIGHUP)
        until(lambda: "thrift" in log_of(home))
        assert turn(running, model="mine")[0] == 200
        assert turn(running, model="yours")[0] == 404

        (home.config / "kiro.json").write_text("{")
        assert home.run("reload", check=False).returncode == 1
        assert turn(running, model="mine")[0] == 200

        write(home, model_aliases={"yours": "claude-haiku-4-5"})
        home.run("reload")
        until(lambda: "the options were reloaded" in log_of(home))
        kept = [line for line in log_of(home).splitlines() if "the options stay" in line]
        # A command asks again when no answer came in time; a signal is heard once.
        assert sum("thrift" in line for line in kept) == 1
        assert ["reserve" in kept[0], "thrift" in kept[0], "thrift" in kept[-1]] == [True, False, False]


def test_what_counts_from_a_start_on_is_named_and_the_rest_changes(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    with gateway(home) as running:
        write(home, ledger=False, thrift=True, budgets={"day": 5}, endpoints={"oidc": "http://127.0.0.1:9"})
        variables = [name for name in home.environment if name.startswith("KIRO_ENDPOINT")]
        assert variables, "they count before the file, so nothing of endpoints changes"

        done = home.run("reload", "--json", check=False)
        assert done.returncode == 1, "budgets without a ledger are a contradiction, which config check tells"

        write(home, enable_log_api_request=True, thrift=True, budgets={"day": 5})
        expected = {"changed": ["thrift"], "needsRestart": ["enable_log_api_request", "budgets"]}
        for _ in range(2):
            with contextlib.closing(running.connection()) as connection:
                connection.request("GET", "/kiro/reload", headers={"x-api-key": KEY})
                assert json.loads(connection.getresponse().read()) == expected, "and nothing changes"

        assert home.json("reload") == expected
        assert "other options" in home.run("status").stderr


@pytest.mark.usefixtures("one_day")
def test_a_budget_is_raised_while_it_counts(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    write(home, budgets={"day": 0.000001})
    with gateway(home) as running:
        assert turn(running)[0] == 200
        until(lambda: "KA-BUDGET" in str(turn(running)))
        write(home, budgets={"day": 1000})
        assert home.json("reload") == {"changed": ["budgets"], "needsRestart": []}
        assert turn(running)[0] == 200


def test_kiro_json_is_read_once_for_a_start_and_once_for_a_reload(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    write(home, drain_seconds=3, thrift=True)
    reads = home.folder / "reads"
    program = [sys.executable, "-P", "-c", COUNTING, str(reads)]
    with gateway(home, "--drain", "1", program=program) as running:
        running.becomes((200, "ready"))
        assert turn(running)[0] == 200
        assert reads.read_text().count("read") == 1
        assert "other options" not in home.process("status").stderr

        write(home, drain_seconds=4, thrift=False)
        running.process.send_signal(signal.SIGHUP)
        until(lambda: "the options were reloaded; changed: thrift" in log_of(home))
        assert reads.read_text().count("read") == 2
        assert "other options" not in home.process("status").stderr


def test_sighup_reloads_a_gateway_without_a_terminal(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    with gateway(home) as running:
        write(home, model_aliases={"mine": "claude-haiku-4-5"})
        running.process.send_signal(signal.SIGHUP)
        until(lambda: "the options were reloaded; changed: model_aliases" in log_of(home))
        assert turn(running, model="mine")[0] == 200


def test_a_gateway_ends_with_the_terminal_that_it_was_started_in(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    child = home.terminal("serve", "--port", "0")
    child.expect("Listening at")
    os.kill(child.pid, signal.SIGHUP)
    child.expect(pexpect.EOF)
    until(lambda: not child.isalive())


def test_a_look_says_what_a_reload_says_and_neither_says_a_secret(
    ready: tuple[Home, Simulator],
) -> None:
    home, _ = ready
    secret = "hunter2-and-more"
    with gateway(home) as running:
        running.becomes((200, "ready"))
        for options, status in (
            ({"store": f"postgresql://kiro:{secret}@127.0.0.1/kiro"}, 200),
            ({"store": f"mysql://kiro:{secret}@127.0.0.1/kiro"}, 400),
            ({"dashboard_oidc": {"client_secret": secret}}, 400),
            ({"account_selection_strategy": "fair"}, 400),
        ):
            write(home, **options)
            answers = []
            for method in ("GET", "POST"):
                with contextlib.closing(running.connection()) as connection:
                    connection.request(method, "/kiro/reload", headers={"x-api-key": KEY})
                    answer = connection.getresponse()
                    answers.append((answer.status, answer.read()))
            assert answers[0] == answers[1]
            assert secret.encode() not in answers[0][1]
            assert answers[0][0] == status


def test_only_the_owner_may_reload(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    key = home.json("keys", "create", "ann")["key"]
    with gateway(home) as running:
        statuses = []
        for method, sent in itertools.product(("GET", "POST"), (key, "wrong", KEY)):
            with contextlib.closing(running.connection()) as connection:
                connection.request(method, "/kiro/reload", headers={"x-api-key": sent})
                statuses.append(connection.getresponse().status)
        assert statuses == [403, 401, 200] * 2


def test_without_a_gateway_it_says_so(home: Home) -> None:
    done = home.run("reload", check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("Not running")
