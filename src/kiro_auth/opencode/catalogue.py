"""The catalogue of models that OpenCode keeps on this machine, and a provider `kiro` in it.

Seen in 1.14.48, 1.17.19 and 1.18.34: the file is `models.json` in the cache folder, or one with the SHA-1 of
`OPENCODE_MODELS_URL` in its name, or the one that `OPENCODE_MODELS_PATH` names.  The source of 2.x says the
same.  models.dev, where it comes from, has listed Kiro and taken it out again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw, Struct

from kiro_auth.folders import this_machine

MOST_BYTES: Final = 64 * 1024 * 1024
"""A file that is larger is no catalogue: the real one has about 3 MB."""

USUAL_ADDRESSES: Final = ("https://models.dev", "https://models.opencode.ai")
"""Where it comes from, in 1.14 to 1.17 and in 1.18; a release gives its own a file with the plain name."""


class Listing(Struct, frozen=True):
    """A catalogue that lists Kiro: its file, and how many models are under it."""

    file: Path
    models: int


class _Provider(Struct):
    models: dict[str, Raw] = {}


def kiro_listing(environment: Mapping[str, str] = os.environ) -> Listing | None:
    """The first catalogue with a provider `kiro`.  A file that is none, or cannot be read, lists nothing."""
    for file in catalogue_files(environment):
        try:
            providers = msgspec.json.decode(_bytes(file), type=dict[str, Raw])
            provider = msgspec.json.decode(providers["kiro"], type=_Provider)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError, KeyError):
            continue
        return Listing(file, len(provider.models))
    return None


def catalogue_files(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Where the catalogue may be."""
    if (named := environment.get("OPENCODE_MODELS_PATH")) is not None:
        return [Path(named).absolute()] if named else []
    folder = this_machine(environment).folder("XDG_CACHE_HOME", ".cache") / "opencode"
    address = environment.get("OPENCODE_MODELS_URL")
    digest = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest() if address else ""
    return [
        *([folder / f"models-{digest}.json"] if address else ()),
        *([folder / "models.json"] if not address or address in USUAL_ADDRESSES else ()),
    ]


def _bytes(file: Path) -> bytes:
    if not file.is_file():  # a pipe or a device might never end
        return b""
    with file.open("rb") as opened:
        body = opened.read(MOST_BYTES + 1)
    return body if len(body) <= MOST_BYTES else b""
