"""Secrets of records that are kept apart from the file, in the system's keyring.

In the file stands `secretsIn` then, with the place of the keyring's entry and a revision, and the secrets
themselves are empty texts, so that fields keep their order and other programs find the types they expect.  An
account has two places, `a` and `b`: new secrets are put into the one that the file does not name, then the
file is replaced, then the other place is emptied.  So a kill between them leaves what the file names.

The revision is a digest of the secrets.  What is known of one is kept in memory by it, so a keyring is asked
once for each change, by whatever process that was made; and an entry of another revision is not taken.

A secret that stands in the file in clear counts before the keyring's: another program has written it since.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.json_values import NotJson, as_object, decoded
from kiro_auth.store.protocol import Record
from kiro_auth.store.system_keyring import SystemKeyring

SECRETS: Final = ("accessToken", "refreshToken", "clientSecret")
"""The fields of a record that are secret; an API key is an access token."""
MARK: Final = "secretsIn"
_PLACES: Final = ("a", "b")
_AGAIN_SECONDS: Final = 2.0
"""Between two looks at a keyring that did not open."""
_MOMENT_SECONDS: Final = 0.25
"""As long as a reader waits that has nothing else to answer with, once in that time."""
_REVISIONS: Final = 4
"""Of one account, that are kept in memory: those that a change under way or a reader may need still."""
_LOST: Final[Record] = {
    "state": "sign-in",
    "stateCode": "KA-SIGNIN",
    "stateReason": "The system's keyring does not hold its tokens any more.",
}


class Mark(Struct, frozen=True):
    """Where the secrets of a record are: the place of the entry, and which secrets those are."""

    keyring: str
    revision: str

    def other(self) -> str:
        """The place that is free."""
        return _PLACES[self.keyring == _PLACES[0]]


class Apart:
    """The secrets that are kept apart; `keeps_new` says, each time anew, whether those that come new are too.

    `keep`, `forget` and `tidy` are for those alone who exclude other writers of the file.
    """

    def __init__(self, keyring: SystemKeyring, *, keeps_new: Callable[[], bool]) -> None:
        self._keyring = keyring
        self._keeps_new = keeps_new
        self._known: dict[str, dict[str, Record]] = {}  # by account id and revision; empty: they are lost
        self._spent: set[str] = set()
        self._whole: dict[str, Record] = {}  # by account id, as they were read last
        self._asking: Future[None] | None = None
        self._failure: Failure | None = None
        self._failed_at = float("-inf")
        self._guard = threading.Lock()

    def keeps_new(self) -> bool:
        """Whether secrets that come new go to the keyring.  Raises StoreFailed when that is not known."""
        return self._keeps_new()

    def describe(self) -> str:
        """Which keyring it is; it waits for it.  Raises StoreFailed when it does not open."""
        return self._keyring.describe()

    # ---------------------------------------------------------------------------------------- reading

    def whole(self, record: Record) -> Record:
        """The record as if nothing were kept apart; it waits for the keyring.  Raises StoreFailed.

        One whose secrets are lost is to be signed in again.
        """
        mark = mark_of(record)
        if mark is None:
            return record
        if not self._secrets(record, mark):
            self._learn(record, mark, self._read(record, mark) or {})
        return self._joined(record, mark)

    def seen(self, records: Iterable[Record], current: Callable[[str], Record | None]) -> tuple[Record, ...]:
        """The records as if nothing were kept apart, without waiting but for the very first time.

        A record of which the keyring is being asked is as it was before, until that is known; one that was
        not there before comes then.  `current` gives a record as it is in the file by now.  Raises
        StoreFailed when that is all there is to say of one.
        """
        marked = [(record, mark_of(record)) for record in records]
        asked = [record for record, mark in marked if mark and self._secrets(record, mark) is None]
        if asked:
            self._ask(asked, current)
        found: list[Record] = []
        for record, mark in marked:
            if mark is None or self._secrets(record, mark) is not None:
                found.append(record if mark is None else self._joined(record, mark))
            elif str(record.get("id")) in self._whole:
                found.append(self._whole[str(record.get("id"))])
            elif self._failure is not None:
                raise StoreFailed(self._failure)
        there = {str(record.get("id")) for record, _ in marked}
        for removed in self._whole.keys() - there:
            self._known.pop(removed, None)
        self._whole = {str(record.get("id")): record for record in found}
        return tuple(found)

    def knows_any(self) -> bool:
        """Whether secrets are held in memory: of records that were removed they are, until the next look."""
        return bool(self._known)

    def is_complete(self, records: Iterable[Record]) -> bool:
        """Whether the keyring need not be asked for any of them."""
        marks = ((record, mark_of(record)) for record in records)
        return all(mark is None or self._secrets(record, mark) is not None for record, mark in marks)

    def fetch(self, records: Iterable[Record], current: Callable[[str], Record | None]) -> bool:
        """Learn what the keyring holds of these, waiting for it; whether any is new.  Raises StoreFailed."""
        is_new = False
        for record in records:
            mark = mark_of(record)
            if mark is None or self._secrets(record, mark):
                continue
            secrets = self._read(record, mark)
            now = current(str(record.get("id")))
            if secrets is None and now is not None and mark_of(now) != mark:  # it was replaced meanwhile
                self.fetch([now], current)
                secrets = secrets_of(self.whole(now))
            is_new = is_new or secrets is not None
            self._learn(record, mark, secrets or {})
        return is_new

    def _secrets(self, record: Record, mark: Mark) -> Record | None:
        """What is known of them without asking: None: nothing, empty: that they are lost."""
        return self._known.get(str(record.get("id")), {}).get(mark.revision)

    def _learn(self, record: Record, mark: Mark, secrets: Record) -> None:
        known = self._known.get(str(record.get("id")), {})
        newest = {**known, mark.revision: secrets}
        self._known[str(record.get("id"))] = dict(list(newest.items())[-_REVISIONS:])

    def _ask(self, records: list[Record], current: Callable[[str], Record | None]) -> None:
        """Have the keyring asked, in a thread, unless it is being asked or said no a moment ago."""
        with self._guard:
            is_first = self._asking is None
            under_way = self._asking is not None and not self._asking.done()
            if under_way or time.monotonic() - self._failed_at < _AGAIN_SECONDS:
                return
            asking = self._asking = Future[None]()

        def ask() -> None:
            try:
                self.fetch(records, current)
                self._failure = None
            except StoreFailed as error:
                self._failure, self._failed_at = error.failure, time.monotonic()
            finally:
                asking.set_result(None)

        threading.Thread(target=ask, name="keyring-reader", daemon=True).start()
        if is_first or self._failure is not None:
            try:
                asking.result(None if is_first else _MOMENT_SECONDS)
            except TimeoutError:
                return

    def _read(self, record: Record, mark: Mark) -> Record | None:
        text = self._keyring.read(_entry(record, mark.keyring))
        try:
            secrets = as_object(decoded(text.encode())) if text else {}
        except NotJson:
            return None
        return secrets if _revision(secrets) == mark.revision else None

    def _joined(self, record: Record, mark: Mark) -> Record:
        secrets = self._secrets(record, mark)
        rest = {name: value for name, value in record.items() if name != MARK}
        if not secrets and not secrets_of(record):
            return {**rest, **_LOST}
        return {**rest, **(secrets or {}), **secrets_of(record)}

    # ---------------------------------------------------------------------------------------- writing

    def keep(self, after: Record, before: Record | None, *, on_disk: Record | None) -> Record:
        """What is to stand in the file for `after`, its secrets being kept apart where that is due.

        `before` is the whole record that it was, `on_disk` what the file on the disk has.  Raises
        StoreFailed.
        """
        secrets = secrets_of(after)
        mark = mark_of(on_disk or {})
        is_new = before is None or secrets != secrets_of(before)
        if mark is None and not (is_new and self.keeps_new()):
            return after
        return self.put(after, on_disk)

    def put(self, whole: Record, on_disk: Record | None) -> Record:
        """Put the secrets of a record into the keyring; what is to stand in the file.  Raises StoreFailed."""
        secrets, mark = secrets_of(whole), mark_of(on_disk or {})
        if not secrets:
            return whole
        revision = _revision(secrets)
        if mark is None or mark.revision != revision or not self._secrets(whole, mark):
            place = mark.other() if mark else _PLACES[0]
            self._keyring.write(_entry(whole, place), _text(secrets))
            if mark is not None:
                self._spent.add(_entry(whole, mark.keyring))
            mark = Mark(place, revision)
            self._learn(whole, mark, secrets)
        return {**whole, **dict.fromkeys(secrets, ""), MARK: msgspec.to_builtins(mark)}

    def tidy(self, *, written: bool) -> None:
        """After the file was written: empty the places that it named before; or leave them, if it was not."""
        spent, self._spent = self._spent, set()
        for entry in spent if written else ():
            try:
                self._keyring.delete(entry)
            except StoreFailed:
                return  # they are spent tokens, and the next change of this account replaces them

    def check(self, record: Record) -> None:
        """Raise StoreFailed unless the keyring gives back what it was given for this record of the file."""
        mark = mark_of(record)
        if mark is not None and self._read(record, mark) is None:
            raise StoreFailed(
                Failure(
                    code="KA-KEYRING",
                    message="The system's keyring does not give back what it is given.",
                    next_step="Nothing was changed. Use another keyring, or leave secrets in files.",
                )
            )

    def forget(self, record: Record) -> None:
        """Have the keyring forget the secrets of a record, before the file does.  Raises StoreFailed."""
        if mark_of(record) is None:
            return
        for place in _PLACES:
            self._keyring.delete(_entry(record, place))


def secrets_of(record: Record) -> dict[str, str]:
    """The secrets that stand in a record."""
    return {name: record[name] for name in SECRETS if isinstance(record.get(name), str) and record[name]}


def without_secrets(record: Record) -> Record:
    """The record with its secrets empty."""
    return {**record, **dict.fromkeys(secrets_of(record), "")}


def lost(record: Record) -> Record:
    """The record of the file without what is kept apart, for who gives that up.

    It is to be signed in again, unless another program has done so since, and has written its secrets there.
    """
    rest = {name: value for name, value in record.items() if name != MARK}
    return rest if secrets_of(record) else {**rest, **_LOST}


def mark_of(record: Record) -> Mark | None:
    """Where a record's secrets are; None: in the record."""
    if MARK not in record:
        return None
    try:
        mark = msgspec.convert(record[MARK], Mark)
    except msgspec.ValidationError:
        return None
    return mark if mark.keyring in _PLACES else None


def _entry(record: Record, place: str) -> str:
    return f"{record.get('id')}/{place}"


def _text(secrets: Mapping[str, Any]) -> str:
    return msgspec.json.encode(secrets, order="sorted").decode()


def _revision(secrets: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(secrets).encode(errors="surrogatepass")).hexdigest()[:16]
