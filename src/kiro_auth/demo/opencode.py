"""The step with the user's own OpenCode: whatever the program on the PATH is, it harms nothing and ends."""

from __future__ import annotations

import os
import shutil
from typing import Final

from kiro_auth.demo.stage import Stage
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.opencode.release import Nameless, Release, find_release, standing
from kiro_auth.os_errors import reason

OPENCODE_SECONDS: Final = 120.0
"""What its run may take: ten seconds are usual, more at its first start and on a busy machine."""
WRITTEN: Final = "opencode.txt"

_NOWHERE: Final = "http://127.0.0.1:9"
_SETTINGS: Final = {
    # Neither a download nor a look outside: a proxy that nobody serves keeps it on this machine.
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _NOWHERE),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
    "npm_config_fetch_retries": "0",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    # Of the folders above its own, such as /tmp, it reads nothing.
    "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
}


def run_opencode(stage: Stage) -> None:
    """Install the plugin in the stage's home and have OpenCode write a file there.

    Raises ConfigFailed when it does not.
    """
    program = shutil.which("opencode")
    if program is None:
        stage.write("  There is no OpenCode on your PATH; this step is left out.\n")
        return
    stage.environment |= _SETTINGS
    installed = find_release({**stage.environment, "PWD": str(stage.project)}, folder=stage.project)
    if isinstance(installed, Release):
        if why := _why_not(installed):
            stage.write(f"  {why}\n")
            return
        _run(stage, os.path.abspath(program), installed)
    else:
        reason = installed.reason if isinstance(installed, Nameless) else "has gone"
        raise _failed(f"OpenCode ({program}) {reason}.", None)


def _why_not(installed: Release) -> str | None:
    """Why this release is not run; None when it is."""
    if installed.grade == "refuses":
        verdict = standing(installed)
        return f"{verdict.message} This step is left out. {verdict.remedy}"
    if installed.number[0] >= 2:
        return (
            f"OpenCode {installed.version} works in the background and would stay there, so this step is "
            "left out."
        )
    return None


def _run(stage: Stage, program: str, installed: Release) -> None:
    name = f"OpenCode {installed.version} ({program})"
    stage.write(f"  {name}; its first start takes a while\n")
    stage.run("install", "opencode")
    prompt = f"Write a file named {WRITTEN} with the content: Written by OpenCode"
    try:
        with stage.started(program, "run", "-m", f"kiro/{stage.model}", prompt) as running:
            for line in running.lines(OPENCODE_SECONDS, stage.on_wait):
                if line.strip():
                    stage.write(f"  {line}\n")
            code = running.code
    except TimeoutError:
        raise _failed(
            f"{name} did not end within {OPENCODE_SECONDS:.0f} seconds, and was ended.", installed
        ) from None
    except OSError as error:
        raise _failed(f"{name} cannot be started: {reason(error)}.", installed) from error
    written = stage.project / WRITTEN
    if code or not written.is_file():
        what = f"ended with exit code {code}" if code else f"did not write {WRITTEN}"
        raise _failed(f"{name} {what}.", installed)
    stage.write(f"  {WRITTEN} holds: {written.read_text().strip()}\n")


def _failed(message: str, installed: Release | None) -> ConfigFailed:
    """All steps before it worked; so does the demonstration without it."""
    remedy = standing(installed).remedy if installed else None
    without = "All other steps worked. Without it: kiro-auth demo --no-opencode"
    next_step = f"{remedy} {without}" if remedy else without
    return ConfigFailed(Failure(code="KA-CONFIG", message=message, next_step=next_step))
