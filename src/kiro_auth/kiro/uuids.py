"""Names in the form of a UUID (RFC 9562), as the service wants them.

Each request has two, which the standard library takes three times as many calls for.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

_NAMESPACE: Final = bytes.fromhex("6f1f7c4e5d0b4c599a520a6f3b2b7f10")


def random_uuid(random: bytes) -> str:
    """The UUID of version 4 that 16 random bytes make."""
    return _written(random.hex(), "4")


def uuid_of(name: str) -> str:
    """The UUID of version 5 of a name, by its UTF-8 in hexadecimal: always the same for the same name."""
    digits = name.encode(errors="surrogatepass").hex().encode()
    return _written(hashlib.sha1(_NAMESPACE + digits, usedforsecurity=False).hexdigest(), "5")


uuid_of_session: Final = lru_cache(maxsize=256)(uuid_of)
"""The same of a session's name, which is short and comes again with every turn; only those are kept."""


def _written(digits: str, version: str) -> str:
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
