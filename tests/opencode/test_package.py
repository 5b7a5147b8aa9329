"""The plugin as JavaScript: typed, and the npm package that is made of it.

To make the package anew after a change that is meant: `KIRO_WRITE_DOCS=1 make test ARGS=tests/opencode`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from kiro_auth import __version__
from kiro_auth.opencode.install import render, render_package
from support.npm import NODE, npm_package

PACKAGE = Path(__file__).parents[2] / "npm"
TYPESCRIPT, NODE_TYPES = "5.9.3", "22.19.0"
OPTIONS = ("--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022")
MODULES = ("--module", "nodenext", "--moduleResolution", "nodenext")


def test_the_package_is_made_of_the_plugin() -> None:
    if os.environ.get("KIRO_WRITE_DOCS"):
        (PACKAGE / "kiro.js").write_text(render_package())
    assert (PACKAGE / "kiro.js").read_text() == render_package()
    described = json.loads((PACKAGE / "package.json").read_text())
    assert described["version"] == __version__
    assert all((PACKAGE / name).exists() for name in described["files"])


@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "text", [render(["kiro-auth", "serve"]), render_package()], ids=["plugin", "package"]
)
def test_its_types_are_right_as_typescript_sees_them(tmp_path: Path, text: str) -> None:
    compiler = npm_package("typescript", TYPESCRIPT) / "bin" / "tsc"
    types = npm_package("@types/node", NODE_TYPES).parent
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "kiro.js").write_text(text)

    done = subprocess.run(
        [NODE, str(compiler), *OPTIONS, *MODULES, "--typeRoots", str(types), "--types", "node", "kiro.js"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout
