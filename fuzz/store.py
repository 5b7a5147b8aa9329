"""Any file of accounts or usage gives records or StoreFailed, and reading it changes not a byte."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import strategies as st

from fuzz.mutation import changed_bytes, changed_json
from kiro_auth.failures import StoreFailed
from kiro_auth.store.files import ACCOUNTS, USAGE, FileStore

_ROW = {"id": "a", "accessToken": "t", "refreshToken": "r", "expiresAt": 1, "state": "ready", "label": "Mine"}
_ACCOUNTS = {"version": 1, "accounts": [_ROW, {**_ROW, "id": "b"}], "activeIndex": 0}
_USAGE = {"version": 1, "usage": {"a": {"used": 1.5, "limit": 1000}}}


def _files(sound: object, text: bytes) -> st.SearchStrategy[bytes]:
    return changed_json([sound]) | changed_bytes([text])


INPUTS = st.tuples(_files(_ACCOUNTS, b'{"accounts": []}'), _files(_USAGE, b'{"usage": {}}'))


def check(data: tuple[bytes, bytes]) -> None:
    """The invariant, for one input: the bytes of both files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = (folder / ACCOUNTS, folder / USAGE)
        for path, text in zip(paths, data, strict=True):
            path.write_bytes(text)
        store = FileStore(folder, folder / "locks")

        with contextlib.suppress(StoreFailed):
            snapshot = store.snapshot()
            assert all(isinstance(record, dict) for record in snapshot.accounts)
            assert all(isinstance(row, dict) for row in snapshot.usage.values())
            assert snapshot.active is None or isinstance(snapshot.active, str)
            assert store.snapshot() == snapshot

        assert tuple(path.read_bytes() for path in paths) == data
        assert sorted(folder.iterdir()) == sorted(paths)
