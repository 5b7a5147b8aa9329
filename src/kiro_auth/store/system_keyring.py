"""The keyring of the system, by the library `keyring`: texts by name, and every way in which it says no.

GNOME Keyring, KWallet and others by the Secret Service of the session's D-Bus, the Keychain of macOS, the
Credential Manager of Windows.  A keyring may ask its owner for a password in a window, for as long as it
likes, so it is asked by one thread of its own, which is waited for only so long.  And it is not made to ask
again and again: once it was found locked, it is asked when it is open, or after a while.

Why this library: it knows the keyrings of all systems behind three functions, has been kept for more than ten
years (by jaraco), and is what pip and twine ask.  It is imported when a secret is in a keyring or is to go
there, and not before.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.texts import shown

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE: Final = "kiro-auth"
"""What entries are found by, with their name, in the programs that show what a keyring holds."""
_LIMIT_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 60.0
"""Between two tries at a keyring that said no, and does not tell whether it is open without asking people."""
_LONGEST: Final = 1200 if sys.platform == "win32" else None
"""Characters of one entry: the Credential Manager takes 2,560 bytes of UTF-16 (wincred.h)."""
_SECRET_SERVICE: Final = "keyring.backends.SecretService"  # noqa: S105 (a module)
_DEFAULT: Final = "/org/freedesktop/secrets/aliases/default"
"""The path of the collection that the Secret Service keeps what it is given in, by its specification."""
_LOCKED: Final = ("KeyringLocked", "LockedException", "PromptDismissedException")
_WAY_BACK: Final = (
    "Without it: set secrets to files, `kiro-auth accounts migrate-secrets --give-up`, and sign in again."
)
WITHOUT_LIBRARY: Final = Failure(
    code="KA-KEYRING",
    message="Tokens are kept in the system's keyring, and the library for that is not installed.",
    next_step="Install it beside this program: pip install keyring (pipx inject opencode-kiro-auth keyring)",
)
T = TypeVar("T")


class SystemKeyring:
    """Texts by name.  All raises StoreFailed (KA-KEYRING) and nothing else; all waits, but not for ever.

    `backend` gives one of the library's keyrings, `longest` is how many characters one of its entries takes;
    a longer text has several.
    """

    def __init__(
        self, backend: Callable[[], KeyringBackend] | None = None, longest: int | None = _LONGEST
    ) -> None:
        self._find = backend or _of_this_system
        self._longest = longest
        self._refused: tuple[float, Failure] | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()

    def read(self, name: str) -> str | None:
        """The text; None when there is none, or not the whole of it."""

        def read(backend: KeyringBackend) -> str | None:
            first = backend.get_password(SERVICE, name)
            count, space, text = (first or "").partition(" ")
            if not space or not count.isdecimal():
                return None
            more = [backend.get_password(SERVICE, f"{name}.{n}") for n in range(1, int(count))]
            return None if None in more else "".join([text, *map(str, more)])

        return self._ask(read)

    def write(self, name: str, text: str) -> None:
        """Put the text in place of what is there."""
        size = self._longest or len(text) or 1
        pieces = [text[at : at + size] for at in range(0, len(text), size)] or [""]

        def write(backend: KeyringBackend) -> None:
            for number in range(1, len(pieces)):
                backend.set_password(SERVICE, f"{name}.{number}", pieces[number])
            backend.set_password(SERVICE, name, f"{len(pieces)} {pieces[0]}")
            self._delete_from(backend, name, len(pieces))

        self._ask(write)

    def delete(self, name: str) -> None:
        """Forget the text, if there is one."""

        def delete(backend: KeyringBackend) -> None:
            _deleted(backend, name)
            self._delete_from(backend, name, 1)

        self._ask(delete)

    def describe(self) -> str:
        """What keyring it is, after it was asked for something, which tells whether it opens."""

        def look(backend: KeyringBackend) -> str:
            backend.get_password(SERVICE, "open")
            return str(backend.name)

        return self._ask(look)

    def _delete_from(self, backend: KeyringBackend, name: str, first: int) -> None:
        number = first
        while self._longest and _deleted(backend, f"{name}.{number}"):
            number += 1

    def _ask(self, work: Callable[[KeyringBackend], T]) -> T:
        answer: Future[T] = Future()

        def run() -> None:
            if not answer.set_running_or_notify_cancel():
                return  # another program may have gone on since, and this would undo it
            try:
                answer.set_result(self._asked(work))
            except BaseException as error:
                answer.set_exception(error)

        with self._guard:
            if self._thread is None:  # a daemon: at its end no program waits for a window
                self._thread = threading.Thread(target=self._run, name="keyring", daemon=True)
                self._thread.start()
        self._jobs.put(run)
        try:
            return answer.result(_LIMIT_SECONDS)
        except TimeoutError:
            answer.cancel()
            raise StoreFailed(_failure(
                f"The system's keyring did not answer within {_LIMIT_SECONDS:.0f} seconds.",
                "It may be asking for its password in a window: unlock it, and repeat.",
            )) from None  # fmt: skip

    def _run(self) -> None:
        while True:
            self._jobs.get()()

    def _asked(self, work: Callable[[KeyringBackend], T]) -> T:
        """Do the work, in the one thread that talks to the keyring."""
        backend: Any = None
        try:
            backend = self._find()
            self._check_asking(backend)
            done = work(backend)
        except StoreFailed as error:
            self._refused = self._refused or (time.monotonic(), error.failure)
            raise
        except Exception as error:  # libraries of four systems, each with exceptions of its own
            failure = _told(error, backend)
            self._refused = time.monotonic(), failure
            raise StoreFailed(failure) from error
        self._refused = None
        return done

    def _check_asking(self, backend: KeyringBackend) -> None:
        """Raise what it said last, if it would ask people again for what they did not give."""
        if self._refused is None:
            return
        since, failure = self._refused
        if type(backend).__module__ == _SECRET_SERVICE:
            again = not _is_locked(backend)
        else:
            again = time.monotonic() - since >= _AGAIN_SECONDS
        if not again:
            raise StoreFailed(failure)


def _is_locked(backend: Any) -> bool:
    """Whether a Secret Service is locked, without anybody being asked; one without a collection counts so."""
    import secretstorage

    with closing(secretstorage.dbus_init()) as bus:
        try:
            path = getattr(backend, "preferred_collection", _DEFAULT)
            return bool(secretstorage.Collection(bus, path).is_locked())
        except secretstorage.exceptions.ItemNotFoundException:
            return True


def _of_this_system() -> KeyringBackend:
    """The keyring to use; never one that keeps what it is given in clear.  Raises StoreFailed."""
    try:
        import keyring
        from keyring.backends import chainer, fail, null
    except ImportError:
        raise StoreFailed(WITHOUT_LIBRARY) from None
    backend: KeyringBackend | None = keyring.get_keyring()
    if isinstance(backend, fail.Keyring):  # the library looks once, and one may have been started since
        keyring.backend.get_all_keyring()  # by which it knows of all kinds
        kinds = set(keyring.backend.KeyringBackend.get_viable_backends()) - {chainer.ChainerBackend}
        backend = max((kind() for kind in kinds), key=lambda one: float(one.priority), default=backend)
    if isinstance(backend, chainer.ChainerBackend):
        safe = [one for one in backend.backends if not _is_open(one)]
        backend = safe[0] if safe else None
    if backend is None or isinstance(backend, fail.Keyring):
        raise StoreFailed(_failure(
            "There is no keyring of the system here, and tokens are kept in one.",
            f"Start one in this session: GNOME Keyring, KWallet. {_WAY_BACK}",
        ))  # fmt: skip
    if isinstance(backend, null.Keyring) or _is_open(backend):
        raise StoreFailed(_failure(
            f"The keyring that is set here, {backend.name}, keeps no secret.",
            "Set another one for the library keyring: `keyring --list-backends`, keyringrc.cfg.",
        ))  # fmt: skip
    return backend


def _is_open(backend: object) -> bool:
    """Whether it is one of the library's alternatives, which write files, most of them in clear."""
    return type(backend).__module__.startswith("keyrings.alt")


def _deleted(backend: KeyringBackend, name: str) -> bool:
    from keyring.errors import PasswordDeleteError

    try:
        backend.delete_password(SERVICE, name)
    except PasswordDeleteError:
        if backend.get_password(SERVICE, name) is not None:
            raise
        return False
    return True


def _told(error: Exception, backend: Any) -> Failure:
    name = f" ({shown(str(backend.name))})" if backend is not None else ""
    if type(error).__name__ in _LOCKED:
        return _failure(
            f"The system's keyring{name} is locked.",
            "Unlock it: sign in to the desktop, or open it in the program that shows passwords. "
            "Then repeat; a gateway goes on by itself.",
        )
    said = shown(str(error)).strip().rstrip(".") or type(error).__name__
    return _failure(
        f"The system's keyring{name} refuses: {said}.", f"See that it runs and opens. {_WAY_BACK}"
    )


def _failure(message: str, next_step: str) -> Failure:
    return Failure(code="KA-KEYRING", message=message, next_step=next_step)
