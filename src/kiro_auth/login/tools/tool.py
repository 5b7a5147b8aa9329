"""What this program can do with another one that holds sign-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias, TypeVar

from msgspec import Struct

from kiro_auth.accounts.account import Source
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.folders import Machine
from kiro_auth.login.tools.held import Held

Place = TypeVar("Place")
OnTrouble: TypeAlias = Callable[[Failure], None]
"""Hears of a place that cannot be read."""


class NewTokens(Struct, frozen=True):
    """What a renewal brought, and the refresh token that it spent.  `expires_at` is epoch seconds."""

    spent: str
    access_token: str
    refresh_token: str
    expires_at: float


class Tool(Protocol):
    """A program whose sign-ins can be taken over."""

    def find(self, machine: Machine, on_trouble: OnTrouble) -> list[Held]:
        """The sign-ins that it holds; a place that cannot be read stops no other."""


class SharingTool(Tool, Protocol):
    """One whose sign-ins stay its own, and are shared: its store says which tokens are the newest."""

    def read(self, source: Source) -> Held | None:
        """The sign-in as it stands there now; None when it is gone.  Raises StoreFailed."""

    def write_back(self, source: Source, new: NewTokens) -> bool:
        """Put new tokens in the place of those that were spent, so that the program stays signed in.

        Whether that was done: nothing is written unless the spent refresh token is still there, or where the
        file is of another system.
        """


def looked_into(
    places: Iterable[Place], look: Callable[[Place], list[Held]], on_trouble: OnTrouble
) -> list[Held]:
    """What `look` finds in all places."""
    found: list[Held] = []
    for place in places:
        try:
            found += look(place)
        except StoreFailed as error:
            on_trouble(error.failure)
    return found
