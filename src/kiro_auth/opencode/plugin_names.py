"""What OpenCode's configuration calls plugins: which are Kiro's, and which words select plugins in 2.x."""

from __future__ import annotations

import re
from typing import Final

OUR_ID: Final = "kiro-auth"
"""The id of our plugin in OpenCode 2.x."""

_PACKAGE: Final = r"opencode-kiro(-auth|-plugin|-provider)?"
_END: Final = r"(\.git|\.[cm]?[jt]sx?)?([@#?].*)?"
"""The ending of a file or a repository, then a version or a branch."""
_FOLDER: Final = re.compile(_PACKAGE + _END, re.IGNORECASE)
_LAST: Final = re.compile(rf"({_PACKAGE}|kiro(-auth|-plugin|-provider)?){_END}", re.IGNORECASE)


def is_kiro(name: str) -> bool:
    """Whether a package, a path or an address is that of a Kiro plugin, as `@zhafron/opencode-kiro-auth` is.

    The package, the file, or a folder on the way to it must have such a name as a whole.  Names without
    `opencode-` count as the last part only: further up `kiro` may be the user's name.
    """
    *folders, last = name.replace("\\", "/").rstrip("/").split("/")
    return bool(_LAST.fullmatch(last)) or any(_FOLDER.fullmatch(folder) for folder in folders)


def is_selected(plugin_id: str, words: str) -> bool:
    """Whether an entry of 2.x's list `plugins` means this plugin: by its id, by `a.*`, or by `*`."""
    return words in (plugin_id, "*") or (words.endswith(".*") and plugin_id.startswith(words[:-1]))
