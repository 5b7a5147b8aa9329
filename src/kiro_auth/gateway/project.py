"""Which project a request is of: the name of the folder that its client works in, if the client tells it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from kiro_auth.ledger.row import shown

HEADER: Final = "x-kiro-project"


def header_of(folder: Path) -> Mapping[str, str]:
    """What a program sends with each request of its work in this folder; nothing at the root of a disk.

    It is percent-encoded: clients send headers of ASCII only.
    """
    return {HEADER: quote(folder.name, safe="")} if folder.name else {}


def project_in(headers: Mapping[str, str]) -> str | None:
    """The name, in a bounded line of characters that show; None where a request names none."""
    named = headers.get(HEADER)
    return shown(unquote(named, errors="ignore")) if named else None
