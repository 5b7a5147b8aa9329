"""What people in OpenCode meet when something fails: the table in docs/opencode.md, made by running it.

To write the table anew: `KIRO_WRITE_DOCS=1 make test ARGS="-n0 tests/system/test_opencode_failures.py"`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.opencode import VERSIONS, OpenCode
from support.programs import Home, Services, Simulator

pytestmark = [pytest.mark.real, pytest.mark.clients, pytest.mark.timeout(600)]

PAGE = Path(__file__).parents[2] / "docs" / "opencode.md"
BEGIN, END = "<!-- failures -->\n", "<!-- end -->"
EMAIL = "ada@example.com"
QUICK = 40.0
"""Seconds beyond those of an answer.  OpenCode's own repeats take 70; what it ends by itself takes one."""
NO_EXIT_CODE = ("1.14.48",)
"""Releases that end with 0 whatever happened."""


def refuse(kind: str, reason: str | None = None, message: str = "No.", **more: Any) -> dict[str, Any]:
    refusal = {"type": kind, "message": message, **more} | ({"reason": reason} if reason else {})
    return {"refuse": refusal, "when": {"tools": True}}


def reply(*steps: Any) -> dict[str, Any]:
    return {"steps": list(steps), "when": {"tools": True}}


def script(*replies: Any) -> Callable[[Simulator], None]:
    return lambda simulator: simulator.script(*replies)


def ask(path: str, body: Any) -> Callable[[Simulator], None]:
    return lambda simulator: simulator.ask(path, body)


@dataclass
class Case:
    """One failure: what is arranged, what must be read, how many turns OpenCode may ask for.

    `code` is the exit code of releases that have one for failures.  `later`: it meets a session under way.
    """

    arrange: Callable[[Simulator], None]
    reads: str
    turns: int = 1
    code: int = 1
    later: bool = False
    quick: bool = True
    environment: dict[str, str] = field(default_factory=dict)


# Older releases print nothing of a reply that comes in one burst.
HELLO = reply({"text": "Hello"}, {"pause": 0.6}, {"text": " there."}, {"pause": 0.6})
HANG = Case(
    script(reply({"hang": 200})),
    "did not begin to answer in time",
    quick=False,
    environment={"KIRO_REQUEST_TIMEOUT_MS": "60000"},
)
CASES = {
    "Kiro accepts the request and says nothing": HANG,
    "the plan is used up": Case(
        ask("user", {"email": EMAIL, "used": 1000, "limit": 1000}), "plan limit for this month is used up"
    ),
    "the account is suspended": Case(
        ask("user", {"email": EMAIL, "suspended": True}), "AWS has locked the account"
    ),
    "the sign-in has ended": Case(ask("revoke", {"user": EMAIL}), "kiro-auth login --builder-id"),
    "the conversation is too long": Case(
        script(refuse("ValidationException", "CONTENT_LENGTH_EXCEEDS_THRESHOLD"), HELLO),
        "Hello",
        turns=3,
        later=True,
    ),
    "Kiro refuses the request as malformed": Case(
        script(refuse("ValidationException", "REQUEST_BODY_INVALID", "Improperly formed request.")),
        "refused the request as malformed",
    ),
    "a burst is throttled, once": Case(
        script(refuse("ThrottlingException", "USER_REQUEST_RATE_EXCEEDED"), HELLO),
        "Hello",
        code=0,
        environment={"KIRO_RATE_LIMIT_RETRY_DELAY_MS": "1000"},
    ),
    "the model has no capacity, once": Case(
        script(refuse("InternalServerException", "INSUFFICIENT_MODEL_CAPACITY", status=500), HELLO),
        "Hello",
        code=0,
    ),
    "Kiro is down": Case(
        ask("fault", {"operation": "GenerateAssistantResponse", "status": 503, "times": 50}), "Kiro"
    ),
    "the answer is cut in the text": Case(
        script(reply({"text": "Half of an answer"}, {"pause": 0.5}, {"cut": "reset"})), "broke off"
    ),
    "the answer is cut in a tool call": Case(
        script(reply({"text": "I look."}, {"tool": {"name": "read", "input": {"a": 1}}}, {"cut": "tool"})),
        "was not run",
        code=0,
    ),
}  # fmt: skip


ASK = ("run", "--title", "A title", "-m", "kiro/claude-sonnet-4-5")
CHANGING = (
    (re.compile(r"again \S+ \S+ UTC, in \w+ \w+"), "again DATE, in N days"),
    (re.compile(r"127\.0\.0\.1"), "HOST"),
)
"""What is another in each run."""


@dataclass
class Met:
    """What came of a case: the last that OpenCode shows, its exit code, the turns it asked for."""

    shows: str
    code: int
    turns: int
    quick: bool


def turns(home: Home) -> int:
    """How many turns the gateway was asked for so far."""
    log = home.state / "requests.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


class Stage:
    """A home in which one case is met after the other, each by somebody who has just signed in."""

    def __init__(self, folder: Path, version: str, services: Services) -> None:
        self.home = Home(folder)
        self.version = version
        self.services = services
        self.home.run("install", "opencode")
        self.opencode = OpenCode(version, self.home)
        self.opencode.run("models")  # the first start of a release takes longer
        self.usual = self._seconds_of_an_answer()

    def _seconds_of_an_answer(self) -> float:
        """On this machine, as busy as it is."""
        self.services.begin(self.home, auto_approve=True)
        self.home.run("login", "--builder-id", "--no-browser")
        began = time.monotonic()
        self.opencode.run(*ASK, "Say hello.")
        took = time.monotonic() - began
        self.home.stop_gateway()
        return took

    def meet(self, case: Case) -> Met:
        opencode, home, usual = self.opencode, self.home, self.home.environment
        home.environment = {**usual, "KIRO_ENABLE_LOG_API_REQUEST": "1", **case.environment}
        simulator = self.services.begin(home, auto_approve=True)
        (home.config / "kiro-accounts.json").unlink(missing_ok=True)
        home.run("login", "--builder-id", "--no-browser")
        if case.later:
            opencode.run(*ASK, "Write a file named a.txt with the content: A")
        case.arrange(simulator)
        before = turns(home)
        began = time.monotonic()
        done = opencode.run(*ASK, *(["-c"] if case.later else []), "Say hello.", seconds=600)
        took = time.monotonic() - began
        home.stop_gateway()  # its last answer is written down by then
        asked = turns(home) - before
        home.environment = usual
        shows = opencode.kept()[-1]
        for pattern, word in CHANGING:
            shows = pattern.sub(word, shows)
        return Met(shows, done.returncode, asked, took < self.usual + QUICK)


@pytest.fixture(scope="module", params=VERSIONS)
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, services: Services
) -> Stage:
    return Stage(tmp_path_factory.mktemp("home"), request.param, services)


@pytest.mark.parametrize("name", CASES)
def test_a_failure_ends_with_its_reason_or_is_mended_as_the_page_tells(stage: Stage, name: str) -> None:
    case, found = CASES[name], stage.meet(CASES[name])

    assert case.reads in found.shows
    assert found.turns == case.turns
    assert found.code == (0 if stage.version in NO_EXIT_CODE else case.code)
    assert found.quick == case.quick
    if stage.version == VERSIONS[0]:  # the page is about the newest
        rows = written_rows()
        if os.environ.get("KIRO_WRITE_DOCS"):
            write_rows({**rows, name: row(name, found)})
        else:
            assert rows.get(name) == row(name, found)


def test_the_page_has_a_row_of_each_failure() -> None:
    assert list(written_rows()) == list(CASES)


def row(name: str, met: Met) -> str:
    shows = " ".join(met.shows.split()).replace("|", "\\|")
    ends = "at once" if met.quick else "after `request_timeout_ms`"
    return f"| {name} | {shows} | {met.turns} | {ends} | {met.code} |"


HEAD = ["| What fails | OpenCode shows | Turns it asks for | Ends | Exit code |", "|---|---|---|---|---|"]


def written_rows() -> dict[str, str]:
    """The page's rows by what fails."""
    lines = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].splitlines()
    assert lines[:2] == HEAD
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines[2:]}


def write_rows(rows: dict[str, str]) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    lines = [*HEAD, *(rows[name] for name in CASES if name in rows)]
    PAGE.write_text("\n".join([before + BEGIN.rstrip(), *lines, END + rest.partition(END)[2]]))
