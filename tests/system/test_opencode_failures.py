"""What people in OpenCode meet when something fails: the table in docs/opencode.md, made by running it.

To write the table anew: `KIRO_WRITE_DOCS=1 make test ARGS=tests/system/test_opencode_failures.py`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.opencode import VERSIONS, OpenCode
from support.programs import Home, Simulator

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

PAGE = Path(__file__).parents[2] / "docs" / "opencode.md"
BEGIN, END = "<!-- failures -->\n", "<!-- end -->"
EMAIL = "ada@example.com"
QUICK = 40.0
"""Seconds.  OpenCode's own repeats take 70; what it ends by itself takes five, most of it to start."""
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
CHANGING = ((re.compile(r"Until \S+ \S+ UTC"), "Until DATE UTC"), (re.compile(r"127\.0\.0\.1"), "HOST"))
"""What is another in each run."""


@dataclass
class Met:
    """What came of a case: the last that OpenCode shows, its exit code, the turns it asked for."""

    shows: str
    code: int
    turns: int
    seconds: float

    @property
    def quick(self) -> bool:
        return self.seconds < QUICK


def turns(home: Home) -> int:
    """How many turns the gateway was asked for so far."""
    log = home.state / "requests.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def meet(folder: Path, version: str, case: Case) -> Met:
    folder.mkdir()
    home = Home(folder)
    home.environment |= {"KIRO_ENABLE_LOG_API_REQUEST": "1", **case.environment}
    opencode = OpenCode(version, home)
    home.run("install", "opencode")
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        first = ("Write a file named a.txt with the content: A",) if case.later else ()
        opencode.run(*(ASK if first else ("models",)), *first)  # the first start of a release takes longer
        case.arrange(simulator)
        before = turns(home)
        began = time.monotonic()
        done = opencode.run(*ASK, *(["-c"] if first else []), "Say hello.", seconds=250)
        took = time.monotonic() - began
        home.stop_gateway()  # its last answer is written down by then
        asked = turns(home) - before
    shows = opencode.kept()[-1]
    for pattern, word in CHANGING:
        shows = pattern.sub(word, shows)
    return Met(shows, done.returncode, asked, took)


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Met]:
    """All cases with all releases; some at a time, as most of it is waiting."""
    folder = tmp_path_factory.mktemp("homes")
    with ThreadPoolExecutor(3) as pool:
        runs = {
            (name, version): pool.submit(meet, folder / f"{number}-{version}", version, case)
            for number, (name, case) in enumerate(CASES.items())
            for version in VERSIONS
        }
        return {key: run.result() for key, run in runs.items()}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CASES)
def test_a_failure_ends_with_its_reason_or_is_mended(
    met: dict[tuple[str, str], Met], version: str, name: str
) -> None:
    case, found = CASES[name], met[name, version]

    assert case.reads in found.shows
    assert found.turns == case.turns
    assert found.code == (0 if version in NO_EXIT_CODE else case.code)
    assert found.quick == case.quick


def table(met: dict[tuple[str, str], Met]) -> str:
    newest = VERSIONS[0]
    rows = ["| What fails | OpenCode shows | Turns it asks for | Ends | Exit code |", "|---|---|---|---|---|"]
    for name in CASES:
        found = met[name, newest]
        shows = " ".join(found.shows.split()).replace("|", "\\|")
        ends = "at once" if found.quick else "after `request_timeout_ms`"
        rows.append(f"| {name} | {shows} | {found.turns} | {ends} | {found.code} |")
    return "\n".join(rows) + "\n"


def test_the_page_tells_it_so(met: dict[tuple[str, str], Met]) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    written, _, after = rest.partition(END)
    if os.environ.get("KIRO_WRITE_DOCS"):
        PAGE.write_text(f"{before}{BEGIN}{table(met)}{END}{after}")
    else:
        assert written == table(met)
