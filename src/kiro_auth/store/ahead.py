"""New tokens, written down the moment they come: a file for each account, until the store has them.

A renewal spends the old refresh token before the new one is here, and the store may have to wait for its
lock, or its disk be full.  So the file is made before the service is asked, with as much space as it will
need, and one short write puts the tokens there.  Whoever holds the account's lease next finds them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from kiro_auth.json_values import NotJson, decoded_as
from kiro_auth.regular_files import make_folder, open_to_change, read_file
from kiro_auth.store.json_file import unusable
from kiro_auth.store.protocol import Renewed

FOLDER: Final = "renewals"
"""Beside the locks."""
_SPACE: Final = 32 * 1024
"""Bytes that are reserved: several times those of the longest tokens seen."""
_DIGEST: Final = 32
"""Characters of a file's name that tell the account; the rest tells the store."""
_OF_USE_SECONDS: Final = 7 * 86400.0
"""How long that of an account which the store does not know is left alone: it may come back with a backup."""


class AheadFiles:
    """See `Ahead` in the protocol.  An account's lease must be held for everything but `pending`.

    Stores that use the same folder have different `place`s: what one of them does not know may be an account
    of another.
    """

    def __init__(self, folder: Path, place: str) -> None:
        self._folder = folder
        self._place = place
        self._open: dict[str, int] = {}  # descriptors, by account id

    async def prepare(self, account_id: str) -> None:
        """See `Ahead.prepare`."""
        await asyncio.to_thread(self._prepare, account_id)

    def keep(self, renewed: Renewed) -> None:
        """See `Ahead.keep`."""
        try:
            if renewed.account_id not in self._open:
                self._prepare(renewed.account_id)
            handle = self._open[renewed.account_id]
            text = msgspec.json.encode(renewed)
            _write(handle, text.ljust(os.fstat(handle).st_size), at=0)
        except OSError as error:
            raise unusable(self._path(renewed.account_id), error) from error

    async def kept(self, account_id: str) -> Renewed | None:
        """See `Ahead.kept`."""
        return await asyncio.to_thread(self.look, account_id)

    def look(self, account_id: str) -> Renewed | None:
        """What is kept of an account; for who holds no lease, perhaps no longer."""
        renewed = _read(self._path(account_id))
        return renewed if renewed is not None and renewed.account_id == account_id else None

    def forget(self, account_id: str) -> None:
        """See `Ahead.forget`."""
        handle = self._open.pop(account_id, None)
        if handle is not None:
            os.close(handle)
        with contextlib.suppress(OSError):
            self._path(account_id).unlink()

    async def pending(self, account_ids: Iterable[str]) -> list[str]:
        """See `Ahead.pending`."""
        return await asyncio.to_thread(self._pending, list(account_ids))

    def _prepare(self, account_id: str) -> None:
        path = self._path(account_id)
        try:
            make_folder(self._folder)
            handle = self._open.get(account_id)
            if handle is None:
                handle = self._open[account_id] = open_to_change(path)
            size = os.fstat(handle).st_size
            _write(handle, b" " * (_SPACE - size), at=size)
        except OSError as error:
            raise unusable(path, error) from error

    def _pending(self, account_ids: list[str]) -> list[str]:
        accounts = {_digest(account_id): account_id for account_id in account_ids}
        mark, found = _mark(self._place), set()
        try:
            there = list(self._folder.iterdir())
        except OSError:
            return []
        for path in there:
            digest, whose = path.stem[:_DIGEST], path.stem[_DIGEST:]
            with contextlib.suppress(OSError):
                if digest in accounts:
                    own = self._path(accounts[digest])
                    if whose != mark and not own.exists():  # it was copied from there
                        path.rename(own)
                    found.add(accounts[digest])
                elif whose == mark and _is_of_no_use(path):
                    path.unlink()
        return list(found)

    def _path(self, account_id: str) -> Path:
        return path_of(self._folder, account_id, self._place)


def path_of(folder: Path, account_id: str, place: str) -> Path:
    """Where an account's tokens are written; ids are anybody's, so the name is made of their hash."""
    return folder / f"{_digest(account_id)}{_mark(place)}.json"


def _digest(account_id: str) -> str:
    return hashlib.sha256(account_id.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]


def _mark(place: str) -> str:
    return hashlib.sha256(place.encode(errors="surrogatepass")).hexdigest()[:8]


def _read(path: Path) -> Renewed | None:
    try:
        text = read_file(path).strip()
        renewed: Renewed = decoded_as(text, Renewed)
    except (OSError, NotJson):  # a process was killed while it wrote
        return None
    return renewed


def _is_of_no_use(path: Path) -> bool:
    """Whether that of an unknown account holds nothing, or is too old.  Raises OSError."""
    return _read(path) is None or path.stat().st_mtime < time.time() - _OF_USE_SECONDS


def _write(handle: int, text: bytes, *, at: int) -> None:
    os.lseek(handle, at, os.SEEK_SET)
    while text:
        text = text[os.write(handle, text) :]
