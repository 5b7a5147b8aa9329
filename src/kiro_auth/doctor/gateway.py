"""Whether the gateway that is announced is there, and is of now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from kiro_auth import __version__
from kiro_auth.doctor.files import unwritable
from kiro_auth.doctor.finding import Finding, failed
from kiro_auth.gateway.calls import RESTART, reach, trouble
from kiro_auth.gateway.discovery import STATE_FILE
from kiro_auth.gateway.kept_address import forget_news, read
from kiro_auth.gateway.other_options import OTHER_OPTIONS, has_other_options, remedy


def gateway(folder: Path) -> Iterator[Finding]:
    """Whether what is announced is there."""
    reached = reach(folder)
    path = folder / STATE_FILE
    kept = read(folder)
    if news := kept.news(time.time()) if kept else None:
        yield Finding("gateway", "warning", news.message, news.next_step, lambda: forget_news(folder))
    mend = None if reached.held or reached.address is None else lambda: path.unlink(missing_ok=True)
    if wrong := trouble(reached):
        yield failed("gateway", "warning", wrong, mend)
    elif reached.address is None:
        if not unwritable(folder):  # otherwise `files` reports it
            yield Finding("gateway", "ok", "not running; OpenCode and kiro-auth run start it when needed")
    elif reached.ours is None:
        what = f"{path} names a gateway that does not answer."
        yield Finding("gateway", "warning", what, f"Remove {path}.", mend)
    elif reached.ours.version != __version__:
        what = f"version {reached.ours.version} still runs."
        yield Finding("gateway", "warning", what, RESTART)
    elif has_other_options(reached.ours):
        yield Finding("gateway", "warning", OTHER_OPTIONS, remedy(reached.ours))
    else:
        yield Finding("gateway", "ok", f"running at {reached.ours.url}")
