"""The gateway for a program that `kiro-auth run` starts, which knows nothing but an address and a key.

`run` holds the listening sockets itself, as long as the program lives, and hands them down to the gateway
that it starts: whatever becomes of that one, nobody else can listen at the address that the program was told.
When a gateway has ended, whether by `kiro-auth stop`, unused or killed, connections wait in the sockets'
queues, and with the first of them another is started there.

If the user has no gateway, the one that is started is that of all windows as well: it listens at its kept
address beside, and goes on when the program has ended.  Else it serves the program alone, and ends with it.
The program's address and key are its own, so another key for all others changes nothing for it.  Windows can
hand no socket down: there the program uses the gateway of all windows, which is started again when it is
gone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from kiro_auth.clients.setups import Endpoint
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.gateway.calls import reach, stranger_in_place
from kiro_auth.gateway.sockets import HERE, listen
from kiro_auth.gateway.starting import START_SECONDS, Started, find_or_start, news_since, start

SHORT_LIFE_SECONDS: Final = 10.0
"""A gateway that ends sooner has something wrong with it, if the next ones do so too."""
PAUSES: Final = (0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before another one is started, by how many short lives there were in a row."""
LOOK_SECONDS: Final = 2.0
"""How often it is looked whether the gateway of all windows is there, where no socket can tell."""
_END_SECONDS: Final = 5.0


@contextlib.contextmanager
def gateway_of_program(
    folder: Path,
    *,
    on_news: Callable[[Failure], None],
    on_failed_restart: Callable[[Failure], None],
) -> Iterator[Endpoint]:
    """What the program is told, which holds for the block.  Raises KiroAuthError when no gateway starts.

    `on_news` hears of a stranger that listens where the user's gateway was, and of another address because of
    that; `on_failed_restart`, in another thread, of a gateway that ended and cannot be followed by another,
    once for each reason.
    """
    if sys.platform == "win32":
        shared = find_or_start(folder, on_news=on_news)
        arguments = (folder, on_news, on_failed_restart)
        threading.Thread(target=keep_running, args=arguments, daemon=True).start()
        yield Endpoint(shared.url, shared.key)
        return
    began = time.time()
    stranger = stranger_in_place(reach(folder))
    held = HeldGateway(folder, on_failed_restart)
    try:
        held.start()
        if news := news_since(folder, began) or stranger:
            on_news(news)
        threading.Thread(target=held.follow, daemon=True).start()
        yield held.endpoint
    finally:
        held.end()


def keep_running(
    folder: Path, on_news: Callable[[Failure], None], on_failed_restart: Callable[[Failure], None]
) -> NoReturn:
    """Start the gateway of all windows again whenever it is gone; it never ends unused."""
    last_message = ""
    while True:
        time.sleep(LOOK_SECONDS)
        try:
            find_or_start(folder, on_news=on_news)
        except KiroAuthError as error:
            if error.failure.message != last_message:
                on_failed_restart(error.failure)
            last_message = error.failure.message


class HeldGateway:
    """A gateway at sockets of this process; one that ends is followed by another."""

    def __init__(self, folder: Path, on_failed_restart: Callable[[Failure], None]) -> None:
        self._folder = folder
        self._on_failed_restart = on_failed_restart
        self._listeners = listen(HERE, 0)  # until this process ends
        self._key = os.environ.get("KIRO_GATEWAY_KEY") or secrets.token_urlsafe(32)
        self._lock = threading.Lock()  # around the current process, and whether there may be another
        self._current: subprocess.Popen[bytes] | None = None
        self._begun = 0.0
        self._announced = False
        self._over = False

    @property
    def endpoint(self) -> Endpoint:
        """What the program is told."""
        return Endpoint(f"http://{HERE[0]}:{self._listeners[0].getsockname()[1]}", self._key)

    def start(self) -> None:
        """Have a gateway serve the sockets.  Raises KiroAuthError, with what it said last, when none does."""
        self._begun = time.monotonic()
        environment = {**os.environ, "KIRO_GATEWAY_KEY": self._key}
        with self._lock:
            if self._over:
                return
            numbers = [listener.fileno() for listener in self._listeners]
            started = start(self._folder, environment=environment, listeners=numbers)
            self._current, self._announced = started.process, False
        self._announced = _announced(started)

    def follow(self) -> None:
        """Start another one when one has ended and somebody connects, and so on; for a thread of its own."""
        short_lives, last_message = 0, ""
        while not self._over and self._current is not None:
            self._current.wait()
            lived = time.monotonic() - self._begun
            short_lives = short_lives + 1 if lived < SHORT_LIFE_SECONDS else 0
            time.sleep(PAUSES[min(short_lives, len(PAUSES) - 1)])
            select.select(self._listeners, [], [])
            try:
                self.start()
            except KiroAuthError as error:
                if error.failure.message != last_message and not self._over:
                    self._on_failed_restart(error.failure)
                last_message = error.failure.message

    def end(self) -> None:
        """No other one is started.  One that no other program can find ends."""
        with self._lock:
            self._over = True
        if self._current is not None and not self._announced:
            self._current.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._current.wait(_END_SECONDS)


def _announced(started: Started) -> bool:
    """What the gateway says when it serves: whether other programs find it.  Raises KiroAuthError."""
    out = started.process.stdout
    assert out is not None
    with out:
        ready, _, _ = select.select([out], [], [], START_SECONDS)
        said = out.readline() if ready else b""
    if said:
        return bool(msgspec.json.decode(said)["announced"])
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.process.wait(1)  # it has closed its output, and ends
    failure = started.failed()
    started.process.terminate()
    raise failure
