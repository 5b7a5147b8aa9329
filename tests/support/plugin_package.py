"""The plugin's npm package, as `npm pack` makes it of the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from support.npm import NODE, NPM

ROOT = Path(__file__).parents[2]
MADE = Path("src") / "kiro_auth" / "opencode" / "generated"


def packed(folder: Path) -> Path:
    """The folder of the package, made and unpacked in `folder`."""
    shutil.copytree(ROOT / "npm", folder / "tree" / "npm", ignore=shutil.ignore_patterns("kiro.js"))
    shutil.copytree(ROOT / MADE, folder / "tree" / MADE)
    subprocess.run(
        [NODE, NPM, "pack", "--pack-destination", str(folder)],
        cwd=folder / "tree" / "npm",
        env={**os.environ, "npm_config_update_notifier": "false"},
        check=True,
        capture_output=True,
        timeout=240,
    )
    [archive] = folder.glob("*.tgz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder / "package"
