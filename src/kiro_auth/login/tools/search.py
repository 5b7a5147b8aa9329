"""The sign-ins of all other programs on this machine, or of one of them."""

from __future__ import annotations

from pathlib import Path

from kiro_auth.failures import Failure
from kiro_auth.folders import Machine
from kiro_auth.login.tools.export import exported
from kiro_auth.login.tools.held import Held
from kiro_auth.login.tools.owners import with_owners
from kiro_auth.login.tools.table import SHARING, TOOLS
from kiro_auth.login.tools.tool import OnTrouble

ALL = "auto"
"""The word for all programs at once."""


def find(wanted: str, machine: Machine, on_trouble: OnTrouble) -> list[Held]:
    """The sign-ins of one program, of all of them, or of an export whose path is `wanted`.

    Those of the original come as the program's that owns them.  A place that cannot be read stops no other:
    `on_trouble` hears of it.  Raises ConfigFailed for a name that is none, and for a file that is no export.
    """
    if wanted != ALL and wanted not in TOOLS:
        return exported(Path(wanted), on_trouble)
    others: list[Held] = []
    copies: list[Held] = []
    owners: list[Held] = []
    for name, tool in TOOLS.items():
        is_wanted = wanted in (ALL, name)
        held = tool.find(machine, on_trouble if is_wanted else _nobody)
        if name in SHARING:
            owners += held
        if is_wanted:
            (others if name in SHARING else copies).extend(held)
    # A shared sign-in comes once, and with what the original's copy of it adds.
    owned = with_owners(copies, owners)
    return list({held.source: held for held in [*others, *owned]}.values())


def _nobody(_: Failure) -> None:
    """Hears of places that were not asked for."""
