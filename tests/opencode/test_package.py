"""The plugin as JavaScript: up to date, typed, and as it is published for npm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kiro_auth import __version__
from kiro_auth.opencode.install import install_shim, render
from support.npm import NODE, npm_package
from support.plugin_package import ROOT, packed

TYPESCRIPT, NODE_TYPES = "5.9.3", "22.19.0"
OPTIONS = ("--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022")
MODULES = ("--module", "nodenext", "--moduleResolution", "nodenext")


@pytest.mark.real
def test_what_is_made_of_the_sources_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.generate", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": "tests", "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("times", [0, 2])
def test_a_mark_that_does_not_stand_once_is_refused(times: int) -> None:
    program = f"from tools.generate import filled; filled({'@MARK@' * times!r}, '@MARK@', 'value')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONPATH": "tests"},
        capture_output=True,
        text=True,
    )
    assert f"@MARK@ stands {times} times" in done.stderr


@pytest.mark.real
def test_the_package_holds_the_plugin_and_its_page_alone(tmp_path: Path) -> None:
    package = packed(tmp_path)
    assert {path.name for path in package.rglob("*")} == {"kiro.js", "README.md", "package.json"}
    assert json.loads((package / "package.json").read_text())["version"] == __version__
    assert "const START = null;" in (package / "kiro.js").read_text()


@pytest.mark.real
def test_installing_it_runs_nothing_and_brings_nothing_along(tmp_path: Path) -> None:
    """`prepack` is of whoever publishes it; npm runs the others where it is installed."""
    package = json.loads((packed(tmp_path) / "package.json").read_text())
    assert not [name for name in package if name.endswith(("ependencies", "bin", "man"))]
    assert set(package["scripts"]) == {"prepack"}


@pytest.mark.real
def test_packed_twice_it_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        packed(tmp_path / name)
    one, other = (path.read_bytes() for path in tmp_path.glob("*/*.tgz"))
    assert one == other


@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.clients
def test_its_types_are_right_as_typescript_sees_them(tmp_path: Path) -> None:
    compiler = npm_package("typescript", TYPESCRIPT) / "bin" / "tsc"
    types = npm_package("@types/node", NODE_TYPES).parent
    (tmp_path / "package.json").write_text('{"type": "module"}')
    plugin = install_shim(tmp_path, ["kiro-auth", "serve"])
    published = tmp_path / "published.js"
    published.write_text(render([]).replace("const START = [];", "const START = null;"))
    window = tmp_path / "plugins" / "kiro-auth"

    done = subprocess.run(
        [NODE, str(compiler), *OPTIONS, *MODULES, "--typeRoots", str(types), "--types", "node",
         str(plugin), str(published), str(window / "index.js"), str(window / "tui.js")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
