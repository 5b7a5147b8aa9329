"""Which account each conversation stays with: caches and signed reasoning belong to it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

REMEMBERED: Final = 1000
"""How many conversations are remembered; the one unused for longest is forgotten first."""


class Sessions:
    """The home account of each conversation, by their ids.  A conversation without an id has none."""

    def __init__(self) -> None:
        self._homes: OrderedDict[str, str] = OrderedDict()

    def home(self, session: str | None) -> str | None:
        """The account that the conversation stays with."""
        if session is None or session not in self._homes:
            return None
        self._homes.move_to_end(session)
        return self._homes[session]

    def settle(self, session: str | None, account: str) -> None:
        """The conversation stays with this account from here on."""
        if session is None:
            return
        self._homes[session] = account
        if len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)
