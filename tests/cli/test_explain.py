"""`kiro-auth explain`, and the codes on what people read."""

from __future__ import annotations

from pathlib import Path

import pexpect
import pytest

from kiro_auth.explanations import CAUSES
from kiro_auth.failures import CATALOGUE
from support.programs import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize("given", ["KA-QUOTA", "ka-quota", "quota", "Quota", "(KA-QUOTA)."])
def test_a_code_is_understood_in_any_case_with_and_without_its_prefix(home: Home, given: str) -> None:
    page = home.run("explain", given).stdout

    assert page.startswith("KA-QUOTA: The account's plan limit is used up.\n")
    words = " ".join(page.split())
    assert CAUSES["KA-QUOTA"] in words
    assert CATALOGUE["KA-QUOTA"].remedy in words
    assert all(len(line) <= 80 for line in page.splitlines())


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_has_a_page_of_the_same_parts(home: Home, code: str) -> None:
    page = home.json("explain", code)

    assert (page["code"], page["means"]) == (code, CATALOGUE[code].title)
    assert (page["causes"], page["whatToDo"]) == (CAUSES[code], CATALOGUE[code].remedy)


def test_without_a_code_all_are_listed_with_a_line_each(home: Home) -> None:
    listed = home.run("explain").stdout.splitlines()[: len(CATALOGUE)]
    narrow = home.run("explain", columns=60).stdout.splitlines()

    told = [line.split(maxsplit=1) for line in listed]
    assert told == [[code, entry.title] for code, entry in CATALOGUE.items()]
    assert [line.split()[0] for line in narrow if line.startswith("KA-")] == list(CATALOGUE)
    assert max(map(len, narrow)) <= 60
    assert [page["code"] for page in home.json("explain")["codes"]] == list(CATALOGUE)


def test_an_unknown_code_is_told_the_nearest_and_all(home: Home) -> None:
    refused = home.run("explain", "throtle", check=False)

    assert refused.returncode == 1
    assert "KA-THROTTLE is the nearest" in refused.stderr
    assert all(code in refused.stderr for code in CATALOGUE)


def test_a_person_is_told_once_how_to_read_more_and_a_program_is_not(home: Home) -> None:
    home.state.parent.mkdir(parents=True)
    home.state.write_text("a file in its place")

    terminal = home.terminal("env", "claude", columns=80)
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert str(terminal.before).count("kiro-auth explain KA-STORE") == 1
    refused = home.run("env", "claude", check=False)
    assert "(KA-STORE)" in refused.stderr
    assert "explain" not in refused.stderr


def test_a_finding_of_doctor_carries_its_code(home: Home) -> None:
    home.config.mkdir(parents=True)
    (home.config / "kiro.json").write_text('{"toast_level": "loud"}')

    shown = home.run("doctor", check=False).stdout
    checks = home.run("doctor", "--json", check=False).stdout

    assert "(KA-CONFIG)" in shown
    assert '"code": "KA-CONFIG"' in checks


def test_the_state_of_an_account_is_said_in_the_words_that_accounts_has(home: Home) -> None:
    said = " ".join(home.run("explain", "quota").stdout.split())

    assert "The account is out of credits from then on: see kiro-auth accounts" in said
