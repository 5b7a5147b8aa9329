"""`make demo` and its kin on machines with another Python: what a stranger types first in a clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.programs import Home

ROOT = Path(__file__).parents[2]
THIS = ".".join(map(str, sys.version_info[:2]))

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The repository as a stranger has it, with what is not committed yet."""
    clone = tmp_path / "clone"
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    return clone


@pytest.fixture
def machine(tmp_path: Path) -> Home:
    """A home whose PATH has the tools of the system, and no Python but those that a test puts there."""
    home = Home(tmp_path / "home")
    programs = tmp_path / "home" / "bin"
    programs.mkdir(parents=True)
    for name in ("sh", "env", "make", "sed", "find", "head", "rm", "touch"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    home.environment["PATH"] = str(programs)
    return home


def put(machine: Home, name: str, version: str) -> None:
    """A Python on the PATH: this one, a real one of that version, or, where there is none, a stand-in.

    The stand-in answers as one of that version when it is asked which it is, and can nothing else.
    """
    path = Path(machine.environment["PATH"]) / name
    if (python := sys.executable if version == THIS else real_python(version)) is not None:
        command = python
    else:
        numbers = version.replace(".", ", ")
        says = f"import sys; sys.version_info = ({numbers}, 0, 'final', 0); exec(sys.argv.pop(2))"
        command = f'{sys.executable} -c "{says}"'
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)


def real_python(version: str) -> str | None:
    """A Python of that version somewhere on this machine, pyenv's included."""
    places = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python3")]
    for place in filter(None, places):
        done = subprocess.run([place, "--version"], capture_output=True, text=True)
        if done.returncode == 0 and f"Python {version}." in done.stdout:
            return str(place)
    return None


def make(clone: Path, machine: Home, *words: str) -> subprocess.CompletedProcess[str]:
    # These tests may be run by make themselves.
    environment = {name: value for name, value in machine.environment.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *words], cwd=clone, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=1000,
    )  # fmt: skip


@pytest.mark.parametrize("stands_in", [False, True], ids=["a real one", "a stand-in"])
@pytest.mark.parametrize(
    "verb", ["demo", "test", *(pytest.param(verb, marks=pytest.mark.clients) for verb in ("check", "bench"))]
)
def test_an_old_python_is_named_with_what_to_type_instead(
    clone: Path, machine: Home, monkeypatch: pytest.MonkeyPatch, verb: str, stands_in: bool
) -> None:
    if stands_in:
        monkeypatch.setenv("HOME", str(machine.folder))
        monkeypatch.setenv("PATH", machine.environment["PATH"])
    elif real_python("3.9") is None:
        pytest.skip("there is no Python 3.9 here; the stand-in says what it would")
    put(machine, "python3", "3.9")
    monkeypatch.undo()
    put(machine, "python3.12", THIS)

    done = make(clone, machine, verb)

    assert done.returncode != 0
    said = done.stderr.splitlines()[0]
    assert said == f"Python 3.11 or newer is needed; this is 3.9: make {verb} PYTHON=python3.12"
    assert "Traceback" not in done.stderr
    assert not (clone / ".venv").exists()


def test_without_a_python_that_is_new_enough_it_says_to_install_one(clone: Path, machine: Home) -> None:
    put(machine, "python3", "3.9")
    said = make(clone, machine, "demo").stderr.splitlines()[0]
    assert said == (
        "Python 3.11 or newer is needed; this is 3.9: install a newer one, such as 3.12, then: "
        "make demo PYTHON=python3.12"
    )

    (Path(machine.environment["PATH"]) / "python3").unlink()
    said = make(clone, machine, "demo").stderr.splitlines()[0]
    assert said.startswith("Python 3.11 or newer is needed; python3 cannot be run: install a newer one")


def test_the_oldest_python_is_the_one_that_the_package_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert (
        f"\nleast={project['requires-python'].removeprefix('>=')}\n" in (ROOT / "tools/venv.sh").read_text()
    )


@pytest.mark.clients
def test_the_demonstration_needs_the_package_alone_and_an_environment_of_another_python_is_renewed(
    clone: Path, machine: Home
) -> None:
    """Real ones: it is installed by pip, as in a fresh clone."""
    put(machine, "python3", THIS)
    # As a Python that was there before has left it.
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.9.18\n")
    (clone / ".venv" / "mark").write_text("old")
    machine.environment |= {name: os.environ[name] for name in os.environ if name.startswith("PIP_")}

    done = make(clone, machine, "demo")

    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert said[0] == f".venv was made by Python 3.9; it is made anew by Python {THIS}."
    assert said[1] == f"Making a virtual environment in .venv with Python {THIS} …"
    assert "All of it worked" in done.stdout
    assert not (clone / ".venv" / "mark").exists()
    installed = {path.name for path in (clone / ".venv" / "bin").iterdir()}
    assert "kiro-auth" in installed
    assert not installed & {"pytest", "ruff", "mypy"}

    again = make(clone, machine, "demo", "ARGS=--help")
    assert "virtual environment" not in again.stdout, "nothing is made twice"

    # As where Python lacks what makes pip (Debian without python3-venv), or after Ctrl-C.
    (clone / ".venv" / "bin" / "pip").unlink()
    again = make(clone, machine, "demo", "ARGS=--help")
    assert "it is made anew" in again.stdout, "one that was never finished is not used"
