"""Where the dashboard is, beside `/`."""

from __future__ import annotations

from typing import Final

from kiro_auth.option_kinds import BACK

FOLDER: Final = "/dashboard/"
EVENTS: Final = f"{FOLDER}events"
SIGN_IN: Final = f"{FOLDER}sign-in"
SIGNED_IN: Final = BACK
NEW_LINK: Final = "/kiro/dashboard"
SAME_USER: Final = "same"
"""The parameter `user` of NEW_LINK: programs of the user who asks may follow the link, and nobody else's."""
