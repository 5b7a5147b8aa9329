"""Records as a file on one machine keeps them: sealed where there is a key for that, else as JSON in clear.

Both can stand side by side, as a key may come later; what is in clear is sealed by the next change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from kiro_auth.json_values import NotJson, decoded
from kiro_auth.store.json_file import failed
from kiro_auth.store.unopened import PUT_BACK, cannot_open

SEALED: Final = b"\x01"
"""How what is sealed begins, which says how the rest is to be read."""
_BEGIN: Final = b"{"
"""How JSON begins, and nothing that is sealed."""
_SET: Final = "Set the key that sealed it: KIRO_STORE_KEY, or KIRO_STORE_KEY_FILE for a file that holds it."
_SEALED: Final = failed("The accounts in the file of accounts are sealed, and no key is set.", _SET).failure


class Seals(Protocol):
    """See `sealed.Sealer`, which brings the library of ciphers with it."""

    def seal(self, value: Mapping[str, Any], account_id: str) -> bytes:
        """The JSON object, sealed for this account."""

    def open(self, sealed: bytes, account_id: str) -> Mapping[str, Any]:
        """What was sealed for this account.  Raises CannotOpen."""

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
        """What was written.  Raises CannotOpen."""
        if not text.startswith(_BEGIN):
            if self._sealer is not None:
                return self._sealer.open(text, account_id)
            if text.startswith(SEALED):
                raise cannot_open(account_id, "it is sealed, and no key is set", _SET, without_key=_SEALED)
        try:
            value = decoded(text)
        except NotJson as error:
            raise cannot_open(account_id, f"its row is not JSON: {error}", PUT_BACK) from error
        if not isinstance(value, dict):
            raise cannot_open(account_id, "its row is not a JSON object", PUT_BACK)
        return value

    def read_record(self, text: bytes, account_id: str) -> Mapping[str, Any]:
        """An account's record that was written.  Raises CannotOpen."""
        record = self.read(text, account_id)
        if record.get("id") != account_id:
            raise cannot_open(account_id, "its row holds another id", PUT_BACK)
        return record

    def is_as_new(self, text: bytes) -> bool:
        """Whether it would be written like this today."""
        if self._sealer is None:
            return text.startswith(_BEGIN)
        return not text.startswith(_BEGIN) and self._sealer.is_newest(text)
