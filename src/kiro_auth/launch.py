"""How a gateway process is started, by a command or by the OpenCode plugin.

Nothing of the folder or the shell of the day may change what runs: Python starts in isolated mode, and the
process sees the variables of `KEPT` alone.  It runs in the home, so a relative path in one of `PATHS` is
handed on whole.
"""

from __future__ import annotations

import re
import site
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kiro_auth.folders import in_folder

IDLE_MINUTES: Final = 30
"""After so long without a request a gateway that another program started ends."""

KEPT: Final[tuple[str, ...]] = (
    # folders
    *("HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "TEMP", "TMP"),
    *("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"),
    # Windows' own, without which no program starts there
    *("SystemRoot", "SystemDrive", "WINDIR", "COMSPEC", "PATHEXT", "ProgramData"),
    *("APPDATA", "LOCALAPPDATA", "USERPROFILE", "USERNAME", "HOMEDRIVE", "HOMEPATH"),
    # the system's keyring, by the D-Bus of the session
    *("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"),
    # language and time
    *("LANG", "LC_*", "TZ"),
    # the way to AWS
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    # options
    "KIRO_*",
    # the way to the database of the option `store`
    "PG*",
)
"""The environment variables that a gateway sees, in any case: names, or beginnings of names before a `*`."""

PATHS: Final[tuple[str, ...]] = (
    *("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "APPDATA", "LOCALAPPDATA"),
    *("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("KIRO_STORE_KEY_FILE", "KIRO_TLS_CERT", "KIRO_TLS_KEY"),
    *("PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR"),
    *("PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR"),
)
"""Those of them that name one file or folder."""
_NO_PATH: Final = re.compile(r"PGSSL\w+=(system|\w+:.*)", re.IGNORECASE)
"""What libpq takes in place of a path: the system's authorities, a key in a device."""


def start_command() -> list[str]:
    """The command that starts the user's gateway with this Python; it ends by itself when unused."""
    return [*python_command(), "serve", "--quiet", "--idle-minutes", str(IDLE_MINUTES)]


def python_command() -> list[str]:
    """What runs this program with this Python, whatever folder it is in; a verb follows."""
    return [sys.executable, *_isolated(), "-m", "kiro_auth"]


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a gateway sees, each path whole."""
    names = {name.upper() for name in KEPT if not name.endswith("*")}  # Windows knows no case
    prefixes = tuple(name[:-1] for name in KEPT if name.endswith("*"))
    return {
        name: whole(name, value)
        for name, value in environment.items()
        if name.upper() in names or name.upper().startswith(prefixes)
    }


def whole(name: str, value: str) -> str:
    """The value of a variable; a relative path counts from the folder that this process is in."""
    if name.upper().startswith("KIRO_"):
        value = value.strip()  # as it is read
    if name.upper() not in PATHS or not value or _NO_PATH.fullmatch(f"{name}={value}"):
        return value
    return in_folder(value)


def _isolated() -> tuple[str, ...]:
    """Isolated mode would hide a program that `pip install --user` put into the user's own site folder."""
    if site.ENABLE_USER_SITE and Path(__file__).is_relative_to(site.getusersitepackages()):
        return ("-E", "-P")
    return ("-I",)
