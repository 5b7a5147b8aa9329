"""Who may come in: the key, and the Host and Origin that keep web pages out.

A page in the user's browser can send requests to loopback addresses.  It cannot know the key, and the two
headers stop it earlier: `Host` must name this machine (a page that rebinds its own name to 127.0.0.1 sends
that name), and a request with a foreign `Origin` is refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from kiro_auth.addresses import is_loopback
from kiro_auth.failures import Failure


class Guard(Struct, frozen=True):
    """The rules of one gateway.  `public` drops the Host rule: names are then the operator's affair."""

    key: str
    public: bool = False

    def refusal(self, headers: Mapping[str, str], *, key_needed: bool) -> Failure | None:
        """Why a request may not come in, or None.

        Without `key_needed` a request may come without a key, but not with a wrong one.
        """
        if not self.public and not _names_this_machine(headers.get("Host", "")):
            return _refused(
                "The Host header does not name this machine.", "Use the address http://127.0.0.1."
            )
        origin = headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != headers.get("Host"):
            return _refused("Requests from web pages are not accepted.", None)
        given = _given_keys(headers)
        if not given:
            return _refused("The gateway's key is missing.", _KEY_STEP) if key_needed else None
        # A client may send a key of its own beside the one that it was told.
        if not any(self._is_right(key) for key in given):
            return _refused("The gateway's key is wrong.", _KEY_STEP)
        return None

    def _is_right(self, key: str) -> bool:
        return hmac.compare_digest(key.encode(errors="replace"), self.key.encode(errors="replace"))


_KEY_STEP = "Send it as `x-api-key` or `Authorization: Bearer`; `kiro-auth status` says where it is kept."


def _refused(message: str, next_step: str | None) -> Failure:
    return Failure(code="KA-KEY", message=message, next_step=next_step)


def _given_keys(headers: Mapping[str, str]) -> list[str]:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return [key for key in (headers.get("x-api-key", ""), bearer) if key]


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name)
