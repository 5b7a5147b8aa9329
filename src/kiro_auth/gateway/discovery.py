"""How programs find the user's gateway: one state file, one lock.

`gateway.json` in the state folder holds what `Address` says, mode 0600, written after the gateway listens and
removed when it ends.  The lock beside it is held for the gateway's whole
life, so that of two starters one wins; the operating system frees it when the process dies.  A newer version
asks an older one to retire: that one gives both back at once, and ends when its last answer is done.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout
from msgspec import Struct

from kiro_auth.atomic import replace_file
from kiro_auth.failures import Failure, StoreFailed

STATE_FILE = "gateway.json"
LOCK_FILE = "gateway.lock"


class Address(Struct, frozen=True):
    """Where a gateway listens, the key it wants, and who it is.

    `options` tells the configuration it was started with from another.
    """

    port: int
    key: str
    pid: int
    version: str
    host: str = "127.0.0.1"
    options: str | None = None

    @property
    def url(self) -> str:
        """Its base address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def is_older(version: str, than: str) -> bool:
    """Whether one version comes before another, by the numbers in them."""
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def find(folder: Path) -> Address | None:
    """What the state file says, or None.  The gateway it names may be dead: ask its `/health`."""
    try:
        return msgspec.json.decode((folder / STATE_FILE).read_bytes(), type=Address)
    except (OSError, msgspec.MsgspecError):
        return None


class Seat:
    """The place of the user's one gateway."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / LOCK_FILE, mode=0o600)

    def take(self) -> bool:
        """Whether the place was free and is now ours."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise _unusable(self._folder, error) from error
        return True

    def announce(self, address: Address) -> None:
        """Say where we listen.  Raises StoreFailed."""
        try:
            replace_file(self._folder / STATE_FILE, msgspec.json.encode(address))
        except OSError as error:
            raise _unusable(self._folder, error) from error

    def leave(self) -> None:
        """Take back what was announced, and free the place."""
        if self._lock.is_locked:
            (self._folder / STATE_FILE).unlink(missing_ok=True)
            self._lock.release()


def _unusable(folder: Path, error: OSError) -> StoreFailed:
    return StoreFailed(
        Failure(
            code="KA-STORE",
            message=f"The folder {folder} cannot be used: {error.strerror}.",
            next_step="Make it writable, or set XDG_STATE_HOME to another folder.",
        )
    )
