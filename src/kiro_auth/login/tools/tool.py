"""What this program can do with another one that holds sign-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from kiro_auth.accounts.account import Source
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.folders import Machine
from kiro_auth.json_values import as_object
from kiro_auth.login.tools.held import Held
from kiro_auth.os_errors import reason

Place = TypeVar("Place")
Item = TypeVar("Item")
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


def is_there(path: Path) -> bool:
    """Whether there is such a file.  Raises StoreFailed where that cannot be seen."""
    try:
        return path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> StoreFailed:
    """That a file of another program cannot be read; half a file is no sign-out, its owner may be writing."""
    return StoreFailed(
        Failure(
            code="KA-STORE",
            message=f"{path} cannot be read: {reason(error)}.",
            next_step="If the program that owns it is writing just now, repeat it.",
        )
    )


def looked_into(
    places: Iterable[Place], look: Callable[[Place], list[Item]], on_trouble: OnTrouble
) -> list[Item]:
    """What `look` finds in all places."""
    items: list[Item] = []
    for place in places:
        try:
            items += look(place)
        except StoreFailed as error:
            on_trouble(error.failure)
    return items


def held_in(
    path: Path,
    entries: Sequence[Any],
    read: Callable[[Path, Mapping[str, Any]], Held | None],
    on_trouble: OnTrouble,
) -> list[Held]:
    """The sign-ins that `read` finds in a file's list of accounts; an entry without one hides no other."""
    items = []
    for number, entry in enumerate(entries, 1):
        held = read(path, as_object(entry))
        if held is not None:
            items.append(held)
            continue
        what = f"Account {number} of {len(entries)} in {path} holds no sign-in and is passed over."
        on_trouble(Failure(code="KA-STORE", message=what, next_step="Sign in again: kiro-auth login"))
    return items
