"""Every SQL statement for a shared database, held to what engines beside PostgreSQL take.

CockroachDB and YugabyteDB speak PostgreSQL's protocol.  They were not run here; what they document as missing
or different is in docs/store.md, with its sources, and each row below is one of those.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from kiro_auth.store.schema import STEPS

PROGRAM: Final = Path(__file__).parents[2] / "src" / "kiro_auth"
_OF_THE_DATABASE: Final = re.compile(
    r"^\s*(import psycopg|from (psycopg|kiro_auth\.store\.schema) )", re.MULTILINE
)
_STATEMENT: Final = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|LOCK|SET|LISTEN|NOTIFY|BEGIN|CALL|DO|COPY|TRUNCATE"
    r"|MERGE|SAVEPOINT|VALUES)\s"
)

UNSUPPORTED: Final = {
    "advisory locks": r"advisory",
    "locks of tables": r"\bLOCK\s+TABLE\b|^\s*LOCK\b",
    "stored procedures and functions": r"\bCREATE\s+(OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE)\b|^\s*(CALL|DO)\b",
    "triggers and rules": r"\bCREATE\s+(TRIGGER|RULE|EVENT)\b",
    "temporary tables": r"\b(TEMP|TEMPORARY)\b",
    "serial columns, which are no counters there": r"\b(BIG|SMALL)?SERIAL\b",
    "rows passed over, which older releases lack": r"\bSKIP\s+LOCKED\b|\bNOWAIT\b",
    "exclusion and deferrable constraints": r"\bEXCLUDE\b|\bDEFERRABLE\b",
    "inherited tables": r"\bINHERITS\b",
    "generated columns": r"\bGENERATED\s+ALWAYS\b",
    "unlogged tables": r"\bUNLOGGED\b",
    "MERGE": r"^\s*MERGE\b",
    "COPY": r"^\s*COPY\b",
    "cursors": r"\bDECLARE\b.*\bCURSOR\b",
    "physical row ids": r"\bctid\b|\bxmin\b",
    "two-phase commits": r"\bPREPARE\s+TRANSACTION\b",
    "isolation that is asked for": r"\bISOLATION\s+LEVEL\b",
}
"""What neither may be used, by name."""
NOTICES: Final = re.compile(r"^\s*(LISTEN|NOTIFY)\b")


def statements() -> Iterator[tuple[str, str, str]]:
    """Module, function and text of each statement; what is put into an f-string counts as a name."""
    for path in sorted(PROGRAM.rglob("*.py")):
        text = path.read_text()
        if not _OF_THE_DATABASE.search(text):
            continue
        tree = ast.parse(text)
        inside = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for function, node in _with_functions(tree, "the module"):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "name" for p in node.values]
                said = "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
                said = node.value
            else:
                continue
            if _STATEMENT.match(said):
                yield str(path.relative_to(PROGRAM)), function, said


def _with_functions(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        inner = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = child.name
        yield inner, child
        yield from _with_functions(child, inner)


@functools.cache
def every_statement() -> tuple[tuple[str, str, str], ...]:
    """Read for the first test that asks: each process that collects the tests would else read them."""
    return tuple(statements())


def test_all_statements_are_found() -> None:
    """Those of each step, and others of each room that has some: an empty list would prove nothing."""
    texts = {text for *_, text in every_statement()}

    assert {statement for step in STEPS for statement in step} <= texts
    assert {module.split("/")[0] for module, *_ in every_statement()} >= {"store"}
    assert len(every_statement()) >= 20


@pytest.mark.parametrize("feature", UNSUPPORTED)
def test_no_statement_needs_what_distributed_engines_lack(feature: str) -> None:
    pattern = re.compile(UNSUPPORTED[feature], re.IGNORECASE | re.DOTALL)

    assert [(module, text) for module, _, text in every_statement() if pattern.search(text)] == []


def test_the_patterns_find_what_they_are_for() -> None:
    """Each once, in a statement of PostgreSQL's manual."""
    examples = {
        "advisory locks": "SELECT pg_advisory_lock(1)",
        "locks of tables": "LOCK TABLE films IN SHARE MODE",
        "stored procedures and functions": "CREATE OR REPLACE FUNCTION f() RETURNS integer",
        "triggers and rules": "CREATE TRIGGER t BEFORE UPDATE ON a",
        "temporary tables": "CREATE TEMP TABLE a (b integer)",
        "serial columns, which are no counters there": "CREATE TABLE a (b bigserial)",
        "rows passed over, which older releases lack": "SELECT 1 FROM a FOR UPDATE SKIP LOCKED",
        "exclusion and deferrable constraints": "CREATE TABLE a (b integer UNIQUE DEFERRABLE)",
        "inherited tables": "CREATE TABLE a () INHERITS (b)",
        "generated columns": "CREATE TABLE a (b integer GENERATED ALWAYS AS (c) STORED)",
        "unlogged tables": "CREATE UNLOGGED TABLE a (b integer)",
        "MERGE": "MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE",
        "COPY": "COPY a FROM STDIN",
        "cursors": "DECLARE a CURSOR FOR SELECT 1",
        "physical row ids": "SELECT ctid FROM a",
        "two-phase commits": "PREPARE TRANSACTION 'a'",
        "isolation that is asked for": "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    }

    assert examples.keys() == UNSUPPORTED.keys()
    for feature, example in examples.items():
        assert re.search(UNSUPPORTED[feature], example, re.IGNORECASE | re.DOTALL), feature


def test_notices_are_in_two_places_alone() -> None:
    """Those that are asked first whether the engine has them; tests/fleet/test_engines.py sees it run."""
    found = {(module, function) for module, function, text in every_statement() if NOTICES.match(text)}

    assert found == {("store/mirror.py", "_listen"), ("store/database.py", "give_notice")}
