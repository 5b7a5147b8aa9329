"""A notice of a newer release, for a person at a terminal: an index is asked once a day at most.

No index is built in: this program is not published, and what has its name elsewhere is somebody else's.  One
is asked only where the option `update_index` names it.  No gateway asks, no pipe, no CI; and what goes wrong
is not told.
"""

from __future__ import annotations

import os
import re
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Final

from kiro_auth import __version__
from kiro_auth.gateway.discovery import is_older
from kiro_auth.json_values import as_object, object_in

SECONDS: Final = 2.0
"""How long the answer is waited for, in all; the command goes on meanwhile."""
DAY: Final = 86400.0
STAMP_FILE: Final = "update-check"
"""In the state folder; when it was written last is when an index was asked last."""
NAME: Final = "opencode-kiro-auth"
_LARGEST: Final = 10_000_000  # bytes of an answer; with many releases it is long
_RELEASE: Final = re.compile(r"\d{1,6}(?:\.\d{1,6}){1,3}", re.ASCII)
_NEVER: Final = ("serve", "run", "env", "simulate", "demo", "logs", "stop", "report")
"""Verbs that stay, that other programs run, or that are used when something is wrong."""


def is_wanted(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a person reads the output of this command and may be told something besides."""
    if environment.get("CI") or not (sys.stdout.isatty() and sys.stderr.isatty()):
        return False
    verb = next((word for word in arguments if not word.startswith("-")), None)
    return verb is not None and verb not in _NEVER and "--json" not in arguments


class Check:
    """One look at the index, beside the command that goes on meanwhile; `folder` keeps when that was."""

    def __init__(self, index: str, folder: Path) -> None:
        self._newest: str | None = None
        self._end = time.monotonic() + SECONDS
        self._asking: Thread | None = None
        if _is_due(folder / STAMP_FILE):
            # As a daemon it holds up nothing, however the index behaves.
            self._asking = Thread(target=self._ask, args=(index,), daemon=True)
            self._asking.start()

    def notice(self) -> str | None:
        """What there is to tell, in what is left of the time."""
        if self._asking is not None:
            self._asking.join(max(0.0, self._end - time.monotonic()))
        newest = self._newest
        if newest is None or not is_older(__version__, newest):
            return None
        return (
            f"kiro-auth {newest} is there; this is {__version__}. No more of this: update_check in kiro.json."
        )

    def _ask(self, index: str) -> None:
        try:
            self._newest = newest_release(index)
        except Exception:  # nothing of this is worth a word
            self._newest = None


def newest_release(index: str) -> str | None:
    """The newest release that this index names, in the JSON that PyPI answers with; None for none of ours.

    Proxies are those of the environment.  Raises OSError, ValueError.
    """
    agent = {"User-Agent": f"{NAME}/{__version__}", "Accept": "application/json"}
    request = urllib.request.Request(index, headers=agent)  # noqa: S310 (the option takes https, or this machine)
    with urllib.request.build_opener().open(request, timeout=SECONDS) as answer:
        told = as_object((object_in(answer.read(_LARGEST)) or {}).get("info"))
    name, version = str(told.get("name")), str(told.get("version"))
    is_ours = re.sub(r"[-_.]+", "-", name).lower() == NAME
    return version if is_ours and not told.get("yanked") and _RELEASE.fullmatch(version) else None


def _is_due(stamp: Path) -> bool:
    """Whether none was asked for a day; from now on one was, whatever it answers."""
    try:
        if 0 <= time.time() - stamp.stat().st_mtime < DAY:
            return False
    except FileNotFoundError:
        pass
    except OSError:
        return False
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        stamp.touch(mode=0o600)
        os.utime(stamp)
    except OSError:  # where it cannot be noted, it would be asked every time
        return False
    return True
