"""A turn that ended, for those who hear of turns."""

from __future__ import annotations

from typing import Any

from kiro_auth.events import Answered, Asked, Caller, Served, TurnEnded
from kiro_auth.reply_usage import Figure, Usage


def turn_ended(
    account: str | None = "a", *, name: str = "Account a", metered: float | None = None, **fields: Any
) -> TurnEnded:
    """A turn that this account answered; `metered` are the credits that the service counted."""
    usage = Usage(Figure(10, "estimated"), Figure(2, "estimated"), credits=metered)
    asked = Asked(
        model="claude-sonnet-4-5",
        session=None,
        kind=None,
        stream=True,
        messages=1,
        tools=0,
        images=0,
        documents=0,
        size=1234,
    )
    served = account and Served(account=account, account_name=name, model="claude-sonnet-4.5")
    usual: dict[str, Any] = {
        "when": 1_800_000_000.0,
        "caller": Caller(id="owner", name="owner"),
        "client": None,
        "surface": "/v1/messages",
        "asked": asked,
        "served": served or None,
        "attempts": (),
        "repairs": (),
        "first_byte": 0.5,
        "seconds": 2.0,
        "usage": usage,
        "end": Answered("end"),
    }
    return TurnEnded(**(usual | fields))
