"""What `install` changed of the user's configuration, written down: `uninstall` goes by nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from kiro_auth.atomic import replace_file
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.json_values import NotJson, decoded_as
from kiro_auth.regular_files import make_folder, read_file

FILE: Final = "opencode-changes.json"
"""In the state folder."""


class Change(Struct, frozen=True):
    """A file that was changed, and the copy of what it was before: absolute paths."""

    file: str
    copy: str


def read_changes(folder: Path) -> list[Change]:
    """Those that are not undone, oldest first.  Raises StoreFailed."""
    path = folder / FILE
    try:
        changes: list[Change] = decoded_as(read_file(path), list[Change])
    except FileNotFoundError:
        return []
    except (OSError, NotJson) as error:
        raise StoreFailed(
            Failure(
                code="KA-STORE",
                message=f"{path}, which says what install changed, cannot be read.",
                next_step="Remove it; what has a copy beside it (.before-kiro-auth-) is yours to put back.",
            )
        ) from error
    return changes


def write_changes(folder: Path, left: list[Change]) -> None:
    """Replace what is written down.  Raises OSError."""
    if left:
        make_folder(folder)
        replace_file(folder / FILE, msgspec.json.encode(left))
    else:
        (folder / FILE).unlink(missing_ok=True)
