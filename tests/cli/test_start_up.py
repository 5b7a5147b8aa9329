"""What programs import before they do what they are for: each module takes its time and its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from support.programs import KEY, Home

LOADED = """
import sys
from kiro_auth.cli.main import main
try:
    main()
except SystemExit:
    print(f"loaded: {'aiohttp' in sys.modules}", file=sys.stderr)
"""


@pytest.mark.parametrize(
    "verb",
    [
        "--help",
        "accounts",
        "status",
        "accounts export nowhere/file",
        *(
            pytest.param(verb, marks=pytest.mark.clients)
            for verb in ("accounts --json", "accounts show nobody", "accounts disable nobody", "config show")
        ),
    ],
)
def test_the_network_s_code_is_not_loaded(tmp_path: Path, verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *verb.split()],
        env=Home(tmp_path).environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert done.stderr.splitlines()[-1] == "loaded: False"


UNTIL_IT_SERVES = """
import ssl, sys
read = []
load = ssl.SSLContext.load_default_certs
def noted(context, *purpose):
    load(context, *purpose)
    read.append(len(context.get_ca_certs()))
ssl.SSLContext.load_default_certs = noted
from kiro_auth.cli.main import main
try:
    main()
finally:
    print(" ".join(sorted(sys.modules)), file=sys.stderr)
    print(read, file=sys.stderr)
"""
OF_OTHERS = {
    "--version": {"msgspec"},
    "accounts": {"httptools", "msgspec", "typer"},
    "serve": {"aiohappyeyeballs", "httptools", "msgspec", "uvloop"},
}
"""The packages of others that a command imports, without those that these bring along."""
BROUGHT = {
    *("typing_extensions", "annotated_doc", "annotated_types", "shellingham", "typing_inspection"),
    *("pydantic", "pydantic_core", "rich", "click", "sitecustomize", "_distutils_hack", "_virtualenv"),
}
HEAVY = (
    *(
        "aiohttp",
        "brotli",
        "backports.zstd",
        "email",
        "filelock",
        "http",
        "logging.handlers",
        "jinja2",
        "multiprocessing",
        "pickle",
        "prometheus_client",
        "shutil",
        "tempfile",
    ),
    *("typer", "rich", "segno", "json5", "pydantic", "html.parser", "urllib.request", "xml"),
    *("psycopg", "cryptography", "kiro_auth.store.postgres", "kiro_auth.store.sealed"),
    *("kiro_auth.store.sqlite", "kiro_auth.store.sqlite_file", "kiro_auth.keys.sqlite"),
    *("kiro_auth.ledger.postgres", "kiro_auth.ledger.shipping", "kiro_auth.ledger.spool"),
    *("kiro_auth.cli.app", "kiro_auth.cli.login", "kiro_auth.cli.doctor", "kiro_auth.cli.run"),
    *("kiro_auth.doctor", "kiro_auth.clients", "kiro_auth.simulator", "kiro_auth.login.tools.search"),
    *("kiro_auth.login.device_flow", "kiro_auth.login.page", "kiro_auth.opencode.installer"),
    *("kiro_auth.surfaces.openai.chat", "kiro_auth.surfaces.openai.responses"),
)
"""What a gateway has no use for before its first request, nor for that."""
MOST_OWN = 255
MOST_BEFORE_IT_IS_FOUND = 80
"""Modules of ours that a gateway imports, and how many of them before other programs find it: a little above
what it takes today."""
MOST_PATTERNS = 18
MOST_PATTERNS_BEFORE_IT_IS_FOUND = 2
"""Regular expressions of ours that are compiled by then: each takes as long as half a module."""


def of_others(modules: set[str]) -> set[str]:
    """The packages among them that are neither Python's own nor ours."""
    packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - BROUGHT
    return {name for name in packages if not name.startswith(("kiro_auth", "_", "cython"))}


def own(modules: set[str]) -> int:
    """How many of them are ours."""
    return sum(name.startswith("kiro_auth") for name in modules)


@pytest.mark.parametrize("verb", ["--version", "accounts"])
def test_a_command_imports_these_packages_of_others(tmp_path: Path, verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", UNTIL_IT_SERVES, verb],
        env=Home(tmp_path).environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip

    assert of_others(set(done.stderr.splitlines()[-2].split())) == OF_OTHERS[verb]


def test_a_health_check_which_is_done_every_few_seconds_reads_no_other_verbs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", UNTIL_IT_SERVES, "status", "--health"],
        env=Home(tmp_path).environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    modules = set(done.stderr.splitlines()[-2].split())
    assert (done.returncode, "Not running" in done.stdout) == (1, True)
    assert "kiro_auth.cli.status" in modules
    assert "kiro_auth.cli.app" not in modules


def test_a_gateway_imports_these_packages_of_others_and_so_many_modules_of_ours(started: set[str]) -> None:
    assert of_others(started) == OF_OTHERS["serve"]
    assert own(started) <= MOST_OWN


UNTIL_IT_IS_FOUND = """
import re, sys
compiled, patterns = re.compile, []
def counted(pattern, flags=0):
    if sys._getframe(1).f_globals["__name__"].startswith("kiro_auth"):
        patterns.append(pattern)
    return compiled(pattern, flags)
re.compile = counted
from kiro_auth.gateway.discovery import Seat
from kiro_auth.gateway.ending import Ending
announce = Seat.announce
def noted(seat, address):
    print(" ".join(sorted(sys.modules)), file=sys.stderr)
    print(len(patterns), file=sys.stderr)
    announce(seat, address)
Seat.announce = noted
begun = Ending.begun
async def complete(ending):
    print(len(patterns), file=sys.stderr)
    await begun(ending)
Ending.begun = complete
from kiro_auth.cli.main import main
main()
"""


def test_a_gateway_is_found_before_most_of_it_is_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", UNTIL_IT_IS_FOUND, "serve", "--quiet", "--idle-minutes", "0.001"],
        env=Home(tmp_path).environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    modules, patterns, all_patterns = done.stderr.splitlines()[:3]
    before = set(modules.split())

    assert "kiro_auth.gateway.entrance" in before
    assert own(before) <= MOST_BEFORE_IT_IS_FOUND
    assert int(patterns) <= MOST_PATTERNS_BEFORE_IT_IS_FOUND
    assert int(all_patterns) <= MOST_PATTERNS
    rooms = ("conversation", "accounts", "kiro.reply", "kiro.request", "ledger", "login", "store", "surfaces")
    assert [name for name in before if name.startswith(tuple(f"kiro_auth.{room}" for room in rooms))] == []


WHETHER_IT_COLLECTS = """
import gc, sys
from kiro_auth.gateway.ending import Ending
from kiro_auth.gateway.entrance import Entrance
complete, begun = Entrance.complete, Ending.begun
def completed(entrance, rest):
    print(gc.isenabled(), file=sys.stderr)
    complete(entrance, rest)
async def serves(ending):
    print(gc.isenabled(), file=sys.stderr)
    print("left alone:", gc.get_freeze_count() > 9 * len(gc.get_objects()), file=sys.stderr)
    await begun(ending)
Entrance.complete, Ending.begun = completed, serves
from kiro_auth.cli.main import main
main()
"""


@pytest.mark.parametrize("more", [[], ["--verbose"]], ids=["the straight way", "the command line"])
def test_garbage_is_collected_once_all_is_imported_but_not_looked_for_in_that(
    tmp_path: Path, more: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", WHETHER_IT_COLLECTS, "serve", "--idle-minutes", "0.001", *more],
        env=Home(tmp_path).environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip

    assert [line for line in done.stderr.splitlines() if line in ("True", "False")] == ["False", "True"]
    assert "left alone: True" in done.stderr


def test_the_first_turn_imports_none_of_what_a_start_does_without(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.environment |= {"KIRO_GATEWAY_KEY": KEY, "KIRO_API_KEY": "ksk_simulated_ada_0001"}
    home.config.mkdir(parents=True)
    (home.config / "kiro.json").write_text("{}")  # the first one is written once for each user
    sent = {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
    with home.simulator():
        gateway = subprocess.Popen(
            [sys.executable, "-P", "-c", UNTIL_IT_SERVES, "serve", "--port", "0"],
            env=home.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert gateway.stdout is not None
        url = gateway.stdout.readline().split()[2].rstrip(";")
        asked = urllib.request.Request(
            f"{url}/v1/messages", json.dumps(sent).encode(), {"x-api-key": KEY}, method="POST"
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert json.load(answer)["type"] == "message"
        gateway.terminate()
        _, words = gateway.communicate(timeout=120)
    modules = set(words.splitlines()[-2].split())

    assert "kiro_auth.kiro.reply.reader" in modules
    assert [name for name in HEAVY if name in modules] == []


def until_it_ends(home: Home, *arguments: str) -> tuple[set[str], list[int]]:
    """What a gateway that ends unused has imported, and how many authorities each of its TLS contexts has."""
    done = subprocess.run(
        [sys.executable, "-c", UNTIL_IT_SERVES, "serve", *arguments],
        env=home.environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    modules, read = done.stderr.splitlines()[-2:]
    return set(modules.split()), json.loads(read)


@pytest.mark.parametrize("module", [*HEAVY, "sqlite3", "kiro_auth.ledger.sqlite"])
def test_a_gateway_starts_without_what_only_others_need(started: set[str], module: str) -> None:
    assert "kiro_auth.gateway.app" in started
    assert module not in started


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    home = Home(tmp_path_factory.mktemp("home"))
    return until_it_ends(home, "--quiet", "--port", "0", "--idle-minutes", "0.001")[0]


def test_no_certificate_is_read_before_a_connection_needs_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    _, read = until_it_ends(home, "--quiet", "--idle-minutes", "0.001")

    assert not any(read)


@pytest.mark.parametrize(
    "arguments", [["--idle-minutes", "-1"], ["--port", "65536"], ["--port", "many"], ["--port"], ["--quick"]]
)
def test_what_the_straight_way_does_not_know_is_told_by_the_command_line(
    tmp_path: Path, arguments: list[str]
) -> None:
    done = Home(tmp_path).process("serve", *arguments, check=False)

    assert done.returncode == 2
    assert arguments[0] in done.stderr
