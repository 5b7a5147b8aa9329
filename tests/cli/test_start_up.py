"""Commands that only read files do not load the network's code, which takes longer than all the rest."""

from __future__ import annotations

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
