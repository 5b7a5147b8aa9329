"""Names in the form of a UUID (RFC 9562), as the service wants them.

Each request has two, which the standard library takes three times as many calls for.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

_NAMESPACE: Final = bytes.fromhex("6f1f7c4e5d0b4c599a520a6f3b2b7f10")
_LONGEST: Final = 256
"""Characters of a name whose UUID is kept: those of sessions, which come again with every turn."""


def random_uuid(random: bytes) -> str:
    """The UUID of version 4 that 16 random bytes make."""
    return _written(random.hex(), "4")


def uuid_of(name: str) -> str:
    """The UUID of version 5 of a name, by its UTF-8 in hexadecimal: always the same for the same name."""
    return _of_short(name) if len(name) <= _LONGEST else _of(name)


def _of(name: str) -> str:
    digits = name.encode(errors="surrogatepass").hex().encode()
    return _written(hashlib.sha1(_NAMESPACE + digits, usedforsecurity=False).hexdigest(), "5")


_of_short: Final = lru_cache(maxsize=256)(_of)


def _written(digits: str, version: str) -> str:
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
