"""What the tests of the pool begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pool import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)
