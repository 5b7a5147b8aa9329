"""The client keys as a running gateway knows them: new ones at once, revoked ones within a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kiro_auth.events import Caller
from kiro_auth.failures import Failure, StoreFailed, TurnFailed
from kiro_auth.keys import rules
from kiro_auth.keys.key import PREFIX, ClientKey, hashed
from kiro_auth.keys.protocol import KeyStore
from kiro_auth.texts import learn

LOOK_SECONDS: Final = 1.0
"""How long what was seen of the store counts."""


class ClientKeys:
    """The keys of a store, None for a gateway that has none; `clock` gives epoch seconds.

    While the store cannot be read nobody comes in with a client key.
    """

    def __init__(
        self,
        store: KeyStore | None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._looked = float("-inf")
        self._seen: Sequence[ClientKey] | None = None
        self._failure: Failure | None = None
        self._by_hash: Mapping[str, ClientKey] = {}
        self._by_id: Mapping[str, ClientKey] = {}

    def admit(self, secret: str) -> Caller | Failure | None:
        """Who comes in with it, or why nobody does; None: it is no client key.

        The look-up is by the hash, so that its time tells nothing of any key.
        """
        if self._store is None or not secret.startswith(PREFIX):
            return None
        name = hashed(secret)
        if self._monotonic() - self._looked >= LOOK_SECONDS or name not in self._by_hash:
            self._look(self._store)
        if self._failure is not None:
            return self._failure
        key = self._by_hash.get(name)
        if key is None:
            return None
        learn(secret)
        return rules.door(key, self._clock()) or Caller(id=key.id, name=key.name, secret_hash=name)

    def are_any(self) -> bool:
        """Whether there is any, as far as is known."""
        self._look_again()
        return bool(self._by_id)

    def named(self, name: str) -> Caller | Failure | None:
        """Whose key has this name, or why nobody comes in with it; None: there is none.

        One that was revoked may have a successor of the same name.
        """
        self._look_again()
        if self._failure is not None:
            return self._failure
        refusal = None
        for key in self._by_id.values():
            if key.name == name:
                refusal = rules.door(key, self._clock())
                if refusal is None:
                    return Caller(id=key.id, name=key.name, secret_hash=key.hash)
        return refusal

    def still(self, caller: Caller) -> ClientKey:
        """The key of somebody who came in a while ago.  Raises TurnFailed when it lets nobody in now."""
        self._look_again()
        key = self._by_id.get(caller.id)
        if self._failure is not None:
            raise TurnFailed(self._failure)
        if key is None:
            raise TurnFailed(rules.gone(caller.name))
        failure = rules.door(key, self._clock())
        if failure is None and key.hash != caller.secret_hash:
            failure = rules.rotated(key)
        if failure is not None:
            raise TurnFailed(failure)
        return key

    def key_of(self, caller: Caller) -> ClientKey | None:
        """The key of somebody who was let in; None for the holder of the gateway's own."""
        return self._by_id.get(caller.id)

    def _look_again(self) -> None:
        if self._store is not None and self._monotonic() - self._looked >= LOOK_SECONDS:
            self._look(self._store)

    def _look(self, store: KeyStore) -> None:
        self._looked = self._monotonic()
        try:
            keys = store.keys()
        except StoreFailed as error:
            self._failure = error.failure
            return
        self._failure = None
        if keys is not self._seen:
            self._seen = keys
            self._by_hash = {key.hash: key for key in keys}
            self._by_id = {key.id: key for key in keys}
