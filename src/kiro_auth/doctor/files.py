"""Whether what must be kept can be written, and whether it is kept from others."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kiro_auth.doctor.finding import Finding
from kiro_auth.gateway.kept_address import FILE as ADDRESS
from kiro_auth.os_errors import reason
from kiro_auth.store.files import ACCOUNTS


def files(configuration: Path, state: Path) -> Iterator[Finding]:
    """Whether what must be kept can be written, and whether others on this machine could read the secrets."""
    for folder in (configuration, state):
        if why := unwritable(folder):
            what = f"nothing can be written in {folder}: {why}."
            yield Finding("files", "fault", what, "Check its owner, its mode, and the space on the disk.")
    for path in (configuration / ACCOUNTS, state / ADDRESS):
        if sys.platform != "win32" and path.exists():
            yield _privacy(path)


def _privacy(path: Path) -> Finding:
    mode = path.stat().st_mode & 0o777
    if not mode & 0o077:
        return Finding("files", "ok", f"only you can read {path}")
    what = f"others can read {path} (mode {mode:04o})."
    return Finding("files", "fault", what, f"chmod 600 {path}", lambda: path.chmod(0o600))


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written in a folder, or in the one that it would be made in; None if it can."""
    try:
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return reason(error)
