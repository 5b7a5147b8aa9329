"""Open the sign-in page in a browser, as a convenience: never needed, never fatal, never through a shell."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from kiro_auth.addresses import acceptable_url

_REMOTE: Final = (
    "SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT", "CI", "CODESPACES", "REMOTE_CONTAINERS",
    "KUBERNETES_SERVICE_HOST", "container",
)  # fmt: skip
"""Variables that tell of a machine whose screen the user does not see."""
_CONTAINER_FILES: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))


def open_page(url: str) -> bool:
    """Try to show `url`; whether some program took it, which is no promise that anybody sees it."""
    if not acceptable_url(url) or not url.isprintable():
        return False
    return any(_start(command) for command in _openers_here(url))


def shows_windows() -> bool:
    """Whether the user is likely to see a window of this machine."""
    return bool(_openers_here(""))


def shows_them_to_this_user() -> bool:
    """Whether the browser is a program of this user on this system: that of WSL is a program of Windows."""
    return not _is_in_windows(platform.release())


def _is_in_windows(kernel: str) -> bool:
    return any(word in kernel.lower() for word in ("microsoft", "wsl"))


def _openers_here(url: str) -> Sequence[Sequence[str]]:
    in_container = any(path.exists() for path in _CONTAINER_FILES)
    return openers(url, os.environ, sys.platform, platform.release(), in_container=in_container)


def openers(
    url: str, environment: Mapping[str, str], system: str, kernel: str, *, in_container: bool
) -> Sequence[Sequence[str]]:
    """The commands to try, in order; none where the user cannot see a window of this machine.

    `system` is as in `sys.platform`; a Linux kernel of Windows (WSL) shows pages in the Windows browser.
    """
    if in_container or any(environment.get(name) for name in _REMOTE):
        return ()
    if system == "darwin":
        return (("open", url),)
    if system == "win32":
        return (("rundll32", "url.dll,FileProtocolHandler", url),)
    if _is_in_windows(kernel):
        return (("wslview", url), ("explorer.exe", url))
    if environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"):
        return (("xdg-open", url),)
    return ()


def _start(command: Sequence[str]) -> bool:
    try:
        subprocess.Popen(  # noqa: S603 (a fixed program; the URL is one argument, never shell text)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # it outlives us, and our Ctrl-C is not its
        )
    except OSError:
        return False
    return True
