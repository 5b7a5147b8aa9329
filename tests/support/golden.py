"""What commands print, as files that a person can read: at 80 and 120 columns and in a pipe.

    make golden        write tests/golden anew, after a look at what has changed: git diff tests/golden

The time is frozen, and paths, ports, keys, ids and versions are others of the same length, so that the files
are the same on every machine.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from difflib import unified_diff
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from unittest import mock

from msgspec import Struct

import kiro_auth
from kiro_auth import __version__
from support import in_process, systemctl
from support.processes import until_gone
from support.programs import Home, Simulator, services
from support.storing import HandStore

_PROGRAM: Final = Path(kiro_auth.__file__).parent
FOLDER: Final = Path(__file__).parents[1] / "golden"
WRITING: Final = bool(os.environ.get("KIRO_WRITE_GOLDEN"))
NOW: Final = datetime(2026, 11, 29, 14, 0, tzinfo=UTC).timestamp()
"""When it is, in a zone where the clocks say 15:00."""
ZONE: Final = "CET-1CEST,M3.5.0,M10.5.0/3"
WIDTHS: Final = (80, 120)
_SHOWN_HOME: Final = "/home/ann-lane"
"""As long as the homes that are made here."""
_RESET: Final = datetime(2026, 12, 1, tzinfo=UTC).timestamp()


class Row(Struct, frozen=True):
    """A command of a golden file, with so many accounts.  NAME stands for the first account's name."""

    words: tuple[str, ...]
    counts: tuple[int, ...] = (0, 1, 3)
    widths: tuple[int | None, ...] = (None, *WIDTHS)
    before: tuple[tuple[str, ...], ...] = ()
    """What is done before."""
    answers: tuple[tuple[str, str], ...] = ()
    """What a person types in a terminal where accounts are to be asked about: the end of each question, and
    the answer."""


class Scene:
    """Homes with no account, with one, and with three: throttled, out of credits, signed out.

    It is always the time `now`; without one, it is as late as it is.
    """

    def __init__(self, simulator: Simulator, environment: Mapping[str, str], now: float | None) -> None:
        self._simulator = simulator
        self._frozen = now
        self._made = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))
        self._kept = Path(tempfile.mkdtemp())
        assert len(str(self._made)) <= len(_SHOWN_HOME)
        self._folder = self._made.with_name(self._made.name.ljust(len(_SHOWN_HOME) - 5, "0"))
        self._made.rename(self._folder)
        self.home = Home(self._folder)
        self.home.environment |= {
            **environment,
            "TZ": ZONE,
            "PATH": str(self._kept / "bin"),
            "SHELL": "/bin/bash",
        }
        self.ids: list[str] = []
        self._make()

    def close(self) -> None:
        shutil.rmtree(self._folder)
        shutil.rmtree(self._kept)

    def begin(self, accounts: int) -> Home:
        """The home with so many accounts, as if nothing had happened in it."""
        shutil.rmtree(self._folder)
        shutil.copytree(self._kept / str(accounts), self._folder)
        self._set_clock()
        if accounts:
            self._say_when_usage_was_read(self.home.config / "kiro-usage.json")
        state = {"used": 250 if accounts == 1 else 1000} if accounts else {}
        self._simulator.ask("user", {"email": "ada@example.com", **state})
        return self.home

    def run(
        self, words: tuple[str, ...], columns: int | None, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """A command at the frozen time; in a terminal failures are where the person looks, and types."""
        with frozen(self._frozen) if self._frozen else nullcontext():
            return in_process.run(
                self.named(words),
                self.home.environment,
                stdin=typed if columns is not None else "",
                folder=self._folder,
                columns=columns,
                one_screen=columns is not None,
            )

    def end_gateway(self) -> None:
        """End the one that a command has started, and wait until it writes nothing more into the home."""
        state = self.home.state / "gateway.json"
        pid = json.loads(state.read_text())["pid"] if state.exists() else None
        self.home.stop_gateway()
        if pid is not None:
            until_gone(pid)

    def named(self, words: tuple[str, ...]) -> list[str]:
        accounts = self.home.config / "kiro-accounts.json"
        name = self.home.json("accounts")["accounts"][0]["name"] if accounts.exists() else "nobody"
        return [name if word == "NAME" else word for word in words]

    def masked(self, text: str) -> str:
        return masked(text, str(self._folder), self.ids)

    def _programs(self) -> None:
        """What is on the PATH: kiro-auth itself, and the manager of services of the tests."""
        folder = self._kept / "bin"
        folder.mkdir()
        commands = {"kiro-auth": "-m kiro_auth", "systemctl": systemctl.__file__}
        for name, words in commands.items():
            (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            (folder / name).chmod(0o700)

    def _set_clock(self) -> None:
        now = self._simulator.ask("advance", {"seconds": 0})["time"]
        self._simulator.ask("advance", {"seconds": (self._frozen or time.time()) - now})
        self._simulator.ask("state")  # so that it sees that it is another month, and empties the plans now

    def _make(self) -> None:
        self._programs()
        self._set_clock()
        self._simulator.ask("user", {"email": "grace@example.com", "used": 50, "limit": 50})
        self._simulator.ask("user", {"email": "katherine@example.com"})
        for count in range(4):
            shutil.copytree(self._folder, self._kept / str(count))
            if count == 3:
                break
            done = self.run(("login", "--builder-id", "--no-browser"), None)
            assert done.returncode == 0, done.stderr
        self.ids = [account["id"] for account in self.home.accounts()]
        kept = self._kept / "3" / self.home.config.relative_to(self._folder)
        store = HandStore(kept, self._kept / "locks")
        # Where time passes the throttle must last as long as the tests.
        rest, reset = (NOW + 34, _RESET) if self._frozen else (time.time() + 2040, time.time() + 2e5)
        throttled = {"state": "cooling", "stateCode": "KA-THROTTLE", "stateUntil": round(rest * 1000)}
        spent = {"state": "quota", "stateCode": "KA-QUOTA", "stateUntil": round(reset * 1000)}
        over = {"state": "sign-in", "stateCode": "KA-SIGNIN"}
        for account, fields in zip(self.ids, (throttled, spent, over), strict=True):
            store.change_account(account, fields)
        self._say_when_usage_was_read(kept / "kiro-usage.json")
        self._simulator.ask("revoke", {"user": "katherine@example.com"})

    def _say_when_usage_was_read(self, path: Path) -> None:
        """At the time that it is here: it was read at a sign-in, since when minutes may have passed."""
        usage = json.loads(path.read_text())
        for row in usage["usage"].values():
            row["lastSync"] = round((self._frozen or time.time()) * 1000)
        path.write_text(json.dumps(usage))


def opened(folder: Path, now: float | None = None) -> Iterator[Scene]:
    """A scene at that time, for a fixture.

    Its simulator is no other's: one that is begun anew, as others are between tests, has forgotten who signed
    in here.
    """
    with services(Home(folder)) as own:
        scene = Scene(*own.fresh(auto_approve=True), now)
        try:
            yield scene
        finally:
            scene.close()


def check(name: str, text: str) -> None:
    """The file holds this text, or is given it."""
    path = FOLDER / f"{name}.txt"
    if WRITING:
        path.write_text(text)
    assert path.exists(), f"no {path}; to write it: make golden"
    changes = unified_diff(
        path.read_text().splitlines(), text.splitlines(), str(path), "now", n=0, lineterm=""
    )
    different = "\n".join(changes)
    assert not different, f"if this is meant: make golden, then read git diff\n{different}"


@contextmanager
def frozen(now: float) -> Iterator[None]:
    """The machine's clock stands still, also for what has it as the default of an argument."""
    still, takers = (lambda: now), _takers_of_a_clock()
    with ExitStack() as patched:
        for function in takers:
            given, named = function.__defaults__ or (), function.__kwdefaults__ or {}
            instead = tuple(still if value is _CLOCK else value for value in given)
            patched.enter_context(mock.patch.object(function, "__defaults__", instead or None))
            instead_named = {name: still if value is _CLOCK else value for name, value in named.items()}
            patched.enter_context(mock.patch.object(function, "__kwdefaults__", instead_named or None))
        patched.enter_context(mock.patch("time.time", still))
        yield


_CLOCK: Final = time.time


@cache
def _takers_of_a_clock() -> list[Any]:
    """The program's functions that have the machine's clock as a default.

    Their modules are imported here: one that is imported while the clock stands still would have that one for
    good, in every test after, and one that was imported before has never heard of it.
    """
    takers = []
    for path in sorted(_PROGRAM.rglob("*.py")):
        if "postgres" in path.parts[-1] or not re.search(r"= time\.time\b(?!\()", path.read_text()):
            continue
        parts = path.relative_to(_PROGRAM.parent).with_suffix("").parts
        module = import_module(".".join(parts))
        held = [module, *(value for value in vars(module).values() if inspect.isclass(value))]
        functions = [value for each in held for value in vars(each).values() if inspect.isfunction(value)]
        takers += [each for each in functions if _CLOCK in _defaults(each)]
    return takers


def _defaults(function: Any) -> tuple[Any, ...]:
    return (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())


def masked(text: str, home: str, ids: list[str]) -> str:
    """The text as it would be anywhere."""
    text = text.replace(home, _SHOWN_HOME)
    for number, account in enumerate(ids):
        for length in (len(account), 8, 6):
            text = text.replace(account[:length], f"{number + 1}{'a' * (length - 1)}")
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text


def _same_length(letter: str) -> Callable[[re.Match[str]], str]:
    return lambda found: found[1] + letter * len(found[2])


_MASKS: Final[tuple[tuple[re.Pattern[str], Any], ...]] = (
    (re.compile(r"(127\.0\.0\.1:|localhost:)(\d+)"), lambda found: f"{found[1]}50000"),
    (re.compile(rf"(?<![\d.]){re.escape(__version__)}(?![\d.])"), "0.0.0"),
    (re.compile(r"Python \d+\.\d+\.\d+, \w+"), "Python 3.11.0, linux"),
    (re.compile(r"plan KIRO (PRO|FREE)\)"), "plan KIRO PRO)"),  # whoever is the next to sign in
    (re.compile(r"Signed in: [agk]\*"), "Signed in: a*"),
    (re.compile(r"(process )(\d+)"), lambda found: f"{found[1]}4242"),
    (re.compile(r"(^kak_)([\w-]{43})(?!\S)", re.MULTILINE), _same_length("k")),
    (re.compile(r"((?:KEY=|TOKEN=|^))([\w-]{43})(?!\S)", re.MULTILINE), _same_length("k")),
    (re.compile(re.escape(sys.executable)), "/usr/bin/python3"),
    (re.compile(re.escape(str(Path(__file__).parents[2]))), "/home/ann/opencode-kiro-auth"),
    (re.compile(r"\b[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}\b"), "BCDF-GHJK"),
)

WHEN: Final = re.compile(
    r"(?:(?:today|tomorrow|yesterday) \d\d:\d\d, |[A-Z][a-z]{2} \d+,(?: \d{4},)? )?"
    r"(?:in \d+ (?:s|min|h|days?|years)|\d+ (?:s|min|h|days?|years) ago|now)\b"
)


def in_any_width(text: str) -> str:
    """The words of a text alone, without times: what two runs at different times have in common."""
    words = " ".join(re.sub(r"\x1b\[[0-9;]*[mK]", "", text).split())
    return WHEN.sub("WHEN", words)


def section(row: Row, count: int, columns: int | None, done: subprocess.CompletedProcess[str]) -> str:
    """One run, under the line that a person types."""
    accounts = {0: "no account", 1: "1 account", 3: "3 accounts"}[count]
    place = "in a pipe" if columns is None else f"{columns} columns"
    after = "".join(f", after {' '.join(words)}" for words in row.before)
    text = f"##### {accounts}, {place}{after}: kiro-auth {' '.join(row.words)}\n{done.stdout}"
    if done.stdout and not done.stdout.endswith("\n"):
        text += "\n"
    if done.stderr:
        text += "".join(f"(stderr) {line}\n" for line in done.stderr.splitlines())
    return text + (f"(exit code {done.returncode})\n" if done.returncode else "")
