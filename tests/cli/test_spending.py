"""`kiro-auth usage --by` over a ledger: figures, times, spreadsheets, terminals, and forgetting."""

from __future__ import annotations

import csv
import time
from datetime import datetime
from io import StringIO
from pathlib import Path

import pexpect
import pytest
from rich.cells import cell_len

from kiro_auth.events import Failed
from kiro_auth.failures import Failure
from kiro_auth.ledger.row import row_of
from kiro_auth.ledger.sqlite import SqliteFile
from kiro_auth.reply_usage import Figure, Usage
from support.golden import frozen
from support.programs import Home
from support.turns import turn_ended

NOON = datetime(2026, 11, 2, 12).timestamp()
DAY = 86400.0
LONG = "an-unusually-long-name-of-a-project-日本語のプロジェクト"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    ledger = SqliteFile(home.state / "ledger.sqlite3", clock=lambda: NOON)

    def used(metered: float) -> Usage:
        return Usage(Figure(123_456, "measured"), Figure(1000, "estimated"), credits=metered)

    no_account = Failed(Failure(code="KA-NO-ACCOUNT", message="None."))
    turns = [
        turn_ended(when=NOON - DAY, usage=used(0.25), project="shop"),
        turn_ended(when=NOON, usage=used(2.5), project="shop"),
        turn_ended(when=NOON, usage=used(1.25), project="=HYPERLINK(1)"),
        turn_ended(when=NOON + DAY, usage=used(0.5), project=LONG),
        turn_ended(None, when=NOON + DAY, usage=None, end=no_account),
    ]
    ledger.add([row_of(turn) for turn in turns])
    ledger.close()
    return home


def figures(*values: float) -> dict[str, float]:
    return dict(zip(("turns", "credits", "inputTokens", "outputTokens", "failed"), values, strict=True))


def row(key: str, *values: float) -> dict[str, object]:
    return {"key": key, **figures(*values)}


def test_json_has_a_row_for_each_key_and_their_total(home: Home) -> None:
    printed = home.json("usage", "--by", "day")

    assert printed == {
        "rows": [
            row("2026-11-01", 1, 0.25, 123456, 1000, 0),
            row("2026-11-02", 2, 3.75, 246912, 2000, 0),
            row("2026-11-03", 2, 0.5, 123456, 1000, 1),
        ],
        "total": figures(5, 4.5, 493824, 4000, 1),
    }


@pytest.mark.parametrize(
    ("within", "turns"),
    [
        (("--since", "2026-11-02"), 4),
        (("--until", "2026-11-02"), 3),
        (("--since", "2026-11-02", "--until", "2026-11-02"), 2),
        (("--since", "2026-11-02T12:00"), 4),
        (("--until", "2026-11-02T12:00"), 1),
        (("--since", "2027-01-01"), 0),
    ],
)
def test_the_last_day_is_included_and_a_time_is_not(home: Home, within: tuple[str, ...], turns: int) -> None:
    assert home.json("usage", *within)["total"]["turns"] == turns


@pytest.mark.parametrize("columns", [80, 120, None])
def test_a_table_fits_and_shortens_a_name_in_a_terminal_only(home: Home, columns: int | None) -> None:
    printed = home.run("usage", "--by", "project", columns=columns).stdout.splitlines()

    assert (LONG in "\n".join(printed)) == (columns is None)
    assert any(line.startswith("(not told)") for line in printed)
    assert printed[-1].startswith("together")
    if columns:
        assert all(cell_len(line) <= 80 for line in printed)


def test_a_spreadsheet_is_given_no_formula(home: Home) -> None:
    printed = home.run("usage", "--by", "project", "--csv").stdout

    head, *rows = csv.reader(StringIO(printed))
    assert head == ["project", "turns", "credits", "inputTokens", "outputTokens", "failed"]
    assert [row[0] for row in rows] == ["shop", "'=HYPERLINK(1)", LONG, ""]
    assert rows[0][1:] == ["2", "2.75", "246912", "2000", "0"]


def test_forgetting_asks_and_a_no_changes_nothing(home: Home) -> None:
    nobody = home.run("usage", "--forget", check=False)
    assert (nobody.returncode, "kiro-auth usage --forget --yes" in nobody.stderr) == (1, True)
    answer(home, "n", "Nothing was changed.")
    assert home.json("usage", "--by", "day")["total"]["turns"] == 5

    answer(home, "y", "The ledger is empty: 5 turns were forgotten.")

    assert home.json("usage", "--by", "day") == {"rows": [], "total": figures(0, 0, 0, 0, 0)}


def answer(home: Home, word: str, then: str) -> None:
    terminal = home.terminal("usage", "--forget")
    terminal.expect_exact("Forget every turn of the ledger? [y/N]: ")
    terminal.sendline(word)
    terminal.expect_exact(then)
    terminal.expect(pexpect.EOF)
    terminal.close()


def test_a_pace_of_enough_turns_says_when_the_plan_runs_out(tmp_path: Path, services) -> None:
    """Early in a month: in the last hours of one it does not run out, as it begins anew before."""
    home = Home(tmp_path)
    simulator = services.begin(home, auto_approve=True)
    simulator.ask("advance", {"seconds": NOON - time.time()})
    with frozen(NOON):
        home.run("login", "--builder-id", "--no-browser")
        assert home.json("usage")["accounts"][0]["forecast"] is None
        [account] = home.accounts()
        ledger = SqliteFile(home.state / "ledger.sqlite3")
        usage = Usage(Figure(1, "measured"), Figure(1, "measured"), credits=90.0)
        days = [NOON - day * DAY for day in range(10)]
        ledger.add([row_of(turn_ended(account["id"], when=day, usage=usage)) for day in days])
        ledger.close()
        simulator.ask("user", {"email": account["email"], "used": 990, "limit": 1000})

        [row] = home.json("usage")["accounts"]
        told = home.run("usage").stdout

    assert row["forecast"]["creditsPerDay"] == 100.0
    ends = datetime.fromisoformat(row["forecast"]["runsOutAt"]).timestamp()
    assert ends == pytest.approx(NOON + DAY / 10, abs=1)
    assert "At your pace, 100 credits a day, it is used up " in told


def test_where_nothing_is_found_the_reason_is_said(home: Home, tmp_path: Path) -> None:
    def said(whose: Home, *words: str) -> str:
        return whose.run("usage", "--by", "day", *words).stdout

    assert said(home, "--since", "2030-01-01") == "The ledger has no turns of that time.\n"
    new = Home(tmp_path / "new")
    assert said(new).startswith("The ledger has no turns yet.")
    new.environment["KIRO_LEDGER"] = "false"
    assert said(new) == "Turns are not kept: the option ledger is false.\n"


@pytest.mark.parametrize(
    "words", ["--forget --yes --until 2026-01-01", "--diet --by model", "--diet --csv", "--forget --diet"]
)
def test_what_does_not_go_together_is_refused_and_nothing_is_forgotten(home: Home, words: str) -> None:
    refused = home.run("usage", *words.split(), check=False)

    assert refused.returncode == 2
    assert "exclude each other" in refused.stderr
    assert home.json("usage", "--by", "day")["total"]["turns"] == 5
