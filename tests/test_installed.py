"""The program as users install it: with what it says it needs, and nothing that only developers have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from support.programs import Home

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.real, pytest.mark.clients, pytest.mark.early, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    # The pip that is here installs there, as putting another one there takes as long again.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=240)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python"]
    command = [*pip, "install", "--quiet", ROOT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"pip cannot install here: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return folder / "bin" / "kiro-auth"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def ran(program: Path, home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *words], env=home.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip


@pytest.mark.parametrize(
    "verb",
    ["", "login", "accounts", "models", "usage", "config", "doctor", "serve", "run", "install", "simulate"],
)
def test_every_verb_says_what_it_does(program: Path, home: Home, verb: str) -> None:
    done = ran(program, home, *verb.split(), "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        "login --builder-id --region us-east-1",
        "login --region us-east-1",
        "login --api-key --builder-id",
        "accounts set a --proxy nowhere",
        "install emacs",
        "serve --port x",
        "nothing",
    ],
)
def test_wrong_usage_is_told_in_a_few_words(program: Path, home: Home, words: str) -> None:
    done = ran(program, home, *words.split())

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert re.search(r"See: kiro-auth( \w+)* --help$", done.stderr)
    assert "Traceback" not in done.stderr


def test_what_is_there_is_told_without_an_account(program: Path, home: Home) -> None:
    assert ran(program, home, "accounts").returncode == 0
    assert ran(program, home, "config", "show").returncode == 0
    assert "Not running" in ran(program, home, "status").stdout


def test_the_dashboard_is_there_with_its_files(program: Path, home: Home) -> None:
    try:
        address = ran(program, home, "dashboard", "--no-browser").stdout.strip()
        page, base = followed(address), address.partition("/dashboard/")[0]
        files = re.findall(r'(?:href|src)="(/dashboard/static/[^"]+)"', page)
        assert len(set(files)) >= 6
        for file in files:
            with urllib.request.urlopen(base + file, timeout=10) as answer:
                assert answer.read()
    finally:
        ran(program, home, "stop")


def followed(address: str) -> str:
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    browser.addheaders = [("Accept", "text/html")]
    with browser.open(address, timeout=10) as answer:
        return str(answer.read().decode())
