"""A command line that cannot be read is answered in one line of our own: what is wrong, and where to look."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import in_process
from support.programs import Home

OURS = [
    ("usag", "There is no command kiro-auth usag. Did you mean: kiro-auth usage?", ""),
    (
        "accounts shwo",
        "There is no command kiro-auth accounts shwo. Did you mean: kiro-auth accounts show?",
        "accounts ",
    ),
    ("qqq", "There is no command kiro-auth qqq.", ""),
    ("login --builder", "There is no option --builder here. Did you mean --builder-id?", "login "),
    ("-x", "There is no option -x here.", ""),
    ("usage --json=1", "--json takes no value.", "usage "),
    ("serve --port", "--port needs a value.", "serve "),
    ("serve --port x", "--port must be a whole number from 0 to 65535.", "serve "),
    ("serve --port 99999", "--port must be a whole number from 0 to 65535.", "serve "),
    ("serve --idle-minutes -1", "--idle-minutes must be a number, 0 or more.", "serve "),
    ("run", "CLIENT is missing: opencode, claude or codex.", "run "),
    ("install emacs", "CLIENT must be opencode.", "install "),
    ("models a b", "There is nothing to do with: a b.", "models "),
    ("accounts set a --proxy z", "--proxy must be http://host:port or https://host:port.", "accounts set "),
]


@pytest.mark.parametrize(("given", "says", "command"), OURS, ids=[given for given, _, _ in OURS])
def test_what_is_wrong_is_said_in_our_own_words(tmp_path: Path, given: str, says: str, command: str) -> None:
    done = in_process.run(given.split(), Home(tmp_path).environment)

    remedy = f"See: kiro-auth {command}--help"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {says} {remedy}\n")


def test_a_command_without_its_verb_shows_its_help(tmp_path: Path) -> None:
    home = Home(tmp_path)

    assert home.run("config").stdout == home.run("config", "-h").stdout
    assert home.run("config", "-h").stdout == home.run("config", "--help").stdout
