"""The modules that a wheel may hold compiled: what they may not have in them, and whether they are.

`make compiled` runs these tests and those of the core with such a wheel; else the same files run as they are.
"""

from __future__ import annotations

import ast
import importlib
import os
import tomllib
from pathlib import Path

import pytest

from kiro_auth.doctor.machine import version

ROOT = Path(__file__).parents[1]
BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
MODULES: list[str] = BUILD["targets"]["wheel"]["hooks"]["custom"]["modules"]
ASKED_FOR = "KIRO_COMPILED" in os.environ
"""Whether `make compiled` runs the tests."""


def classes(path: Path) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("module", MODULES)
def test_no_class_of_a_compiled_module_has_options(module: str) -> None:
    """They are dropped without a word: a `class Frame(Struct, frozen=True)` would not be frozen."""
    assert [node.name for node in classes(ROOT / "src" / module) if node.keywords] == []


def test_no_class_inherits_from_a_compiled_one_unless_it_is_compiled_too() -> None:
    """Python refuses to make it, at the first use."""
    source = ROOT / "src"
    compiled = {node.name for module in MODULES for node in classes(source / module)}
    others = set((source / "kiro_auth").rglob("*.py")) - {source / name for name in MODULES}

    heirs = [
        f"{path.relative_to(source)}: {node.name}"
        for path in others
        for node in classes(path)
        if any(isinstance(base, ast.Name) and base.id in compiled for base in node.bases)
    ]

    assert heirs == []


@pytest.mark.parametrize("module", MODULES)
def test_the_module_that_runs_is_compiled_if_that_was_asked_for_and_else_the_source(module: str) -> None:
    file = importlib.import_module(module.removesuffix(".py").replace("/", ".")).__file__

    assert file is not None
    assert file.endswith(".py") is not ASKED_FOR


def test_doctor_says_whether_the_modules_are_compiled() -> None:
    [finding] = version()

    assert finding.message.endswith(", compiled") is ASKED_FOR
