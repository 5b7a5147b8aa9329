"""Python programs for tests that are too heavy to live among our own: installed by name from PyPI, once per
version, into virtual environments in the user's cache.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from filelock import FileLock

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opencode-kiro-auth" / "pypi"
DOWNLOAD_SECONDS = 600


def python_with(*packages: str) -> str:
    """A Python that has these packages, each with its version.

    Skips the test when they cannot be had, but fails in CI.
    """
    version = ".".join(map(str, sys.version_info[:2]))
    home = CACHE / re.sub(r"[^a-zA-Z0-9.=-]+", "-", "-".join([*packages, f"py{version}"]))
    python = home / "bin" / "python"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not (home / ".complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            venv.create(home, with_pip=True)
            done = subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_SECONDS,
            )
            if done.returncode:
                reason = f"{' '.join(packages)} cannot be installed: {done.stderr[-500:]}"
                if os.environ.get("CI"):
                    raise RuntimeError(reason)
                pytest.skip(reason)
            (home / ".complete").touch()
    return str(python)
