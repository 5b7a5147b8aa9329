"""Where the dashboard is, beside `/`."""

from __future__ import annotations

from typing import Final

FOLDER: Final = "/dashboard/"
EVENTS: Final = f"{FOLDER}events"
NEW_LINK: Final = "/kiro/dashboard"
