"""Commands without a name: in a terminal the person picks, elsewhere the error lists the names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from support.programs import Home
from support.storing import HandStore

ADA, WORK = "a***@example.com", "Work"
ACCOUNTS = [
    {"id": "a" * 32, "realEmail": "ada@example.com", "accessToken": "t", "expiresAt": 4e12},
    {"id": "b" * 32, "label": WORK, "realEmail": "grace@example.org", "accessToken": "t", "expiresAt": 4e12},
]
CTRL_C, CTRL_D = "\x03", "\x04"
VERBS = ["logout", "accounts remove", "accounts show", "accounts enable", "accounts disable", "accounts set"]
PROMPT = "Which account\\? Its number, or its name"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    store = HandStore(home.config, home.state / "locks")
    for record in ACCOUNTS:
        store.add_account(record)
    return home


def keep_one(home: Home) -> None:
    HandStore(home.config, home.state / "locks").remove_account("b" * 32)


def names(home: Home) -> list[str]:
    return [account["name"] for account in home.json("accounts")["accounts"]]


class Terminal:
    """A command of ours in a terminal, and the person before it."""

    def __init__(self, home: Home, command: str) -> None:
        self._child = home.terminal(*command.split(), columns=80)

    def asked(self, what: str, answer: str) -> str:
        """What was shown before the question."""
        self._child.expect(what)
        self._child.send(answer if answer in (CTRL_C, CTRL_D) else f"{answer}\r")
        return str(self._child.before)

    def ends(self) -> tuple[int, str]:
        self._child.expect(pexpect.EOF)
        self._child.close()
        return self._child.exitstatus, str(self._child.before)


# --------------------------------------------------------------------------------- in a terminal


@pytest.mark.parametrize("answer", ["2", "work", "GRACE@example.org", "b" * 6])
def test_the_person_picks_by_number_or_by_what_they_know(home: Home, answer: str) -> None:
    terminal = Terminal(home, "accounts disable")

    shown = terminal.asked(PROMPT, answer)
    code, told = terminal.ends()

    assert [line.split()[:2] for line in shown.splitlines()] == [["1", ADA], ["2", WORK]]
    assert (code, "Work: disabled." in told) == (0, True)
    assert home.json("accounts", "show", WORK)["state"] == "disabled"


def test_a_wrong_answer_is_told_and_asked_again(home: Home) -> None:
    terminal = Terminal(home, "accounts show")

    terminal.asked(PROMPT, "3")
    terminal.asked("There is no number 3 in the list", "0")
    terminal.asked("There is no number 0 in the list", "nobody")
    terminal.asked("No account is called 'nobody'", "example")
    terminal.asked("fits more than one account: a\\*\\*\\*@example.com, Work", "")
    terminal.asked(PROMPT, "1")
    code, told = terminal.ends()

    assert (code, "a***@example.com" in told) == (0, True)


@pytest.mark.parametrize("verb", ["logout", *(pytest.param(v, marks=pytest.mark.clients) for v in VERBS[1:])])
@pytest.mark.parametrize("key", [CTRL_C, CTRL_D], ids=["Ctrl-C", "Ctrl-D"])
def test_who_leaves_changes_nothing(home: Home, verb: str, key: str) -> None:
    terminal = Terminal(home, verb)

    terminal.asked(PROMPT, key)

    code, told = terminal.ends()
    assert (code, "Nothing was changed." in told) == (130, True)
    assert names(home) == [ADA, WORK]


@pytest.mark.parametrize("verb", ["logout", pytest.param("accounts remove", marks=pytest.mark.clients)])
def test_to_forget_is_asked_and_no_means_no(home: Home, verb: str) -> None:
    terminal = Terminal(home, verb)
    terminal.asked(PROMPT, "2")
    terminal.asked("Forget Work, its tokens and its usage\\? \\[y/N\\]", "")
    assert terminal.ends()[0] == 0
    assert names(home) == [ADA, WORK]

    terminal = Terminal(home, f"{verb} work")
    terminal.asked("Forget Work, its tokens and its usage\\?", "y")
    assert "Removed: Work." in terminal.ends()[1]
    assert names(home) == [ADA]


def test_the_only_account_needs_no_name_and_is_forgotten_only_after_a_question(home: Home) -> None:
    keep_one(home)

    assert f"{ADA}: disabled." in Terminal(home, "accounts disable").ends()[1]
    terminal = Terminal(home, "logout")
    terminal.asked("Forget a\\*\\*\\*@example.com, its tokens and its usage\\?", "n")
    assert "Nothing was changed." in terminal.ends()[1]
    assert f"Removed: {ADA}." in Terminal(home, "logout --yes").ends()[1]
    assert names(home) == []


def test_verify_offers_all_of_them_first(home: Home) -> None:
    terminal = Terminal(home, "accounts verify")

    shown = terminal.asked(PROMPT + " \\[0\\]", CTRL_C)

    assert "0  all of them" in shown
    assert terminal.ends()[0] == 130


def test_verify_asks_kiro_about_the_one_that_was_picked(home: Home) -> None:
    home.run("accounts", "disable", WORK)
    home.environment["KIRO_ENDPOINT_MANAGEMENT"] = "http://127.0.0.1:1/{region}"
    terminal = Terminal(home, "accounts verify")
    terminal.asked(PROMPT, "work")

    _, told = terminal.ends()

    assert WORK in told
    assert ADA not in told


# ------------------------------------------------------------------------------ without a terminal


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("one", [False, True], ids=["two accounts", "one account"])
def test_where_nobody_can_be_asked_the_names_are_told(home: Home, verb: str, one: bool) -> None:
    if one:
        keep_one(home)
    # One of them as a process, which has no terminal whatever the test itself runs in.
    done = (home.process if verb == "logout" else home.run)(*verb.split(), check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: No account was named, and nobody can be asked here (KA-ACCOUNT). "
        f"Your accounts: {ADA if one else f'{ADA}, {WORK}'}.\n"
    )
    assert names(home) == ([ADA] if one else [ADA, WORK])


def test_with_json_nobody_is_asked_even_in_a_terminal(home: Home) -> None:
    code, told = Terminal(home, "logout --json").ends()

    assert (code, "No account was named" in told) == (1, True)


@pytest.mark.parametrize("verb", VERBS)
def test_without_accounts_the_way_to_one_is_told(tmp_path: Path, verb: str) -> None:
    done = Home(tmp_path).run(*verb.split(), check=False)

    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: No Kiro account is signed in (KA-NO-ACCOUNT). Sign in: kiro-auth login."
    )


def test_a_script_that_names_an_account_is_not_asked(home: Home) -> None:
    assert home.run("logout", "work").stdout == "Removed: Work.\n"
    assert home.json("accounts", "remove", "ada@example.com")["removed"]["name"] == ADA


@pytest.mark.parametrize("typed", ["nobody@example.com", "exa"])
def test_what_finds_none_or_several_is_an_error_with_the_names(home: Home, typed: str) -> None:
    done = home.run("accounts", "show", typed, check=False)

    assert (done.returncode, f"{ADA}, {WORK}" in done.stderr) == (1, True)
    assert "nobody@" not in done.stderr


def test_looking_writes_nothing_into_the_user_s_files(home: Home) -> None:
    path = home.config / "kiro-accounts.json"
    before = path.read_bytes(), path.stat().st_mtime_ns

    home.run("accounts")
    home.run("accounts", "show", "ada")
    home.run("status", check=False)

    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    ("begun", "completed"), [("", [ADA, WORK]), ("a", [ADA]), ("W", [WORK]), ("x", [])], ids=repr
)
def test_a_shell_completes_names_of_one_word(home: Home, begun: str, completed: list[str]) -> None:
    store = HandStore(home.config, home.state / "locks")
    store.add_account({"id": "c" * 32, "label": "Work of two words", "accessToken": "t", "expiresAt": 4e12})
    program = "import sys; from kiro_auth.cli.pick import completions; print(completions(sys.argv[1]))"

    done = subprocess.run(
        [sys.executable, "-P", "-c", program, begun],
        env=home.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == f"{completed}\n"


def test_a_damaged_file_completes_nothing_and_says_nothing(home: Home) -> None:
    (home.config / "kiro-accounts.json").write_text("{")
    program = "from kiro_auth.cli.pick import completions; print(completions(''))"

    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env=home.environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")
