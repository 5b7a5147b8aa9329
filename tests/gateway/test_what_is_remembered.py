"""What a gateway remembers of all that clients name has a bound: it runs for weeks."""

from __future__ import annotations

import ast
import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

from kiro_auth.accounts.account import Account
from kiro_auth.events import Instead
from kiro_auth.failures import Failure
from kiro_auth.gateway import control
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.catalog import Catalog
from kiro_auth.gateway.control import Control
from kiro_auth.gateway.draft import FieldRefusals
from kiro_auth.gateway.notices import Notices
from kiro_auth.kiro.edge.answer import LineFailed
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.kiro.models import Choice, Model
from kiro_auth.store.local import LocalHomes
from support.exchange import Client, Service
from support.pool import Stage
from support.turns import turn_ended

SOURCE = Path(__file__).parents[2] / "src" / "kiro_auth"
COMMANDS = {"cli", "clients", "demo", "doctor", "opencode", "report", "service", "simulator"}
"""Rooms whose processes end with what they do."""
GROW = {"add", "append", "appendleft", "setdefault"}
SHRINK = {"pop", "popitem", "popleft", "clear", "discard", "remove"}

OF_ONE: Final = {
    *("_Request", "Waits", "Wanted", "HeadReader"),  # request
    *("Attachments", "_Builder", "Entries", "_Rewriter", "Tools"),  # request to the service
    *("AnswerFilter", "Reader", "ToolCalls"),  # answer of the service
    *("AnthropicWhole", "ChatWhole", "CompactedWhole", "ResponsesStream"),  # answer
    "DeviceSignIn",
}
"""What is there for one request, one answer or one sign-in, and gone with it."""
BOUNDED: Final = {
    # A figure, a moment or a name for each account that ever was there.
    "Assignments._failed": "accounts",
    "Assignments._of_several": "accounts",
    "Catalog._read_at": "accounts",
    "Notices._first": "accounts",
    "Pool._in_flight": "accounts",
    "Pool._last_used": "accounts",
    "Searcher._tools": "accounts",
    "Upkeep._last_turn": "accounts",
    "UsageSync._read_at": "accounts",
    # What the services have.
    "Endpoints._orders": "regions",
    "KiroClient._worked": "regions",
    "Trust._sessions": "hosts of the services",
    # What the program has.
    "ByNeed._imported": "APIs",
    "Counting._books": "kinds of budgets",
    "OwnSpending._spending": "periods",
    "Server._doors": "sockets that listen",
    "Spending._ends": "periods",
    "Spending._spent": "client keys, in a period",
    # What counts what it holds.
    "Bounded._names": "so many",
    "Counters.credits": "names of Bounded",
    "Counters.refreshes": "outcomes",
    "Counters.retries": "codes of failures",
    "Counters.tokens": "names of Bounded",
    "Counters.turns": "names of Bounded",
    "Notices._notices": "a deque of so many",
    "head._NAMES": "so many",
}
"""What grows and never shrinks, and by what it is bounded all the same."""

NAMES = [f"name-{number}" for number in range(5000)]
FULL = Failure(code="KA-CAPACITY", message="Full.")


def remembered(holder: object) -> int:
    """How many things it holds in collections of its own."""
    held = vars(holder).values()
    return sum(len(part) for part in held if isinstance(part, dict | set | list | deque))


@pytest.mark.outside
async def test_ways_to_addresses_are_forgotten() -> None:
    async with Lines(Trust()) as lines:
        for name in NAMES[:600]:
            with contextlib.suppress(LineFailed):
                await lines.ask(f"http://127.0.0.1:1/{name}", {}, b"", silence=1, proxy=None)
        assert 0 < len(lines._ways) <= 300


@pytest.mark.slow
async def test_conversations_and_names_of_models_are_forgotten(tmp_path: Path) -> None:
    homes, refusals = LocalHomes(), FieldRefusals()
    now = 0.0
    notices = Notices("all", clock=lambda: now, monotonic=lambda: now)
    catalog = Catalog(Service(), lambda *_: None, Stage(tmp_path).pool)  # type: ignore[arg-type]
    for name in NAMES:
        now += 1.0
        homes.settle(name, "a")
        refusals.note(Account(id="a"), Choice(Model(id=name, name=name)))
        turn = turn_ended()
        assert turn.served is not None
        notices.on_turn_ended(replace(turn, served=replace(turn.served, instead=Instead(name, FULL))))
        catalog.resolve(name, ())

    for holder in (homes, refusals, notices, catalog):
        assert 0 < remembered(holder) <= 1100, holder
    assert await homes.home(NAMES[-1]) == "a"
    assert refusals.without(Account(id="a"), Choice(Model(id=NAMES[-1], name="m")))


@cache
def modules() -> list[tuple[str, ast.Module]]:
    """Those of which a gateway is made, by name."""
    paths = [
        path for path in sorted(SOURCE.rglob("*.py")) if path.relative_to(SOURCE).parts[0] not in COMMANDS
    ]
    return [(path.stem, ast.parse(path.read_text())) for path in paths]


def held_by(node: ast.AST, names: frozenset[str]) -> str | None:
    """Of `self.x`, `self.x[…]` or `self.x.setdefault(…)`, the `x`; of names of a module, the name."""
    match node:
        case ast.Subscript(value=inner):
            return held_by(inner, names)
        case ast.Call(func=ast.Attribute(value=inner, attr="setdefault" | "get")):
            return held_by(inner, names)
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return name
        case ast.Name(id=name) if name in names:
            return name
    return None


def only_growing(scope: ast.AST, begin: set[int], names: frozenset[str] = frozenset()) -> set[str]:
    """What is put into and never taken out of in that class or module; `begin` is where all is made."""
    grow, shrink = set[str | None](), set[str | None]()
    for node in ast.walk(scope):
        match node:
            case ast.Attribute(value=inner, attr=name) if name in GROW | SHRINK:
                (grow if name in GROW else shrink).add(held_by(inner, names))
            case ast.Subscript(ctx=ast.Store() | ast.Del() as does):
                (grow if isinstance(does, ast.Store) else shrink).add(held_by(node, names))
            case ast.Attribute(ctx=ast.Store()) | ast.Name(ctx=ast.Store()) if id(node) not in begin:
                shrink.add(held_by(node, names))
    return {name for name in grow - shrink if name is not None}


def inside(*nodes: ast.AST) -> set[int]:
    return {id(part) for node in nodes for part in ast.walk(node)}


def what_only_grows() -> Iterator[str]:
    for module, tree in modules():
        made = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
        names = frozenset(node.id for part in made for node in ast.walk(part) if isinstance(node, ast.Name))
        found = only_growing(tree, inside(*made), names)
        yield from (f"{module}.{name}" for name in sorted(found & names))
        for holder in ast.walk(tree):
            if isinstance(holder, ast.ClassDef):
                begin = [f for f in holder.body if getattr(f, "name", "__init__") == "__init__"]
                yield from (f"{holder.name}.{name}" for name in only_growing(holder, inside(*begin)))


@pytest.mark.slow
def test_what_only_grows_is_known_with_its_bound() -> None:
    """A collection that forgets nothing fails here until it does, or stands in the table with its bound."""
    found = {name for name in what_only_grows() if name.partition(".")[0] not in OF_ONE}

    assert found == set(BOUNDED)


@pytest.mark.slow
def test_every_cache_of_a_function_says_how_many_it_keeps() -> None:
    unbounded = {
        f"{module}.{function.name}"
        for module, tree in modules()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.args.args
        for decorator in map(ast.unparse, function.decorator_list)
        if decorator.rpartition(".")[2] in ("cache", "lru_cache", "lru_cache(maxsize=None)")
    }

    assert unbounded == {"site._content"}, "by the names of the files that are served"


class SignIn:
    """One that is over at once."""

    async def start(self, *_: Any) -> Any:
        return type("Prompt", (), {"url": "https://a.example", "code": "ABCD", "notice": None})

    async def finish(self) -> Account:
        return Account(id="a", label="Ada's")

    notices: tuple[str, ...] = ()


@pytest.mark.slow
async def test_a_sign_in_that_is_over_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_TOLD_SECONDS", 1.0)
    stage = Stage(tmp_path)
    made = Control(
        stage.store,
        stage.pool,
        Notices("all", clock=lambda: 0.0),
        Activity(),
        keep_usage=lambda: asyncio.sleep(0),
        new_sign_in=SignIn,  # type: ignore[arg-type]
        on_signed_in=lambda _: None,
    )
    sign_in = made.routes()["POST /kiro/login"].waiting
    assert sign_in is not None
    for _ in range(20):
        await sign_in(Client().request("/kiro/login", b"{}"))
    assert remembered(made) > 0

    async with asyncio.timeout(30):
        while remembered(made):
            await asyncio.sleep(0.01)
