"""`accounts import` before it imports: what is told of each sign-in, and what happens without an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.programs import Home


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Two accounts of one kind at one place."""
    rows = [
        {
            "id": id_ * 16,
            "authMethod": "idc",
            "email": email,
            "accessToken": "a",
            "refreshToken": "r",
            "clientId": "c",
            "clientSecret": "s",
        }
        for id_, email in (("a1", "ada@example.com"), ("b2", "anna@example.com"))
    ]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"kiro-auth-export": 1, "accounts": rows}))
    return path


def test_two_of_one_program_can_be_told_apart_without_their_e_mails(tmp_path: Path, export: Path) -> None:
    home = Home(tmp_path)
    listed = home.run("accounts", "import", "--from", str(export), check=False).stdout
    found = home.json("accounts", "import", "--from", str(export))["found"]

    assert "a***@example.com a1a1a1a1" in listed
    assert "a***@example.com b2b2b2b2" in listed
    assert [(row["email"], row["id"][:4]) for row in found] == [
        ("a***@example.com", "a1a1"),
        ("a***@example.com", "b2b2"),
    ]
    assert "ada@" not in listed + json.dumps(found)


def test_where_nobody_can_be_asked_nothing_is_imported_and_that_is_no_success(
    tmp_path: Path, export: Path
) -> None:
    home = Home(tmp_path)
    done = home.run("accounts", "import", "--from", str(export), check=False)

    assert done.returncode == 1
    assert done.stderr.endswith(f"kiro-auth accounts import --from {export} --yes\n")
    assert home.json("accounts") == {"accounts": [], "unreadable": []}
