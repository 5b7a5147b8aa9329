"""What is reported of Kiro's terms: said once, before a person's first sign-in.  README says the same."""

from __future__ import annotations

from typing import Final

from kiro_auth.store.protocol import Store

REPORTED: Final = (
    "Users quote Kiro's FAQ as allowing a subscription in Kiro's own programs, in editors over ACP and in "
    "automation without a person, and in no other agents; some report that AWS locked an account that was "
    "used through other programs. Read the terms first."
)


def notice_of_terms(store: Store) -> str | None:
    """What to say before the first sign-in; None for a person who has an account already."""
    return None if store.snapshot().accounts else f"{REPORTED} Whether to go on is yours to decide."
