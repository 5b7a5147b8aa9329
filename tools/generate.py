"""Write the files that are made of others, or say which of them are not up to date.

    make generate             write them
    make check                fails when one is not as it would be written

The plugin for OpenCode is made of the modules in npm/src as one file, with what Python knows filled in; the
description of the gateway for OpenAPI of `tools/openapi.py`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from kiro_auth import __version__
from kiro_auth.launch import KEPT, PATHS
from kiro_auth.opencode.models import USUAL_MODELS
from support.npm import NODE, npm_package
from tools.openapi import described

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "npm" / "src"
OPENAPI: Final = ROOT / "docs" / "openapi.json"
PLUGIN: Final = ROOT / "src" / "kiro_auth" / "opencode" / "generated"
ROLLUP: Final = "4.68.8"
"""Joins modules and leaves their text and comments as they are."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit code 1 if a file is not as made"
    )
    check = parser.parse_args().check
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'not up to date' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(generated()[path])
    if check and stale:
        sys.exit("Run: make generate")


def generated() -> dict[Path, str]:
    """What each file should hold."""
    values: Mapping[str, Any] = {
        '"@VERSION@"': __version__,
        '["@VARIABLES@"]': KEPT,
        '["@PATHS@"]': PATHS,
        "{ opencode1: {}, opencode2: [] }": USUAL_MODELS,
    }
    plugin = _joined(SOURCES / "main.js")
    for mark, value in values.items():
        plugin = filled(plugin, mark, msgspec.json.encode(value).decode())
    window = {name: (SOURCES / name).read_text() for name in ("index.js", "tui.js")}
    texts = {"kiro.js": plugin, **window}
    plugins = {PLUGIN / name: filled(text, "@VERSION@", __version__) for name, text in texts.items()}
    return {
        **plugins,
        OPENAPI: msgspec.json.format(msgspec.json.encode(described()), indent=1).decode() + "\n",
    }


def filled(text: str, mark: str, value: str) -> str:
    """`text` with the value in place of the mark.  Raises ValueError unless that stands there once."""
    if text.count(mark) != 1:
        raise ValueError(f"{mark} stands {text.count(mark)} times in the text, not once")
    return text.replace(mark, value)


def _joined(entry: Path) -> str:
    """A module and those it imports, as one."""
    rollup = npm_package("rollup", ROLLUP) / "dist" / "bin" / "rollup"
    banner = "".join((SOURCES / "banner.txt").read_text().rstrip())
    done = subprocess.run(
        [NODE, str(rollup), str(entry), "--format", "es", "--external", "/^node:/", "--no-treeshake",
         "--banner", banner, "--silent"],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    return done.stdout


if __name__ == "__main__":
    main()
