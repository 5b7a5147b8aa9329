"""The gateway's log and `kiro-auth logs`: real gateways, in terminals and out of sight."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from kiro_auth.gateway.log_file import LogFile
from kiro_auth.gateway.log_lines import Tail
from support.messages import WORDS, turn
from support.programs import KEY, KIRO_AUTH, Home, Simulator, as_usual

OLDER = """
import kiro_auth
kiro_auth.__version__ = "0.0.9"
from kiro_auth.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, dict[str, str]]]:
    services = Home(tmp_path_factory.mktemp("services"))
    with services.simulator("--auto-approve") as simulator:
        yield simulator, {k: v for k, v in services.environment.items() if k.startswith("KIRO_")}


@pytest.fixture
def home(tmp_path: Path, simulator: tuple[Simulator, dict[str, str]]) -> Home:
    simulator[0].ask("reset", {})
    simulator[0].ask("settings", {"autoApprove": True})
    home = Home(tmp_path)
    home.environment |= {**simulator[1], "KIRO_GATEWAY_KEY": KEY}
    home.run("login", "--builder-id", "--no-browser")
    return home


def serving(home: Home, *arguments: str) -> tuple[pexpect.spawn, str]:
    """A gateway in a terminal of 80 columns, and its address."""
    terminal = home.terminal("serve", *arguments, columns=80)
    terminal.expect(r"Listening at (\S+);")
    assert isinstance(terminal.match, re.Match)
    return terminal, terminal.match[1]


def logged(home: Home) -> list[dict[str, Any]]:
    return [json.loads(line) for line in home.run("logs", "-n", "999", "--json").stdout.splitlines()]


def test_a_person_sees_a_line_for_each_turn_and_the_log_has_the_same(
    home: Home, simulator: tuple[Simulator, dict[str, str]]
) -> None:
    terminal, url = serving(home)
    assert turn(url) == 200
    simulator[0].script(
        {"refuse": {"type": "ValidationException", "reason": "REQUEST_BODY_INVALID", "message": WORDS}}
    )
    assert turn(url, "codex_cli_rs/0.169") == 400
    terminal.expect(r"\(KA-BODY\)")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    seen = str(terminal.before)
    terminal.close()

    records = logged(home)
    turns = [record for record in records if record.get("event") == "turn"]
    name = home.json("accounts")["accounts"][0]["name"]
    assert re.fullmatch(
        rf"ok Claude Code, claude-sonnet-4-5, {re.escape(name)}, [\d.]+/[\d.]+s, [\d.]+ cr",
        turns[0]["message"],
    )
    assert turns[1]["message"].startswith(f"failed Codex, claude-sonnet-4-5, {name}, ")
    assert "Kiro refused the request as malformed (KA-BODY)." in turns[1]["message"]
    assert (turns[1]["failure"], bool(turns[1]["request"])) == ("KA-BODY", True)
    assert [record["event"] for record in records if record.get("event") != "turn"] == [
        "started", "stopping", "ended",
    ]  # fmt: skip
    assert (records[-2]["why"], records[-2]["signal"]) == ("signal", "SIGINT")
    assert records[0]["url"] == url
    assert "ends: it got SIGINT" in seen
    assert WORDS not in (home.state / "gateway.log").read_text() + seen
    assert KEY not in (home.state / "gateway.log").read_text()


def test_in_80_columns_no_line_is_wider_and_words_stay_whole(
    home: Home, simulator: tuple[Simulator, dict[str, str]]
) -> None:
    terminal, url = serving(home)
    simulator[0].script({"refuse": {"type": "ValidationException", "reason": "REQUEST_BODY_INVALID"}})
    turn(url)
    turn(url)
    terminal.expect("ok Claude Code")
    before = str(terminal.before)
    terminal.close(force=True)

    told = home.run("logs", columns=80).stdout
    for text in (before, told):
        assert all(len(line.rstrip("\r")) <= 80 for line in text.split("\n"))
    assert re.search(r"\n\d\d:\d\d:\d\d failed Claude Code, ", told)
    assert re.match(r"[A-Z][a-z]+day, [A-Z][a-z]{2} \d\d\n", told), "the day stands once, above"


def test_what_a_pipe_gets_of_serve_is_the_address_alone_and_its_stderr_has_whole_lines(home: Home) -> None:
    with subprocess.Popen(
        as_usual(*KIRO_AUTH, "serve"),
        env=home.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as gateway:  # fmt: skip
        assert gateway.stdout is not None
        first = gateway.stdout.readline()
        turn(first.split()[2].rstrip(";"), "x" * 30)
        gateway.terminate()
        out, err = gateway.communicate(timeout=120)

    assert out == ""
    assert first.startswith("Listening at ")
    assert re.search(rf"^[A-Z][a-z]{{2}} \d\d \d\d:\d\d:\d\d ok {'x' * 30}, .* cr$", err, re.MULTILINE)


@pytest.mark.parametrize("why", ["told", "idle", "signal"])
def test_why_it_ended_is_in_the_log_of_a_gateway_that_nobody_sees(home: Home, why: str) -> None:
    idle = "0.01" if why == "idle" else "5"
    with subprocess.Popen(
        as_usual(*KIRO_AUTH, "serve", "--quiet", "--idle-minutes", idle), env=home.environment
    ) as gateway:
        while not (home.state / "gateway.json").exists() and gateway.poll() is None:
            time.sleep(0.02)
        if why == "told":
            home.run("stop")
        elif why == "signal":
            gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(30) == 0

    stopping, ended = logged(home)[-2:]
    assert (stopping["event"], stopping["why"], ended["event"]) == ("stopping", why, "ended")


def test_a_takeover_is_told_by_both(home: Home) -> None:
    quiet = ["serve", "--quiet", "--idle-minutes", "5"]
    with subprocess.Popen([sys.executable, "-c", OLDER, *quiet], env=home.environment) as old:
        while not (home.state / "gateway.json").exists():
            time.sleep(0.02)
        with subprocess.Popen(as_usual(*KIRO_AUTH, *quiet), env=home.environment) as new:
            assert old.wait(30) == 0
            while not any(record.get("event") == "takeover" for record in logged(home)):
                time.sleep(0.05)
            home.run("stop")
            new.wait(30)

    records = logged(home)
    [taken] = [record for record in records if record.get("event") == "takeover"]
    [gone] = [record for record in records if record.get("why") == "retired"]
    assert (taken["version"], taken["process"], taken["pid"]) == ("0.0.9", old.pid, new.pid)
    assert gone["pid"] == old.pid


def test_what_becomes_of_accounts_is_in_the_log(
    home: Home, simulator: tuple[Simulator, dict[str, str]]
) -> None:
    terminal, url = serving(home)
    account = home.json("accounts")["accounts"][0]["name"]
    simulator[0].ask("advance", {"seconds": 7200})
    simulator[0].script(
        {"refuse": {"type": "ThrottlingException", "reason": "MONTHLY_REQUEST_COUNT", "message": "No."}}
    )
    turn(url)
    turn(url)
    terminal.close(force=True)

    events = {record["event"]: record for record in logged(home) if record.get("account") == account}
    assert events["renewal"]["until"]
    assert (events["account"]["state"], events["account"]["failure"]) == ("quota", "KA-QUOTA")
    assert " is out of credits (KA-QUOTA) until " in events["account"]["message"]


def test_options_that_are_not_as_by_default_stand_at_the_start_and_of_texts_only_that_they_are_set(
    home: Home,
) -> None:
    home.environment |= {
        "KIRO_TOAST_LEVEL": "none",
        "KIRO_SSO_START_URL": "https://d-secret.awsapps.com/start",
        "KIRO_RATE_LIMIT_MAX_RETRIES": "7",
    }
    terminal, _ = serving(home)
    terminal.close(force=True)

    started = logged(home)[0]
    assert started["options"]["toast_level"] == "none"
    assert started["options"]["rate_limit_max_retries"] == 7
    assert started["options"]["sso_start_url"] == "set"
    assert "d-secret" not in json.dumps(started)


def test_follow_goes_on_over_text_a_full_file_and_another_gateway_until_ctrl_c(home: Home) -> None:
    log = home.state / "gateway.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("error: of a gateway that did not start (KA-CONFIG)\n")
    following = home.terminal("logs", "-f", "-n", "1", columns=120)
    following.expect_exact("error: of a gateway that did not start (KA-CONFIG)")
    for number in range(2):
        terminal, url = serving(home)
        following.expect(r"began: version")
        turn(url, f"program{number}/1")
        following.expect_exact(f"ok program{number}, ")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
        terminal.close()
        following.expect_exact("has ended")
        log.rename(home.state / "gateway.log.1")
    log.write_text("text in the new file\n")
    following.expect_exact("text in the new file")
    following.sendintr()
    following.expect(pexpect.EOF)
    following.close()

    assert following.exitstatus == 0
    assert "Traceback" not in str(following.before)


def test_text_is_printed_as_it_is_and_is_a_message_for_programs(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.state.mkdir(parents=True)
    (home.state / "gateway.log.1").write_text("one\ntwo\n")
    (home.state / "gateway.log").write_text(
        'Traceback (most recent call last):\n{"a": 1}\n{"message": "x"}\n'
    )

    assert home.run("logs", "-n", "4").stdout == 'two\nTraceback (most recent call last):\n{"a": 1}\nx\n'
    assert logged(home)[0] == {"message": "one"}
    assert logged(home)[-2:] == [{"message": '{"a": 1}'}, {"message": "x"}]


def test_without_a_log_that_is_said_and_one_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    empty = home.run("logs")
    assert (empty.stdout, "No gateway has written anything yet" in empty.stderr) == ("", True)

    (home.state / "gateway.log").mkdir(parents=True)
    refused = home.run("logs", check=False)
    assert refused.returncode == 1
    why = "cannot be read: it is a folder and not a file (KA-STORE)."
    assert f"{home.state / 'gateway.log'} {why}" in refused.stderr


def test_a_line_is_kept_when_another_process_begins_the_next_file_at_the_same_moment(tmp_path: Path) -> None:
    class Slow(LogFile):
        """Looks at the file; then another process is faster, of a release that asks for no lock."""

        def _size_if_current(self) -> int | None:
            size = super()._size_if_current()
            if size is not None:
                file.replace(tmp_path / "gateway.log.1")
            return size

    file = tmp_path / "gateway.log"
    handler = Slow(file, 10)
    handler.emit(logging.makeLogRecord({"msg": "a line that is long"}))
    handler.close()

    assert file.read_text() == "a line that is long\n"


def test_a_full_file_is_put_away_once_however_many_processes_see_that_it_is_full(tmp_path: Path) -> None:
    class Slow(LogFile):
        """Looks at the file; then another process is faster, once."""

        def _size_if_current(self) -> int | None:
            size = super()._size_if_current()
            if others:
                others.pop().emit(logging.makeLogRecord({"msg": "the other's line"}))
            return size

    file, old = tmp_path / "gateway.log", tmp_path / "gateway.log.1"
    file.write_text(f"{'full ' * 20}\n")
    handler, other = Slow(file, 100), LogFile(file, 100)
    others = [other]
    handler.emit(logging.makeLogRecord({"msg": "a line"}))
    handler.close()
    other.close()

    assert old.read_text() == f"{'full ' * 20}\n"
    assert file.read_text() == "the other's line\na line\n"


FILLING = """
import logging, sys
from pathlib import Path
from kiro_auth.gateway.log_file import LogFile
handler = LogFile(Path(sys.argv[1]), int(sys.argv[2]))
for word in sys.stdin:
    handler.emit(logging.makeLogRecord({"msg": word.strip()}))
    print("written", flush=True)
"""
"""Writes each word that it is told into the log of that name and bound."""


class Writers:
    """Processes that write into one log in the same moment."""

    def __init__(self, count: int, file: Path, bound: int) -> None:
        command = [sys.executable, "-P", "-c", FILLING, str(file), str(bound)]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]

    def write(self, *words: str) -> None:
        for process, word in zip(self._processes, words, strict=True):
            assert process.stdin is not None
            process.stdin.write(f"{word}\n")
            process.stdin.flush()
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "written\n"

    def close(self) -> None:
        for process in self._processes:
            process.communicate(timeout=30)


def test_processes_that_fill_the_log_in_the_same_moment_put_it_away_once(tmp_path: Path) -> None:
    file, old = tmp_path / "gateway.log", tmp_path / "gateway.log.1"
    full = "x" * 1990
    with contextlib.closing(Writers(3, file, bound=2000)) as writers:
        writers.write("begun", "begun", "begun")
        for number in range(400):
            file.write_text(f"{full}\n")
            words = [f"{name}-{number:06}" for name in "abc"]
            writers.write(*words)
            assert sorted((old.read_text() + file.read_text()).splitlines()) == [*words, full]


def test_two_processes_fill_one_file_and_no_line_is_lost_at_the_change(tmp_path: Path) -> None:
    """The second process holds the file that the first has put away."""
    first, second = (LogFile(tmp_path / "gateway.log", 200) for _ in range(2))
    tail, read = Tail(tmp_path), list[str]()
    for number in range(40):
        for handler in (first, second):
            handler.emit(logging.makeLogRecord({"msg": f"{handler is first} {number:03}"}))
            read += tail.new()
    first.close()
    second.close()

    assert sorted(read) == sorted(f"{who} {number:03}" for who in (True, False) for number in range(40))
    assert (tmp_path / "gateway.log").stat().st_mode & 0o777 == 0o600


def test_a_log_never_grows_beyond_its_bound_and_writes_each_record_down_once(tmp_path: Path) -> None:
    formatted: list[str] = []

    class Counted(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            formatted.append(record.msg)
            return super().format(record)

    file, old = tmp_path / "gateway.log", tmp_path / "gateway.log.1"
    handler = LogFile(file, 200)
    handler.setFormatter(Counted())
    lines = [f"{'é' * 60} {number:03}" for number in range(40)]
    for line in lines:
        handler.emit(logging.makeLogRecord({"msg": line}))
        assert file.stat().st_size < 200
    handler.close()

    assert formatted == lines
    kept = (old.read_text() + file.read_text()).splitlines()
    assert kept == formatted[-len(kept) :]
