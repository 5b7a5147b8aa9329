"""Histories of earlier requests, so that what a client sends again with each turn is not read again.

A coding agent sends its whole history with each turn: all but the end is byte for byte that of the turn
before.  So the bytes of each message are kept beside what was made of them, and a body that begins with the
same bytes is read from where it differs.  Nothing but the bytes decides: no name of a client's is trusted.
To keep a history costs about as much as to read it, so that is done for one whose beginning was seen before.
What is kept is in memory only, has a bound, and is forgotten when it was not used for some minutes.
"""

from __future__ import annotations

import re
import secrets
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from kiro_auth.failures import TurnFailed

T = TypeVar("T", bound=Struct)

LEAST_BYTES: Final = 64 * 1024
"""Of a body that is worth keeping: a shorter one is read within a millisecond."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of everything that is kept, in memory: one to two bytes for each byte of a history, as little or much of it
stays as it is written."""
MOST_HISTORIES: Final = 32
MOST_SEEN: Final = 1000
"""Beginnings of bodies that are known to have been there, a number each."""
IDLE_SECONDS: Final = 300.0
"""After so long unused a history is forgotten, as the service forgets its prefixes."""

_MARK: Final = b'"%b"' % secrets.token_hex(16).encode()
"""Stands in a body for the messages that are known: where it comes out shows that they stood in the list."""
_BLANK: Final = re.compile(rb"[ \t\r\n]*")
_BETWEEN: Final = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_SIMPLE: Final = (str, int, float, type(None))
_LISTS: Final = (tuple, list)
_UNREAD: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TurnFailed)


class Listed(Struct, frozen=True):
    """The list of messages in the requests of one API.

    `field` has it; `fields` reads a request with the list's entries as `msgspec.Raw`; `made` gives what is
    to stand in the list instead of an entry's JSON value, and never changes.
    """

    field: str
    fields: Callable[[bytes], Any]
    made: Callable[[msgspec.Raw], Any]


class _Entry(Struct, frozen=True):
    """One message: its bytes with those since the one before, what was made of it, and its size in memory."""

    written: bytes
    made: Any
    size: int


def _sum(entries: Iterable[_Entry]) -> int:
    return sum([entry.size for entry in entries])


class _History(Struct, frozen=True, eq=False):
    """The entries of one request, and the bytes of its body before them."""

    head: bytes
    entries: Sequence[_Entry]
    used: float

    def size(self) -> int:
        """Bytes in memory."""
        return len(self.head) + _sum(self.entries)

    def shared(self, body: bytes) -> tuple[int, int]:
        """Where in the body the entries end that it begins with, and how many they are."""
        end, count = len(self.head), 0
        if body.startswith(self.head):
            for entry in self.entries:
                if not body.startswith(entry.written, end):
                    break
                end, count = end + len(entry.written), count + 1
        return end, count


class Prefixes:
    """See the module.  Threads may share it.  `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float], *, most: int = MOST_BYTES) -> None:
        self._most = most
        self._clock = clock
        self._kept: list[_History] = []  # the one that was used last is the last
        self._seen: dict[int, None] = {}  # what bodies begin with, hashed; oldest first
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes in memory of what is kept."""
        return sum(history.size() for history in tuple(self._kept))

    def read(self, body: bytes, whole: Callable[[bytes], T], listed: Listed) -> T:
        """The request as `whole` reads it, but for the messages, which are `made`.

        Raises what `whole` raises.
        """
        if not LEAST_BYTES <= len(body) <= self._most:
            return whole(body)
        shared, best = self._longest(body)
        if 2 * shared[0] < len(body) and self._is_new(body):
            return whole(body)
        try:
            request = self._read(body, listed, shared, best)
        except _UNREAD:  # the whole body says what is wrong, and mends what can be mended
            request = None
        return whole(body) if request is None else request

    def forget_idle(self) -> None:
        """Forget what was not used for long."""
        since = self._clock() - IDLE_SECONDS
        with self._lock:
            self._kept = [history for history in self._kept if history.used >= since]

    def _is_new(self, body: bytes) -> bool:
        """Whether no body with this beginning was there lately; two that are taken for one harm nobody."""
        begins = hash(body[:LEAST_BYTES])
        with self._lock:
            is_new = begins not in self._seen
            self._seen.pop(begins, None)
            self._seen[begins] = None
            if len(self._seen) > MOST_SEEN:
                del self._seen[next(iter(self._seen))]
        return is_new

    def _read(self, body: bytes, listed: Listed, shared: tuple[int, int], best: _History | None) -> Any:
        """The request; None if it has to be read whole."""
        end, count = shared
        if best and count:
            head, known = best.head, best.entries[:count]
            request = listed.fields(b"".join((head, _MARK, memoryview(body)[end:])))
            raws = getattr(request, listed.field)
            if not raws or not isinstance(raws, list) or bytes(raws.pop(0)) != _MARK:
                return None
        else:
            found = re.search(rb'"%b"\s*:\s*\[\s*' % listed.field.encode(), body)
            request = listed.fields(body)
            raws = getattr(request, listed.field)
            if found is None or not isinstance(raws, list):
                return None
            head, end, known = body[: found.end()], found.end(), ()
        room = self._most - len(head) - _sum(known)
        entries = _with(known, body, end, raws, listed.made, room)
        if not entries:
            return None
        goes_on = best is not None and 2 * count > len(best.entries)
        self._keep(_History(head, entries, self._clock()), best if goes_on else None)
        rest = [listed.made(raw) for raw in raws[len(entries) - len(known) :]]
        return msgspec.structs.replace(request, **{listed.field: [*(entry.made for entry in entries), *rest]})

    def _longest(self, body: bytes) -> tuple[tuple[int, int], _History | None]:
        """What the body shares with the history that it shares most with."""
        shared = [(history.shared(body), history) for history in tuple(self._kept)]
        return max(shared, key=lambda pair: pair[0][1], default=((0, 0), None))

    def _keep(self, history: _History, instead: _History | None) -> None:
        """Keep what there is room for of its beginning, in place of the history that it goes on from."""
        size, count = history.size(), len(history.entries)
        while size > self._most and count:
            count -= 1
            size -= history.entries[count].size
        if not count:
            return
        history = msgspec.structs.replace(history, entries=history.entries[:count])
        with self._lock:
            kept = [each for each in self._kept if each is not instead][-MOST_HISTORIES + 1 :]
            size += sum(each.size() for each in kept)
            while size > self._most:
                size -= kept.pop(0).size()
            self._kept = [*kept, history]


def _with(
    known: Sequence[_Entry],
    body: bytes,
    end: int,
    raws: Iterable[msgspec.Raw],
    made: Callable[[msgspec.Raw], Any],
    room: int,
) -> list[_Entry] | None:
    """The known entries, which end there, and more while there is room; None if those do not follow them."""
    entries = [*known]
    for raw in raws:
        if room < 0:
            break
        start = _after(body, end, comma=bool(entries))
        written = bytes(raw)
        if start < 0 or not body.startswith(written, start):
            return None
        blank = start - end
        written = body[end : start + len(written)]
        value = made(msgspec.Raw(memoryview(written)[blank:]))  # what of it stays as written is the entry's
        entries.append(_Entry(written, value, sys.getsizeof(written) + _size(value)))
        room -= entries[-1].size
        end += len(written)
    return entries


def _after(body: bytes, end: int, *, comma: bool) -> int:
    """Where the entry behind this end may begin; -1 if none does."""
    found = (_BETWEEN if comma else _BLANK).match(body, end)
    return found.end() if found else -1


def _size(value: Any) -> int:
    """Bytes in memory, about: of texts and of what holds them."""
    if isinstance(value, _SIMPLE):
        return sys.getsizeof(value)
    if isinstance(value, msgspec.Raw):
        return 0  # a part of the entry's bytes
    if isinstance(value, dict):
        inner: Iterable[Any] = (*value, *value.values())
    elif isinstance(value, _LISTS):
        inner = value
    else:
        inner = msgspec.structs.astuple(value)
    return sys.getsizeof(value) + sum(map(_size, inner))
