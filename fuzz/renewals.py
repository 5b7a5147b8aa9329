"""Any record of an account, and any file of its renewal, give what can be used or StoreFailed."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

from hypothesis import strategies as st

from fuzz.mutation import changed_bytes, changed_json
from kiro_auth.accounts.account import IS_ID, account_of
from kiro_auth.failures import StoreFailed
from kiro_auth.json_values import object_in
from kiro_auth.store.ahead import AheadFiles, path_of

_RECORD = {
    "id": "a" * 32,
    "authMethod": "idc",
    "accessToken": "t",
    "refreshToken": "r",
    "expiresAt": 1_800_000_000_000,
    "clientSecretExpiresAt": 1_800_000_000_000,
    "state": "cooling",
    "stateUntil": 1_800_000_000_000,
    "generation": 3,
    "kiroAuth": {"provider": {"token_endpoint": "https://a.example"}},
}
_RENEWED = {"account_id": "a", "spent": "r", "fields": {"accessToken": "t2", "generation": 4}}

INPUTS = st.tuples(
    changed_json([_RECORD]),
    changed_json([_RENEWED])
    | changed_bytes([b'{"account_id": "a", "spent": null, "fields": {}}    ', b"   "]),
)


def check(data: tuple[bytes, bytes]) -> None:
    """The invariant, for one input: a record, and what is in a file of renewals."""
    record, renewed = data
    with contextlib.suppress(StoreFailed):
        account = account_of(object_in(record) or {})
        assert IS_ID.fullmatch(account.id)
        assert (account.access_token or "t").isprintable()
        assert 0 <= account.expires_at < 1e13
        assert 0 <= account.generation < 1e13
    with tempfile.TemporaryDirectory() as name:
        path = path_of(Path(name), "a", "here")
        path.write_bytes(renewed)
        kept = asyncio.run(AheadFiles(Path(name), "here").kept("a"))
        assert kept is None or kept.account_id == "a"
        assert path.read_bytes() == renewed
