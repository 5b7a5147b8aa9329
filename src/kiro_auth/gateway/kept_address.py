"""The port and the key that the user's gateway has at every start: `address.json` in the state folder, 0600.

Programs that were told them, by `kiro-auth env` or by hand, find the gateway again after a stop, an upgrade
or an idle end.  They cannot ask what listens there whether it is the gateway.  So where the kept port is
found taken by what may be another user's program, the key counts as told to it, and there is a new one.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.atomic import clear_leftovers, replace_file
from kiro_auth.failures import ConfigFailed, Failure, StoreFailed
from kiro_auth.file_lock import FileLock
from kiro_auth.gateway.discovery import find
from kiro_auth.gateway.sockets import HERE, listen
from kiro_auth.json_values import NotJson, decoded_as
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import Unusable, make_folder, read_file
from kiro_auth.socket_owners import occupant, whose
from kiro_auth.texts import learn

FILE: Final = "address.json"
LOCK_FILE: Final = "address.lock"
PORTS: Final = range(20_000, 30_000)
"""Where a first port is looked for: no system gives these to connections that go out, so that hardly anything
takes one by chance."""
NEWS_SECONDS: Final = 7 * 86_400
"""How long people are told of a change: so long may a program be left that was told what was before."""
_TRIES: Final = 100
_LOCK_SECONDS: Final = 10.0
_TELL: Final = "Tell it to programs that you told the old one: kiro-auth env."
_KEY_LEAST: Final = 24
"""Characters of a key that one of these may have been; a shorter one somebody chose."""


class Change(Struct, frozen=True, rename="camel"):
    """That the address has become another by itself, at `at` (epoch seconds), and why.

    `port` is the one before, where that is known.  It was `taken` by a listener, whose user is `uid` where
    the system says that, or `unusable`, though nothing listened there.
    """

    why: Literal["taken", "unusable", "unreadable"]
    at: float
    port: int | None = None
    uid: int | None = None
    new_key: bool = False


class KeptAddress(Struct, frozen=True):
    """What stays, and how it last changed."""

    port: int
    key: str
    change: Change | None = None

    def __post_init__(self) -> None:
        """The key stands in no text."""
        learn(self.key)

    def news(self, now: float) -> Failure | None:
        """What people should know of its last change; None where there was none lately."""
        if self.change is None or now - self.change.at > NEWS_SECONDS:
            return None
        return _told(self, self.change)


class Taken(Struct, frozen=True):
    """Sockets that listen, what is kept from now on, and that this has just become another."""

    sockets: list[socket.socket]
    kept: KeptAddress
    news: Failure | None


def read(folder: Path) -> KeptAddress | None:
    """What is kept in this state folder; None where nothing is, or it cannot be read."""
    try:
        kept: KeptAddress = decoded_as(read_file(folder / FILE), KeptAddress)
    except (OSError, NotJson):
        return None
    usable = kept.key and kept.key.isascii() and kept.key.isprintable() and 0 < kept.port < 65536
    return kept if usable else None


def read_or_make(folder: Path) -> KeptAddress:
    """What is kept, or a first port and key, which no gateway has yet.  Raises StoreFailed."""
    kept = read(folder)
    if kept is None:
        with _changing(folder):
            kept = _before(folder) or KeptAddress(secrets.choice(PORTS), _new_key(), _unreadable(folder))
            _write(folder, kept)
    return kept


def rotate(folder: Path) -> KeptAddress:
    """Keep a new key from now on, at the same port.  Raises StoreFailed."""
    with _changing(folder):
        before = _before(folder)
        port = before.port if before else secrets.choice(PORTS)
        kept = KeptAddress(port, _new_key(), before.change if before else _unreadable(folder))
        _write(folder, kept)
    return kept


def forget_news(folder: Path) -> None:
    """Tell nobody of the last change any more.  Raises StoreFailed."""
    with _changing(folder):
        if kept := read(folder):
            _write(folder, replace(kept, change=None))


def listen_there(folder: Path, hosts: Sequence[str], wanted: int | None = None) -> Taken:
    """Listen at the kept port.

    Where the port is taken that is the next free one, and a `wanted` one in any case; 0 is a new one.  Raises
    ConfigFailed when none can be used, StoreFailed when it cannot be kept.
    """
    with _changing(folder):
        before = _before(folder)
        sockets = _listening(hosts, _candidates(before, wanted))
        port = sockets[0].getsockname()[1]
        kept = _after(before, port, wanted, folder)
        if kept != before or read(folder) is None:
            try:
                _write(folder, kept)
            except StoreFailed:
                for sock in sockets:
                    sock.close()
                raise
    return Taken(sockets, kept, _news(before, kept))


def _before(folder: Path) -> KeptAddress | None:
    """What is kept; what a gateway says of itself, where the file is damaged or gone."""
    if kept := read(folder):
        return kept
    running = find(folder)
    return KeptAddress(running.port, running.key) if running and len(running.key) >= _KEY_LEAST else None


def _candidates(before: KeptAddress | None, wanted: int | None) -> Iterator[int]:
    """The ports to try, in order."""
    if wanted:
        yield wanted
    elif before is None or wanted == 0:
        yield from secrets.SystemRandom().sample(PORTS, _TRIES)
    else:
        for port in range(before.port, before.port + _TRIES):
            yield port if port < 65536 else port - 65536 + PORTS.start


def _listening(hosts: Sequence[str], ports: Iterator[int]) -> list[socket.socket]:
    first: ConfigFailed | None = None
    for port in ports:
        try:
            return listen(hosts, port)
        except ConfigFailed as error:
            first = first or error
    assert first is not None, "there was a port to try"
    raise first


def _after(before: KeptAddress | None, port: int, wanted: int | None, folder: Path) -> KeptAddress:
    """What is kept by a gateway that listens at `port` now."""
    if before is None:
        return KeptAddress(port, _new_key(), _unreadable(folder))
    if before.port == port:
        return before
    there = occupant(HERE, before.port)
    stranger = there is not None and there.is_stranger
    if wanted is not None and not stranger:
        return KeptAddress(port, before.key)
    change = Change(
        why="taken" if there else "unusable",
        at=time.time(),
        port=before.port,
        uid=there.uid if there else None,
        new_key=stranger,
    )
    return KeptAddress(port, _new_key() if stranger else before.key, change)


def _news(before: KeptAddress | None, kept: KeptAddress) -> Failure | None:
    """What there is to say when `kept` has just taken the place of `before`."""
    if before is not None and before.port != kept.port and kept.change is None:
        message = f"The gateway's port is {kept.port} from now on, as you chose; it was {before.port}."
        return Failure(code="KA-PORT", message=message, next_step=_TELL)
    return _told(kept, kept.change) if kept.change is not None and kept != before else None


def _unreadable(folder: Path) -> Change | None:
    """That a damaged file held another address; without one there was none to change."""
    there = (folder / FILE).exists()
    return Change(why="unreadable", at=time.time(), new_key=True) if there else None


def _new_key() -> str:
    return secrets.token_urlsafe(32)


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """Alone with the file, of all programs of the user."""
    try:
        make_folder(folder)
        lock = FileLock(folder / LOCK_FILE)
        if not lock.take(_LOCK_SECONDS):
            raise TimeoutError(errno.ETIMEDOUT, "another program holds its lock for long")
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        yield
    finally:
        lock.free()


def _write(folder: Path, kept: KeptAddress) -> None:
    try:
        clear_leftovers(folder / FILE)
        replace_file(folder / FILE, msgspec.json.encode(kept))
    except OSError as error:
        raise _unusable(folder, error, folder / FILE) from error


def _unusable(folder: Path, error: OSError, file: Path | None = None) -> StoreFailed:
    """`file` is what was written: behind a link the system names another."""
    step = "Make it writable, or set XDG_STATE_HOME to another folder."
    if isinstance(error, Unusable):
        step = f"Move away what is at {file or error.filename}."
    return StoreFailed(
        Failure(
            code="KA-STORE",
            message=f"The gateway's port and key cannot be kept in {folder}: {reason(error)}.",
            next_step=step,
        )
    )


def _told(kept: KeptAddress, change: Change) -> Failure:
    place = f"127.0.0.1:{change.port}"
    before = f"When the gateway started, {whose(change.uid)} listened at its address ({place})."
    if change.why == "taken" and change.new_key:
        return Failure(
            code="KA-STRANGER",
            message=f"{before} The gateway has moved to port {kept.port}, and has a new key.",
            next_step="A program that you told the old address by hand sends the old key and your words "
            "there: end it, or tell it the new address and key (kiro-auth env).",
        )
    if change.why == "unreadable":
        message = f"{FILE} could not be read, so the gateway has a new port, {kept.port}, and a new key."
        return Failure(code="KA-PORT", message=message, next_step=_TELL)
    if change.why == "unusable":
        before = f"The system did not let the gateway listen at its address ({place})."
    message = f"{before} The gateway has moved to port {kept.port}, with the key it had."
    return Failure(code="KA-PORT", message=message, next_step=_TELL)
