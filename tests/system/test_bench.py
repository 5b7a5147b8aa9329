"""The benchmark runs, whatever its figures are: those are for people to look at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.postgres import programs

ROOT = Path(__file__).parents[2]


@pytest.mark.outside
@pytest.mark.clients
@pytest.mark.timeout(180)
@pytest.mark.skipif(sys.platform != "linux", reason="it reads the processor's time from /proc")
def test_each_figure_is_printed() -> None:
    few = ("--starts", "1", "--streams", "2", "--rounds", "1", "--open", "20", "--calls", "5")
    done = subprocess.run(
        [sys.executable, "-m", "bench", *few],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        timeout=500,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    for figure in (
        "start-up: ",
        "one call on a new connection: ",
        "events one by one",
        "events 40 at a time",
        "request of 10 events",
        "all streams open",
        "20 streams at once, an event each tenth of a second for two seconds: 20 complete, 0 errors",
        "2 clients that read nothing",
        "A client that leaves while the service is silent",
        *(["Accounts in a database instead of files"] if programs() else []),
    ):
        assert figure in done.stdout
