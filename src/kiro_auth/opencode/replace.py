"""Replace a file as a whole, so that a reader sees the old or the new one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, body: bytes) -> None:
    """Write `body` there, mode 0600.  Raises OSError and leaves everything as it was."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise
