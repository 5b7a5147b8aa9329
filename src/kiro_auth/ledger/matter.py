"""What the credits of a turn are counted by."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from kiro_auth.events import TurnEnded
from kiro_auth.ledger.row import Row, shown

Scope: TypeAlias = Literal["day", "session", "project", "key"]
"""What credits are counted by: a day as a whole, in it a project and a key, and a conversation."""


class Matter(Struct, frozen=True):
    """What a turn is counted for; a part that is None is counted for nothing."""

    session: str | None
    project: str | None
    caller: str

    def of(self, scope: Scope) -> str | None:
        """The name under which a scope counts it."""
        names: dict[Scope, str | None] = {
            "day": "",
            "session": self.session,
            "project": self.project,
            "key": self.caller,
        }
        return names[scope]


def matter(caller: str, project: str | None, session: str | None) -> Matter:
    """What a turn is counted for, by the names that the ledger has."""
    return Matter(session=shown(session), project=shown(project), caller=caller)


def matter_of(turn: TurnEnded) -> Matter:
    """What a turn that ended is counted for."""
    return matter(turn.caller.id, turn.project, turn.asked.session if turn.asked else None)


def matter_of_row(row: Row) -> Matter:
    """What a turn of the ledger is counted for."""
    return Matter(session=row.session, project=row.project, caller=row.caller)
