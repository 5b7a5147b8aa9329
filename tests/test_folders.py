"""Where files are: `folders.json` says it for each system, for this program and for the plugin alike."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.folders import Machine, config_folder, opencode_folder, state_folder, this_machine

CASES = json.loads(Path(__file__).with_name("folders.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_every_folder_is_where_the_table_says(case: dict[str, Any]) -> None:
    machine = Machine(case["system"], Path(case["home"]), case["environment"])

    found = [folder(machine).as_posix() for folder in (config_folder, state_folder, opencode_folder)]

    assert found == [case["config"], case["state"], case["opencode"]]


@pytest.mark.skipif(sys.platform == "win32", reason="the home is not in HOME there")
def test_the_home_of_this_machine_is_that_of_the_environment_given() -> None:
    assert this_machine({"HOME": "/home/ann"}).home == Path("/home/ann")
    assert this_machine({}).home == Path.home()
    assert this_machine({}).system == sys.platform
