"""Whether the gateway that is announced is there, and is of now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kiro_auth import __version__
from kiro_auth.doctor.files import unwritable
from kiro_auth.doctor.finding import Finding, failed
from kiro_auth.gateway.calls import reach, trouble
from kiro_auth.gateway.discovery import STATE_FILE
from kiro_auth.gateway.options import has_other_options


def gateway(folder: Path) -> Iterator[Finding]:
    """Whether what is announced is there."""
    reached = reach(folder)
    path = folder / STATE_FILE
    mend = None if reached.held else lambda: path.unlink(missing_ok=True)
    if wrong := trouble(reached):
        yield failed("gateway", "warning", wrong, mend)
    elif reached.address is None:
        if not unwritable(folder):  # otherwise `files` reports it
            yield Finding("gateway", "ok", "not running; OpenCode starts it when needed")
    elif reached.ours is None:
        what = f"{path} names a gateway that does not answer."
        yield Finding("gateway", "warning", what, f"Remove {path}.", mend)
    elif reached.ours.version != __version__:
        remedy = "kiro-auth stop; the next request starts the new one."
        yield Finding("gateway", "warning", f"version {reached.ours.version} still runs.", remedy)
    elif has_other_options(reached.ours):
        what = "it was started with other options than kiro.json and the KIRO_ variables have now."
        yield Finding("gateway", "warning", what, "kiro-auth stop; the next request starts it anew.")
    else:
        yield Finding("gateway", "ok", f"running at {reached.ours.url}")
