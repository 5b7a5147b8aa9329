"""What holds for any ledger: a turn stands there once, as it was; it can be copied and forgotten."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth.events import Caller
from kiro_auth.ledger.copying import copy
from kiro_auth.ledger.matter import Matter, Scope
from kiro_auth.ledger.protocol import Ledger
from kiro_auth.ledger.reading import Total, every_row, of_key, recent
from kiro_auth.ledger.row import ENDINGS, Row, row_of
from kiro_auth.reply_usage import InputParts
from support.examples import examples
from support.ledgers import KINDS, Ledgers, with_rows
from support.postgres import Cluster
from support.turns import turn_ended

NOW = 1_800_000_000.0
SCOPES: tuple[Scope, ...] = ("day", "project")
TEXTS = st.none() | st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=9)
FIGURES = st.none() | st.integers(0, 2**40)
SECONDS = st.floats(0, 1e6)
ROWS = st.builds(
    Row,
    when=st.floats(NOW - 86400, NOW),
    caller=st.sampled_from(["owner", "ci"]),
    client=TEXTS, session=TEXTS, project=TEXTS, surface=st.just("/v1/messages"), kind=TEXTS,
    model_asked=TEXTS, model=TEXTS, account=TEXTS, account_name=TEXTS,
    credits=st.none() | st.floats(0, 100),
    input_tokens=FIGURES, input_source=st.sampled_from([None, "measured"]),
    output_tokens=FIGURES, output_source=st.sampled_from([None, "estimated"]),
    first_byte=st.none() | SECONDS, seconds=SECONDS,
    attempts=st.lists(st.sampled_from(["KA-QUOTA", "KA-THROTTLE"])).map(tuple),
    repairs=st.lists(st.sampled_from(["an orphan", "a “gap”"])).map(tuple),
    outcome=st.sampled_from([*ENDINGS, "KA-QUOTA"]),
    request_id=st.text("abcdef0123456789", min_size=1, max_size=3),
    thrift_for=TEXTS,
    input_parts=st.none() | st.builds(InputParts, *[st.integers(0, 10**9)] * 4),
)  # fmt: skip
MANY = st.lists(ROWS, max_size=12, unique_by=lambda row: row.request_id)


@pytest.fixture(params=KINDS)
def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledgers]:
    ledgers = Ledgers(request.param, tmp_path, lambda: request.getfixturevalue("postgres"), lambda: NOW)
    yield ledgers
    ledgers.close()


def all_rows(ledger: Ledger) -> list[Row]:
    return [row for rows in every_row(ledger) for row in rows]


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def in_order(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row.when, row.request_id))


@settings(max_examples=examples(60), deadline=None)
@given(first=MANY, second=MANY)
def test_copied_to_and_fro_and_again_each_turn_is_there_once_and_as_it_was(
    postgres_ledger: Ledger, first: list[Row], second: list[Row]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, back = (
            Ledgers("file", Path(folder) / name, pytest.fail, lambda: NOW).another() for name in ("a", "b")
        )
        database = postgres_ledger
        database.forget()
        assert file.add_missing(first) == len(first)
        assert copy(file, database) == len(first)
        merged = {row.request_id: row for row in [*second, *first]}
        assert database.add_missing(second) == len(merged) - len(first)
        assert copy(file, database) == 0
        assert copy(database, back) == len(merged)
        assert copy(database, back) == copy(back, database) == 0

        expected = in_order(list(merged.values()))
        assert all_rows(database) == all_rows(back) == expected
        assert recent(database, 5) == expected[::-1][:5]


@pytest.fixture(scope="module")
def postgres_ledger(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    ledgers = Ledgers("database", tmp_path_factory.mktemp("ledger"), lambda: postgres, lambda: NOW)
    yield ledgers.another()
    ledgers.close()


async def test_what_a_gateway_recorded_is_there_for_others_once_it_has_ended(ledgers: Ledgers) -> None:
    recorder = ledgers.another().recorder(
        counts=False, on_counted=lambda *_: None, on_trouble=lambda _: pytest.fail("nothing is wrong")
    )
    for number in range(700):
        for listener in recorder.listeners:
            listener.on_turn_ended(turn_ended(when=NOW + number, request_id=f"req_{number:03}"))
    await recorder.close()

    assert [row.request_id for row in all_rows(ledgers.another())] == [f"req_{n:03}" for n in range(700)]
    assert not [path for path in ledgers.folder.rglob("*") if path.suffix in (".jsonl", ".lock")]


async def test_what_is_forgotten_is_gone_and_budgets_go_on_from_what_they_had_counted(
    ledgers: Ledgers,
) -> None:
    recorder = ledgers.another().recorder(
        counts=True, on_counted=lambda *_: None, on_trouble=lambda _: pytest.fail("nothing is wrong")
    )
    try:
        for listener in recorder.listeners:
            listener.on_turn_ended(turn_ended(when=NOW, metered=2, request_id="req", project="shop"))
        matter = Matter(session=None, project="shop", caller="owner")
        assert await recorder.spent(matter, SCOPES) == {"day": 2, "project": 2}
        until(lambda: all_rows(ledgers.another()))

        assert ledgers.another().forget() == 1
        assert all_rows(ledgers.another()) == []
        assert await recorder.spent(matter, SCOPES) == {"day": 2, "project": 2}
        assert ledgers.another().forget() == 0
    finally:
        await recorder.close()


async def test_what_was_forgotten_and_is_copied_in_again_counts_no_second_time(
    ledgers: Ledgers, tmp_path: Path
) -> None:
    file = Ledgers("file", tmp_path / "copy", pytest.fail, lambda: NOW).another()
    recorder = ledgers.another().recorder(
        counts=True, on_counted=lambda *_: None, on_trouble=lambda _: pytest.fail("nothing is wrong")
    )
    matter = Matter(session=None, project="shop", caller="owner")
    scopes: tuple[Scope, ...] = ("day", "project", "key")
    try:
        for name in ("req_a", "req_b"):
            for listener in recorder.listeners:
                listener.on_turn_ended(turn_ended(when=NOW, metered=2, request_id=name, project="shop"))
        until(lambda: len(all_rows(ledgers.another())) == 2)
        counted = await recorder.spent(matter, scopes)
        assert copy(ledgers.another(), file) == 2

        for new in (2, 2, 0):
            if new:
                assert ledgers.another().forget() == 2
            assert copy(file, ledgers.another()) == new, "they are there again"
            assert await recorder.spent(matter, scopes) == counted
        assert all_rows(ledgers.another()) == all_rows(file)
        for listener in recorder.listeners:
            listener.on_turn_ended(turn_ended(when=NOW, metered=1, request_id="req_c", project="shop"))
        until(lambda: len(all_rows(ledgers.another())) == 3)
        assert (await recorder.spent(matter, scopes))["project"] == counted["project"] + 1
    finally:
        await recorder.close()


def test_the_figures_of_a_key_are_its_own_and_zero_without_turns(ledgers: Ledgers) -> None:
    ledger = ledgers.another()
    assert of_key(ledger, "ci", NOW - 60) == Total("ci", 0, 0.0, 0, 0, 0)
    callers = [Caller(id=key, name=key) for key in ("ci", "ci", "ann", "ci")]
    rows = [
        row_of(turn_ended(metered=0.5, request_id=f"r{n}", when=NOW - 10 * n, caller=caller))
        for n, caller in enumerate(callers)
    ]
    with_rows(ledger, rows)

    assert of_key(ledger, "ci", NOW - 15).turns == 2
    assert of_key(ledger, "ci", NOW - 60).credits == 1.5
    assert of_key(ledger, "bob", NOW - 60) == Total("bob", 0, 0.0, 0, 0, 0)
