"""Commands that only read files do not load the network's code, which takes longer than all the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.programs import Home

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
    ["--help", "accounts", "accounts --json", "accounts show nobody", "accounts disable nobody", "status",
     "config show", "accounts export nowhere/file"],
)  # fmt: skip
def test_the_network_s_code_is_not_loaded(tmp_path: Path, verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *verb.split()],
        env=Home(tmp_path).environment, capture_output=True, text=True, timeout=30,
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
NOT_TO_SERVE = (
    *("typer", "rich", "segno", "json5", "pydantic", "html.parser", "sqlite3", "kiro_auth.ledger.sqlite"),
    *("kiro_auth.cli.app", "kiro_auth.cli.login", "kiro_auth.cli.doctor", "kiro_auth.cli.run"),
    *("kiro_auth.doctor", "kiro_auth.clients", "kiro_auth.simulator", "kiro_auth.login.tools.search"),
)
"""What a gateway has no use for before its first request."""


def until_it_ends(home: Home, *arguments: str) -> tuple[set[str], list[int]]:
    """What a gateway that ends unused has imported, and how many authorities each of its TLS contexts has."""
    done = subprocess.run(
        [sys.executable, "-c", UNTIL_IT_SERVES, "serve", *arguments],
        env=home.environment, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    modules, read = done.stderr.splitlines()[-2:]
    return set(modules.split()), json.loads(read)


@pytest.mark.parametrize("module", NOT_TO_SERVE)
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
