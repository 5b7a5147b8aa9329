"""A keyring for tests, in memory, that can be locked, gone, slow, or take short texts alone."""

from __future__ import annotations

import threading

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError, PasswordSetError


class MemoryKeyring(KeyringBackend):
    """`asked` is what it was asked; while `locked` it refuses all, and `longest` is what an entry takes."""

    priority = 1  # type: ignore[assignment]

    def __init__(self, longest: int | None = None) -> None:
        super().__init__()
        self.entries: dict[str, str] = {}
        self.asked: list[str] = []
        self.locked = False
        self.loses = False
        self.hangs: threading.Event | None = None
        self._longest = longest

    def get_password(self, service: str, username: str) -> str | None:
        self._ask("get", username)
        return self.entries.get(username)

    def set_password(self, service: str, username: str, password: str) -> None:
        self._ask("set", username)
        if self._longest is not None and len(password) > self._longest + 5:
            raise PasswordSetError("too long")
        if not self.loses:
            self.entries[username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._ask("delete", username)
        if self.entries.pop(username, None) is None:
            raise PasswordDeleteError("not found")

    def _ask(self, what: str, name: str) -> None:
        self.asked.append(f"{what} {name}")
        if self.hangs is not None:
            self.hangs.wait()
        if self.locked:
            raise KeyringLocked("locked")


# The library takes whatever class there is for a keyring of the system.
KeyringBackend._classes.discard(MemoryKeyring)
