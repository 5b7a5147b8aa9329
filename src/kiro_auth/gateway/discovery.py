"""How programs find the user's gateway: one state file, one lock.

`gateway.json` in the state folder holds what `Address` says, mode 0600, written after the gateway listens and
removed when it ends.  The lock beside it is held for the gateway's whole
life, so that of two starters one wins; the operating system frees it when the process dies.  A newer version
asks an older one to retire: that one gives both back at once, and ends when its last answer is done.
How a program knows that the gateway of the file is what listens there: `proof`, and `calls`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.atomic import clear_leftovers, replace_file
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.file_lock import FileLock
from kiro_auth.gateway.proof import Prover
from kiro_auth.json_values import NotJson, decoded_as
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import Unusable, make_folder, read_file
from kiro_auth.texts import learn

STATE_FILE = "gateway.json"
LOCK_FILE = "gateway.lock"
_LOOK_SECONDS = 0.2
"""How long a look of another program at the place may last; it is no gateway."""


class Address(Struct, frozen=True):
    """Where a gateway listens, and what tells it from others.

    `key` is what other programs send it, `secret` what the user's own programs make their proofs with.
    `options` tells the configuration it was started with from another.  One that `stays` never ends unused:
    a program that cannot start it was told of it.
    """

    port: int
    key: str
    secret: str
    pid: int
    version: str
    host: str = "127.0.0.1"
    options: str | None = None
    stays: bool = False

    def __post_init__(self) -> None:
        """Key and secret stand in no text."""
        learn(self.key, self.secret)

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://{self.place}"

    @property
    def place(self) -> str:
        """Host and port, as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def prover(self) -> Prover:
        """Makes and checks the proofs between the gateway and its callers."""
        return Prover(self.secret, self.host, self.port)


def is_older(version: str, than: str) -> bool:
    """Whether one version comes before another, by the numbers in them."""
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def find(folder: Path) -> Address | None:
    """What the state file says, or None.  The gateway it names may be dead: see `calls.reach`."""
    try:
        address: Address = decoded_as(read_file(folder / STATE_FILE), Address)
    except (OSError, NotJson):
        return None
    return address if address.secret else None  # anybody could prove to know an empty one


class Seat:
    """The place of the user's one gateway."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._announced: Address | None = None
        self._lock = FileLock(folder / LOCK_FILE)

    def take(self) -> bool:
        """Whether the place was free and is now ours."""
        try:
            make_folder(self.folder)
            if not self._lock.take(_LOOK_SECONDS, look=_LOOK_SECONDS / 10):
                return False
            clear_leftovers(self.folder / STATE_FILE)
        except OSError as error:
            raise _unusable(self.folder, error) from error
        return True

    def is_free(self) -> bool:
        """Whether no gateway has the place now."""
        if not (self.folder / LOCK_FILE).exists():
            return True
        try:
            taken = self._lock.take()
            self._lock.free()
        except OSError as error:
            raise _unusable(self.folder, error) from error
        return taken

    def announce(self, address: Address) -> None:
        """Say where we listen.  Raises StoreFailed."""
        try:
            # Behind a power cut no gateway runs; and it answers nobody while it waits for the disk.
            replace_file(self.folder / STATE_FILE, msgspec.json.encode(address), lasts=False)
        except OSError as error:
            raise _unusable(self.folder, error) from error
        self._announced = address

    def correct(self, **fields: Any) -> None:
        """Say something else of what was announced.  Raises StoreFailed."""
        if self._announced is not None:
            self.announce(replace(self._announced, **fields))

    def leave(self) -> None:
        """Take back what was announced, and free the place."""
        if self._lock.is_held:
            self._announced = None
            (self.folder / STATE_FILE).unlink(missing_ok=True)
            self._lock.free()


def _unusable(folder: Path, error: OSError) -> StoreFailed:
    if isinstance(error, Unusable):
        message = f"{error.filename} cannot be used: {reason(error)}."
        return StoreFailed(
            Failure(code="KA-STORE", message=message, next_step=f"Move away what is at {error.filename}.")
        )
    return StoreFailed(
        Failure(
            code="KA-STORE",
            message=f"The folder {folder} cannot be used: {reason(error)}.",
            next_step="Make it writable, or set XDG_STATE_HOME to another folder.",
        )
    )
