"""Records as a file on one machine keeps them: sealed where there is a key for that, else as JSON in clear.

Both can stand side by side, as a key may come later; what is in clear is sealed by the next change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from kiro_auth.failures import StoreFailed
from kiro_auth.json_values import NotJson, decoded
from kiro_auth.store.json_file import failed

_BEGIN: Final = b"{"
"""How JSON begins, and nothing that is sealed."""


class Seals(Protocol):
    """See `sealed.Sealer`, which brings the library of ciphers with it."""

    def seal(self, value: Mapping[str, Any], account_id: str) -> bytes:
        """The JSON object, sealed for this account."""

    def open(self, sealed: bytes, account_id: str) -> Mapping[str, Any]:
        """What was sealed for this account.  Raises StoreFailed."""

    def is_newest(self, sealed: bytes) -> bool:
        """Whether the key that seals has sealed it."""


class Writing:
    """How records are written and read: with `sealer`, or in clear where there is none."""

    def __init__(self, sealer: Seals | None) -> None:
        self._sealer = sealer

    @property
    def seals(self) -> bool:
        """Whether what is written is sealed."""
        return self._sealer is not None

    def write(self, value: Mapping[str, Any], account_id: str) -> bytes:
        """The object as it is kept."""
        if self._sealer is not None:
            return self._sealer.seal(value, account_id)
        return msgspec.json.encode(value)

    def read(self, text: bytes, account_id: str) -> Mapping[str, Any]:
        """What was written.  Raises StoreFailed."""
        if not text.startswith(_BEGIN):
            if self._sealer is None:
                raise _sealed()
            return self._sealer.open(text, account_id)
        try:
            return decoded(text)  # type: ignore[no-any-return]
        except NotJson as error:
            raise failed(
                f"An account in the file of accounts is not JSON: {error}.",
                "Put the file back from a backup, or move it away and sign in again: kiro-auth login",
            ) from error

    def is_as_new(self, text: bytes) -> bool:
        """Whether it would be written like this today."""
        if self._sealer is None:
            return text.startswith(_BEGIN)
        return not text.startswith(_BEGIN) and self._sealer.is_newest(text)


def _sealed() -> StoreFailed:
    return failed(
        "The accounts in the file of accounts are sealed, and no key is set.",
        "Set the key that sealed them: KIRO_STORE_KEY, or KIRO_STORE_KEY_FILE for a file that holds it.",
    )
