"""The service's cache of what histories begin with, as far as metering shows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

from kiro_auth.simulator.validator import count_tokens

_WARM_SECONDS: Final = 300.0
"""About as long as is reported of Claude models (2026)."""


class PrefixCache:
    """`clock` gives epoch seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}  # when it came last, by the digest of messages

    def read(self, caching: str, history: Any) -> int:
        """How many tokens of this history were cached; from now on all of it is.

        `caching` as in the settings: for `points` it counts up to the last message with a cache point.
        """
        if caching == "none" or not isinstance(history, list):
            return 0
        now, cached = self._clock(), 0
        for length in range(1, len(history) + 1):
            if caching == "points" and not _has_point(history[length - 1]):
                continue
            digest = hashlib.sha256(json.dumps(history[:length]).encode()).hexdigest()
            if now - self._seen.get(digest, float("-inf")) <= _WARM_SECONDS:
                cached = count_tokens(history[:length])
            self._seen[digest] = now
        return cached


def _has_point(entry: Any) -> bool:
    return any(isinstance(message, dict) and "cachePoint" in message for message in entry.values())
