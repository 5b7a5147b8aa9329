"""The account of KIRO_API_KEY: there while the variable is, and written down nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.programs import Home

NAME = "key in KIRO_API_KEY"
SECRET = "ksk_simulated_ada_0001"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.environment["KIRO_API_KEY"] = SECRET
    return home


@pytest.mark.parametrize(
    "arguments",
    [
        ("accounts", "remove", NAME),
        ("logout", NAME),
        ("accounts", "disable", NAME),
        ("accounts", "enable", NAME),
        ("accounts", "set", NAME, "--label", "Mine"),
    ],
)
def test_nothing_of_it_can_be_changed(home: Home, arguments: tuple[str, ...]) -> None:
    done = home.run(*arguments, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("To be rid of it: unset KIRO_API_KEY\n")


def test_an_export_leaves_it_out_and_writes_no_file_without_another(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"

    done = home.run("accounts", "export", str(path), check=False)

    assert done.returncode == 1
    assert "note: The key in KIRO_API_KEY is left out" in done.stderr
    assert "There is no account to export; no file was written (KA-NO-ACCOUNT)." in done.stderr
    assert not path.exists()


def test_an_export_of_other_accounts_does_not_hold_it(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    with home.simulator("--auto-approve"):
        home.run("login", "--builder-id", "--no-browser")

    done = home.run("accounts", "export", str(path))

    assert "The key in KIRO_API_KEY is left out" in done.stderr
    assert SECRET not in path.read_text()
    assert "refreshToken" in path.read_text()
