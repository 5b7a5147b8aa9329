"""Who may come in: the key or a proof, and the Host and Origin that keep web pages out.

A page in the user's browser can send requests to loopback addresses.  It cannot know the key, and the two
headers stop it earlier: `Host` must name this machine (a page that rebinds its own name to 127.0.0.1 sends
that name), and a request with a foreign `Origin` is refused.  A user may name exceptions: what containers
call this machine, and origins of desktop programs that are made of a browser's engine.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct, field

from kiro_auth.addresses import is_loopback
from kiro_auth.events import Caller
from kiro_auth.failures import Failure
from kiro_auth.gateway.client_keys import ClientKeys
from kiro_auth.gateway.proof import SCHEME, Prover
from kiro_auth.gateway.proxies import Proxies
from kiro_auth.texts import learn

OWNER: Final = Caller(id="owner", name="owner")
"""Who holds the gateway's own key: its owner."""


class Guard(Struct):
    """The rules of one gateway.

    The `key` may be changed while it runs; `other_key` counts as well.  A caller that `prover` believes needs
    no key.  Holders of `client_keys` come in as well.  `public` drops the Host rule: names are then the
    operator's affair.  `hosts` are further names for this machine, in lower case and without a port;
    `origins` are let in, exactly as they are.  `proxies` are those that
    stand before the gateway.  `clock` gives seconds, and never goes back.
    """

    key: str
    prover: Prover
    other_key: str = ""
    client_keys: ClientKeys = field(default_factory=lambda: ClientKeys(None))
    public: bool = False
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    proxies: Proxies = field(default_factory=Proxies)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """The keys stand in no text."""
        learn(self.key, self.other_key)

    def admit(self, headers: Mapping[str, str], *, key_needed: bool) -> Caller | Failure:
        """Who sends a request, or why it may not come in.  Names of headers are in lower case.

        Without `key_needed` a request may come without a key, but not with a wrong one.
        """
        foreign = self._foreign_host(headers) or self._foreign_origin(headers)
        return foreign or self._caller(headers, key_needed=key_needed)

    def lets_read(self, headers: Mapping[str, str]) -> bool:
        """Whether the program at the request's origin is one of those that are let in."""
        return headers.get("origin") in self.origins

    def _foreign_host(self, headers: Mapping[str, str]) -> Failure | None:
        name = _name_in(headers.get("host", ""))
        if self.public or is_loopback(name) or name in self.hosts:
            return None
        step = "Use the address http://127.0.0.1."
        if shown := name[:80]:
            step += f" If {shown} is this machine too: {_let_in('host', shown)}"
        return _refused("The Host header does not name this machine.", step, "KA-ORIGIN")

    def _foreign_origin(self, headers: Mapping[str, str]) -> Failure | None:
        origin = headers.get("origin")
        if origin is None or origin in self.origins or origin.partition("://")[2] == headers.get("host"):
            return None
        shown = origin[:80]
        step = f"If {shown} is a program of yours: {_let_in('origin', shown)}"
        return _refused(
            "Requests from web pages are not accepted.", None if shown == "null" else step, "KA-ORIGIN"
        )

    def _caller(self, headers: Mapping[str, str], *, key_needed: bool) -> Caller | Failure:
        scheme, token, keys = "", "", []
        if key := headers.get("x-api-key"):
            keys.append(key)
        if sent := headers.get("authorization"):
            scheme, _, token = sent.partition(" ")
            if scheme.lower() == "bearer" and (key := token.strip()):
                keys.append(key)
        if scheme == SCHEME and self.prover.is_caller(token, self.clock()):
            return OWNER
        if scheme == SCHEME and not keys:
            return _refused("The proof is wrong or too old.", None)
        if not keys:
            return _refused("The gateway's key is missing.", _KEY_STEP) if key_needed else OWNER
        # A client may send a key of its own beside the one that it was told.
        for key in keys:
            if self._is_right(key):
                return OWNER
        known = [found for key in keys if (found := self.client_keys.admit(key)) is not None]
        holders = (found for found in known if isinstance(found, Caller))
        refusal = known[0] if known else _refused("The gateway's key is wrong.", _KEY_STEP)
        return next(holders, refusal)

    def _is_right(self, key: str) -> bool:
        given = key.encode(errors="replace")
        if self.key and hmac.compare_digest(given, self.key.encode(errors="replace")):
            return True
        return bool(self.other_key) and hmac.compare_digest(given, self.other_key.encode(errors="replace"))


_KEY_STEP = "Send it as `x-api-key` or `Authorization: Bearer`; `kiro-auth key show` prints it."


def _refused(message: str, next_step: str | None, code: str = "KA-KEY") -> Failure:
    return Failure(code=code, message=message, next_step=next_step)


def _let_in(what: str, name: str) -> str:
    return f"kiro-auth serve --allow-{what} {name}, or allow_{what} in kiro.json."


@lru_cache(maxsize=32)
def _name_in(host: str) -> str:
    """The name or address in a Host header, in lower case; nothing where that cannot be read."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
