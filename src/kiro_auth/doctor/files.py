"""Whether what must be kept can be written, and whether it is kept from others."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from kiro_auth.accounts.unsaved import unsaved
from kiro_auth.doctor.finding import Finding
from kiro_auth.failures import StoreFailed
from kiro_auth.gateway.discovery import STATE_FILE
from kiro_auth.gateway.kept_address import FILE as ADDRESS
from kiro_auth.os_errors import reason
from kiro_auth.store.ahead import FOLDER
from kiro_auth.store.files import ACCOUNTS, FileStore
from kiro_auth.store.sqlite import FILE as DATABASE

_OTHERS_READ: Final = 0o077
_OTHERS_WRITE: Final = stat.S_IWOTH
_GROUP_WRITES: Final = stat.S_IWGRP


def files(configuration: Path, state: Path) -> Iterator[Finding]:
    """Whether what must be kept can be written, and others on this machine can neither read nor change it."""
    for folder in (configuration, state):
        if why := unwritable(folder):
            what = f"nothing can be written in {folder}: {why}."
            yield Finding("files", "fault", what, "Check its owner, its mode, and the space on the disk.")
    yield from _unsaved(configuration, state)
    if sys.platform == "win32":
        return
    open_to_others = [*_folders(configuration, state), *_secrets(configuration, state)]
    yield from open_to_others
    if not open_to_others:
        for path in (configuration / ACCOUNTS, configuration / DATABASE, state / ADDRESS):
            if path.exists():
                yield Finding("files", "ok", f"only you can read {path}")


def _folders(*folders: Path) -> Iterator[Finding]:
    """The folders, and those of this home above them, if others may put files of theirs in there."""
    places = [place for folder in folders for place in (folder, *folder.parents)]
    for place in dict.fromkeys(places):
        if not place.is_dir() or place in Path.home().parents:
            continue
        status = place.stat()
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid not in (os.geteuid(), 0):
            what = f"{place} belongs to another user, who can read and change all that is in it."
            yield Finding("files", "fault", what, f"sudo chown $(id -u) {shlex.quote(str(place))}")
        elif others := _writers(mode, status.st_gid):
            yield Finding(
                "files",
                "fault",
                f"{others} can write in {place} (mode {mode:04o}), and replace your files there.",
                f"chmod go-w {shlex.quote(str(place))}",
                partial(place.chmod, mode & ~(_OTHERS_WRITE | _GROUP_WRITES)),
            )


def _writers(mode: int, group: int) -> str | None:
    """Who else may write; where the sticky bit is set they may not replace what is not theirs."""
    if mode & stat.S_ISVTX:
        return None
    if mode & _OTHERS_WRITE:
        return "all users of this machine"
    if mode & _GROUP_WRITES and not _is_own_group(group):
        return "other members of its group"
    return None


def _is_own_group(group: int) -> bool:
    """Whether it is the group that many systems make for each user, with nobody else in it."""
    import grp  # not on Windows
    import pwd

    try:
        user, entry = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and entry.gr_name == user.pw_name and set(entry.gr_mem) <= {user.pw_name}


def _secrets(configuration: Path, state: Path) -> Iterator[Finding]:
    """The files that hold tokens or keys, if others may read them."""
    copies = sorted(configuration.glob(f"{ACCOUNTS}.backup-*"))
    database = sorted(configuration.glob(f"{DATABASE}*"))
    for path in (configuration / ACCOUNTS, *copies, *database, state / STATE_FILE, state / ADDRESS):
        if not path.exists():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS_READ:
            what = f"others can read {path} (mode {mode:04o})."
            remedy = f"chmod 600 {shlex.quote(str(path))}"
            yield Finding("files", "fault", what, remedy, partial(path.chmod, 0o600))


def _unsaved(configuration: Path, state: Path) -> Iterator[Finding]:
    store = FileStore(configuration, state / "locks")
    try:
        names = unsaved(store)
    except StoreFailed as error:  # what is wrong with the accounts is said where they are looked at
        count = store.count_waiting() if error.failure.code == "KA-KEYRING" else 0
        names = [f"{count} accounts"] if count else []
    for name in names:
        what = f"the new token of {name} could not be saved; it is kept aside, in {state / FOLDER}."
        remedy = (
            "Make room on the disk, the file writable, or the keyring open: the gateway tries again twice a "
            "minute."
        )
        yield Finding("files", "fault", what, remedy, code="KA-STORE")


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written in a folder, or in the one that it would be made in; None if it can."""
    try:
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return reason(error)
