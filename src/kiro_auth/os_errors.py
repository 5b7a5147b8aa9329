"""What the system says of files, programs and addresses, in plain words."""

from __future__ import annotations

import errno
from typing import Final

_WORDS: Final = {
    errno.ENOENT: "it does not exist",
    errno.EACCES: "you have no permission",
    errno.EPERM: "you have no permission",
    errno.EEXIST: "a file is there already",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is full",
    errno.EFBIG: "the file would be too large",
    errno.EROFS: "the disk is read-only",
    errno.ENOEXEC: "it is no program for this machine",
    errno.EADDRINUSE: "another program uses it",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EBUSY: "another program is using it",
}


def reason(error: Exception) -> str:
    """Why it failed, as the end of a sentence; in the system's own words where there are no plainer ones."""
    number = getattr(error, "errno", None)
    return _WORDS.get(number or 0) or getattr(error, "strerror", None) or str(error)
