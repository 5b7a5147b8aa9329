"""`usage` as people read it: within the width, figures below each other, bars that do not lie."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.accounts.usage_row import percent
from kiro_auth.cli.usage_table import bar_of, print_in_terminal

NOW = 1_796_000_000.0  # 2026-11-30
NOTHING: dict[str, Any] = {
    "account": "Ada", "plan": "KIRO PRO", "used": None, "usedSince": None, "lastTurn": None, "limit": None,
    "share": None, "resetAt": None, "asOf": None, "parts": [], "overage": None,
}  # fmt: skip
PLAN = {
    "kind": "plan",
    "resource": "CREDIT",
    "used": 1000.0,
    "limit": 1000.0,
    "endsAt": "2027-01-01T00:00:00+00:00",
}
SEVERAL = {
    **NOTHING,
    "used": 1512.5,
    "limit": 1650.0,
    "resetAt": "2027-01-01T00:00:00+00:00",
    "asOf": "2026-11-30T00:00:00+00:00",
    "usedSince": 0.5,
    "lastTurn": 0.13,
    "parts": [
        PLAN,
        {
            "kind": "trial",
            "resource": "CREDIT",
            "used": 500.0,
            "limit": 500.0,
            "endsAt": "2027-02-03T00:00:00+00:00",
        },
        {"kind": "bonus", "resource": "CREDIT", "used": 12.5, "limit": 150.0},
    ],
    "overage": {"enabled": True, "used": 3.2, "limit": 100.0, "charges": 0.13, "currency": "USD"},
}


def shown(rows: list[dict[str, Any]], columns: int, capsys: Any, monkeypatch: Any) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_in_terminal(rows, NOW)
    return capsys.readouterr().out.splitlines()


@given(st.floats(0, 3), st.integers(1, 40))
def test_a_bar_is_full_only_when_nothing_is_left_and_empty_only_when_nothing_is_used(
    share: float, size: int
) -> None:
    bar = bar_of(share, size)

    assert len(bar) == size
    assert ("░" not in bar) >= (share >= 1)
    if size > 1:
        assert ("░" not in bar) == (share >= 1)
        assert ("█" not in bar) == (share == 0)


@given(st.floats(0, 3))
def test_nought_and_a_hundred_per_cent_are_said_only_where_they_are_true(share: float) -> None:
    assert (percent(share) == "0%") == (share == 0)
    assert (int(percent(share).strip("<%")) >= 100) == (share >= 1 - 1e-10)


@pytest.mark.parametrize("columns", [80, 120])
def test_several_quotas_are_below_each_other_within_the_width(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown([SEVERAL], columns, capsys, monkeypatch)

    assert lines[0] == "Ada, KIRO PRO"
    assert [line[2:13].strip() for line in lines[1:6]] == [
        "plan",
        "free trial",
        "bonus",
        "together",
        "beyond plan",
    ]
    assert len({line.index(" of ") for line in lines[1:6]}) == 1
    assert all(len(line) <= columns for line in lines)
    assert "1,513.00 of 1,650.00" in lines[4]
    assert "resets Jan 1, 2027, in " in lines[1]
    assert lines[5].endswith("costs 0.13 USD")
    assert "0.50 metered since then" in " ".join(lines[6:])


def test_what_is_not_known_is_no_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown([NOTHING], 80, capsys, monkeypatch) == [
        "Ada, KIRO PRO",
        "  plan  ?",
        "  Kiro has not said yet what is used",
    ]


@given(st.floats(0, 1e9), st.floats(1, 1e9))
def test_no_figures_make_a_line_too_wide(used: float, limit: float) -> None:
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print_in_terminal(
            [{**NOTHING, "used": used, "limit": limit, "resetAt": PLAN["endsAt"], "asOf": None}], NOW
        )

    assert all(len(line) <= 80 for line in out.getvalue().splitlines())
