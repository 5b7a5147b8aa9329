"""What accounts are called: whatever name one is given, it can be found by."""

from __future__ import annotations

import pytest

from cli.conftest import Stage

NAMES = ["a***@example.com", "g***@example.com"]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        pytest.param("g***@example.com", "another account is called 'g***@example.com'", id="taken"),
        pytest.param("G***@Example.com", "another account is called", id="taken in another case"),
        pytest.param("  ", "must not be blank", id="blank"),
        pytest.param("one\ntwo", "must be one line", id="two lines"),
        pytest.param("a\x1b[31mb", "control characters", id="control characters"),
        pytest.param("x" * 61, "60 characters at most", id="long"),
        pytest.param("me (ada@example.com)", "must hold no e-mail address", id="e-mail"),
    ],
)
def test_a_label_that_is_of_no_use_is_refused(stage: Stage, label: str, words: str) -> None:
    done = stage.home.run("accounts", "set", stage.ids[0], "--label", label, check=False)

    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert [a["name"] for a in stage.home.json("accounts")["accounts"]] == NAMES


def test_an_empty_one_is_taken_back_and_its_own_one_is_free(stage: Stage) -> None:
    set_ = ("accounts", "set", stage.ids[0], "--label")

    assert stage.home.json(*set_, "x" * 60)["name"] == "x" * 60
    assert stage.home.json(*set_, "Work")["name"] == "Work"
    assert stage.home.json(*set_, "Work")["name"] == "Work"
    assert stage.home.json(*set_, "")["name"] == NAMES[0]


def test_a_start_of_an_id_that_is_too_short_is_told_as_such(stage: Stage) -> None:
    short = stage.home.run("accounts", "show", stage.ids[0][:5], check=False)
    enough = stage.home.json("accounts", "show", stage.ids[0][:6])

    assert "The start of an id needs 6 characters or more (KA-ACCOUNT)." in short.stderr
    assert enough["id"] == stage.ids[0]
