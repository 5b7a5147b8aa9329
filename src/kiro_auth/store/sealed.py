"""Records as a database keeps them: sealed by AES-256-GCM, so that who reads the database reads no token.

A whole record is sealed, not single fields: it may hold fields of other programs, and nobody knows which of
these are secrets.  The key comes from the environment or a file, never from the database.  It says by its id
which one it is, so that several can be had at once: the first seals, all open.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.folders import in_folder
from kiro_auth.json_values import NotJson, decoded
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import read_file
from kiro_auth.store.unopened import PUT_BACK, CannotOpen, cannot_open
from kiro_auth.store.written import SEALED
from kiro_auth.texts import learn

VARIABLE: Final = "KIRO_STORE_KEY"
FILE_VARIABLE: Final = "KIRO_STORE_KEY_FILE"
_KEY_BYTES, _ID_BYTES, _NONCE_BYTES = 32, 4, 12
_MAKE_ONE: Final = "Make a key with `openssl rand -base64 32`, keep it apart from the database, and set "


class Sealer:
    """Seals with the first of the keys (32 bytes each), and opens what any of them has sealed."""

    def __init__(self, keys: list[bytes]) -> None:
        self._ciphers = {_id_of(key): AESGCM(key) for key in keys}
        self._newest = _id_of(keys[0])

    def seal(self, value: Mapping[str, Any], account_id: str) -> bytes:
        """The JSON object, sealed for this account: moved to another one it does not open."""
        nonce = os.urandom(_NONCE_BYTES)
        text = msgspec.json.encode(value)
        sealed = self._ciphers[self._newest].encrypt(nonce, text, _bound_to(account_id))
        return SEALED + self._newest + nonce + sealed

    def open(self, sealed: bytes, account_id: str) -> Mapping[str, Any]:
        """What was sealed for this account.  Raises CannotOpen."""
        key_id, begin = sealed[1 : 1 + _ID_BYTES], 1 + _ID_BYTES + _NONCE_BYTES
        is_whole = sealed.startswith(SEALED) and len(sealed) > begin
        cipher = self._ciphers.get(key_id)
        if is_whole and cipher is None:
            raise _other_key(account_id, key_id)
        value = None
        if is_whole and cipher is not None:
            with contextlib.suppress(InvalidTag, NotJson):
                nonce = sealed[1 + _ID_BYTES : begin]
                value = decoded(cipher.decrypt(nonce, sealed[begin:], _bound_to(account_id)))
        if not isinstance(value, dict):
            raise cannot_open(
                account_id,
                "its row was changed by another hand than this program's",
                PUT_BACK,
            )
        return value

    def is_newest(self, sealed: bytes) -> bool:
        """Whether the key that seals has sealed it."""
        return sealed[1 : 1 + _ID_BYTES] == self._newest


def read_keys(environment: Mapping[str, str]) -> list[bytes]:
    """The keys, those of the variable before those of the file; the first seals.  Raises ConfigFailed.

    They are base64, with white space or commas between them.
    """
    text = environment.get(VARIABLE, "")
    if path := environment.get(FILE_VARIABLE, "").strip():
        path = in_folder(path)
        try:
            text = f"{text}\n{read_file(Path(path)).decode(errors='replace')}"
        except OSError as error:
            raise _misconfigured(
                f"{FILE_VARIABLE} names {path}, which cannot be read: {reason(error)}.", "Mend it."
            ) from error
    words = text.replace(",", " ").split()
    learn(*words)
    if not words:
        raise _misconfigured(
            "Accounts in a database are sealed, and no key for it is set.", f"{_MAKE_ONE}{VARIABLE}."
        )
    return [_key(word) for word in words]


def _key(word: str) -> bytes:
    try:
        key = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise _misconfigured(
            f"A key of {VARIABLE} or {FILE_VARIABLE} is not base64 of {_KEY_BYTES} bytes.",
            f"{_MAKE_ONE}{VARIABLE}.",
        )
    return key


def _other_key(account_id: str, key_id: bytes) -> CannotOpen:
    remedy = f"Add that key to {VARIABLE} or to the file that {FILE_VARIABLE} names."
    of_all = f"The database holds an account that was sealed with another key ({key_id.hex()})."
    return cannot_open(
        account_id,
        f"it was sealed with another key ({key_id.hex()})",
        remedy,
        without_key=Failure(code="KA-STORE", message=of_all, next_step=remedy),
    )


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"kiro-auth key id" + key).digest()[:_ID_BYTES]


def _bound_to(account_id: str) -> bytes:
    return account_id.encode(errors="surrogatepass")


def _misconfigured(message: str, next_step: str) -> ConfigFailed:
    return ConfigFailed(Failure(code="KA-CONFIG", message=message, next_step=next_step))
