"""Fetch the files of other projects that the package ships, or say whether they are as they were fetched.

    python -m tools.vendored            fetch them from npm, by version and hash, and write them
    python -m tools.vendored --check    change nothing and ask nobody; exit code 1 if a file is another one

What is shipped, and from where, stands beside the files in vendored.json.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from support.npm import NODE, NPM

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "src" / "kiro_auth" / "dashboard" / "static"
LIST: Final = FOLDER / "vendored.json"
PACKAGE: Final = "uplot"
VERSION: Final = "1.6.32"
INTEGRITY: Final = (
    "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw=="
)
"""As the npm registry names it: of the whole archive."""
FILES: Final = {
    "uPlot.iife.min.js": "package/dist/uPlot.iife.min.js",
    "uPlot.min.css": "package/dist/uPlot.min.css",
    "uPlot.LICENSE.txt": "package/LICENSE",
}
"""The file here, and in the archive."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.vendored", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, ask nobody")
    if parser.parse_args().check:
        if wrong := changed():
            sys.exit(f"not as they were fetched: {', '.join(wrong)}. Run: make vendored")
        return
    archive = fetched()
    hashes = {}
    for name, inside in FILES.items():
        data = archive[inside]
        (FOLDER / name).write_bytes(data)
        hashes[name] = sha256(data)
    listed = {
        "package": PACKAGE,
        "version": VERSION,
        "integrity": INTEGRITY,
        "license": "MIT",
        "sha256": hashes,
    }
    LIST.write_bytes(msgspec.json.format(msgspec.json.encode(listed), indent=2) + b"\n")


def changed() -> list[str]:
    """The shipped files that are not what the list says, or that the list does not say of this release."""
    listed: Any = msgspec.json.decode(LIST.read_bytes())
    if (listed["package"], listed["version"], listed["integrity"]) != (PACKAGE, VERSION, INTEGRITY):
        return [LIST.name]
    return [name for name in FILES if sha256((FOLDER / name).read_bytes()) != listed["sha256"].get(name)]


def fetched() -> dict[str, bytes]:
    """The files of the archive.  Exits where its hash is another one."""
    with tempfile.TemporaryDirectory() as folder:
        command = [NODE, NPM, "pack", "--silent", f"{PACKAGE}@{VERSION}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        [path] = Path(folder).glob("*.tgz")
        data = path.read_bytes()
    found = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    if found != INTEGRITY:
        sys.exit(f"{PACKAGE} {VERSION} has another hash than it should: {found}")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name: file.read() for name, file in members.items() if file is not None}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
