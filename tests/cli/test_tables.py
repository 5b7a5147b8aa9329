"""Tables in a terminal: whatever its width, nothing is cut, and what is to be copied stands on one line."""

from __future__ import annotations

import pytest

from cli.conftest import Stage

LONG = "The account of the department for everything"


@pytest.fixture(autouse=True)
def long_name(stage: Stage) -> None:
    stage.store.change_account(stage.ids[1], {"label": LONG})


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("verb", ["accounts", "models", "status"])
def test_nothing_is_cut_and_names_are_whole(stage: Stage, verb: str, columns: int) -> None:
    lines = stage.lines(verb, columns=columns)

    assert not any("…" in line for line in lines)
    assert any(LONG in line for line in lines)
    assert any("──" in line for line in lines)


def test_models_are_whole(stage: Stage) -> None:
    models = [model["id"] for model in stage.home.json("models")["models"]]

    shown = stage.lines("models", columns=80)
    assert [name for name in models if not any(line.startswith(f"{name}  ") for line in shown)] == []


def test_what_does_not_fit_stands_below_its_row_with_its_column(stage: Stage) -> None:
    wide, narrow = (stage.lines("accounts", columns=columns) for columns in (200, 80))

    assert wide[0].split()[-1] == "e-mail"
    assert len([line for line in narrow if line.startswith("  e-mail: ")]) == 2


def test_a_remedy_has_a_line_of_its_own(stage: Stage) -> None:
    stage.store.change_account(stage.ids[1], {"state": "suspended", "stateCode": "KA-SUSPENDED"})
    stage.store.change_account(stage.ids[0], {"state": "disabled", "stateReason": "switched off by you"})

    lines = stage.home.run("accounts").stdout.splitlines()

    assert lines[-4:-1] == [
        "a***@example.com: switched off by you",
        "  kiro-auth accounts enable 'a***@example.com'",
        f"{LONG}: AWS has locked the account (KA-SUSPENDED).",
    ]
    assert lines[-1].endswith(f"kiro-auth accounts verify '{LONG}'")
