"""On a fresh clone each worker of pytest-xdist compiles its share of the tests, instead of all of them again.

pytest compiles a file of tests when it collects it, and each worker collects all of them at the same moment.
There is no public way to have it compile without importing, so this calls what its import hook calls.
"""

from __future__ import annotations

import compileall
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.assertion import rewrite


def compile_share(config: pytest.Config, tests: Iterable[Path], others: Iterable[Path]) -> None:
    """In a worker, compile every n-th of the files; what the others are late with, each compiles itself.

    In `tests` assertions are rewritten; `others` are compiled as Python does by itself.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode:
        return
    share = slice(int(worker["workerid"].removeprefix("gw")), None, worker["workercount"])
    for path in sorted(others)[share]:
        compileall.compile_file(path, quiet=2)
    for path in sorted(tests)[share]:
        compile_test(config, path)


def compile_test(config: pytest.Config, path: Path) -> None:
    """Compile a file of tests that was never compiled; one that was changed since is left to pytest."""
    folder = rewrite.get_cache_dir(path)
    compiled = folder / (path.stem + rewrite.PYC_TAIL)
    if not compiled.exists() and rewrite.try_makedirs(folder):
        source, code = rewrite._rewrite_test(path, config)
        rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source, compiled)
