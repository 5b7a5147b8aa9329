"""The last words of `login` and `demo`: what to type next."""

from __future__ import annotations

import shutil
from pathlib import Path

import kiro_auth


def print_next_steps(*, signed_in: bool) -> None:
    """The next commands, each with what it is for, by what is installed here."""
    from kiro_auth.clients.next_steps import PROGRAM, next_steps
    from kiro_auth.clients.setups import Name
    from kiro_auth.opencode.install import has_shim
    from kiro_auth.opencode.places import plugin_folders

    steps = next_steps(
        {name for name in (PROGRAM, *Name) if shutil.which(name)},
        signed_in=signed_in,
        has_plugin=any(map(has_shim, plugin_folders())),
        clone=_clone(),
    )
    width = max(len(step.command) for step in steps)
    print("\nNext:")
    for step in steps:
        print(f"  {step.command:{width}}  {step.purpose}", flush=True)


def _clone() -> str | None:
    """The folder of the source that this runs from; None for an installed program."""
    folder = Path(kiro_auth.__file__).parents[2]
    return str(folder) if (folder / "pyproject.toml").is_file() else None
