"""The last list of models of each account, in a file: it counts while the service has no newer one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from kiro_auth.atomic import replace_file
from kiro_auth.json_values import NotJson, decoded_as
from kiro_auth.kiro.models import Model

FILE: Final = "model-lists.json"
"""In the state folder."""
Lists: TypeAlias = Mapping[str, tuple[Model, ...]]
"""By account id."""


def read_lists(path: Path) -> Lists:
    """The lists as they were written last; none where they cannot be read."""
    try:
        lists: Lists = decoded_as(path.read_bytes(), dict[str, tuple[Model, ...]])
    except (OSError, NotJson):
        return {}
    return lists


def write_lists(path: Path, lists: Lists) -> None:
    """Replace the file; where that cannot be done the old one stays: it is only a memory."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, msgspec.json.encode(lists))
