"""The last list of models of each account, in a file: it counts while the service has no newer one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from kiro_auth.atomic import clear_leftovers, replace_file
from kiro_auth.json_values import NotJson, decoded_as
from kiro_auth.kiro.models import Model
from kiro_auth.regular_files import make_folder, read_file

FILE: Final = "model-lists.json"
"""In the state folder."""
Lists: TypeAlias = Mapping[str, tuple[Model, ...]]
"""By account id."""


def read_lists(path: Path) -> Lists:
    """The lists as they were written last; none where they cannot be read."""
    try:
        lists: Lists = decoded_as(read_file(path), dict[str, tuple[Model, ...]])
    except (OSError, NotJson):
        return {}
    return lists


def write_lists(path: Path, lists: Lists) -> None:
    """Replace the file; where that cannot be done the old one stays: it is only a memory."""
    with contextlib.suppress(OSError):
        make_folder(path.parent)
        clear_leftovers(path)  # only the one gateway writes it
        replace_file(path, msgspec.json.encode(lists))
