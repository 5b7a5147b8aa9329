"""How the user's own programs call the gateway: nothing is sent before it has proved that it is theirs.

The address is that of the state file, and a gateway that was killed leaves it behind: by now another
program, of another user even, may listen there.  So each call looks first whose socket that is (on Linux),
then asks for the proof, and sends its request on the connection that was proved.  The key is never sent.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from enum import StrEnum
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from msgspec import Struct

from kiro_auth.failures import CATALOGUE, Failure, KiroAuthError
from kiro_auth.gateway.discovery import Address, Seat, find
from kiro_auth.gateway.kept_address import read
from kiro_auth.gateway.proof import NONCE_HEADER, PATH, PROOF_HEADER, SCHEME, new_nonce
from kiro_auth.gateway.sockets import HERE
from kiro_auth.json_values import NotJson, as_object, decoded
from kiro_auth.socket_owners import is_of_this_user, occupant, owner, whose

CALL_SECONDS: Final = 2.0
"""The longest that one call lasts, whatever is sent back and however slowly; unless it is given more."""
BEGIN_SECONDS: Final = 3.0
"""How long a gateway that has just begun is given to say where it listens."""
_LOOK_SECONDS: Final = 0.05
_TAKE_OVER_SECONDS: Final = 5.0
_LARGEST: Final = 1_000_000
"""Bytes that are read of an answer."""


class Listener(StrEnum):
    """Who is at an address."""

    OURS = "ours"  # the gateway that the state file is of
    NOBODY = "nobody"
    STRANGER = "stranger"  # of another user, or without the proof
    SILENT = "silent"  # takes connections, and does not answer in time


class Answer(Struct, frozen=True):
    """What came of a call: status and body where the gateway answered, the user id where it is known."""

    listener: Listener
    status: int | None = None
    uid: int | None = None
    body: bytes = b""


class Reached(Struct, frozen=True):
    """What there is of the user's gateway.

    `address` is what the state file says.  `held` says that a gateway runs, though nothing answers for it.
    `place` is where it listened last, and will again.
    """

    address: Address | None
    answer: Answer
    held: bool = False
    place: str | None = None

    @property
    def ours(self) -> Address | None:
        """The address, if the gateway answered there."""
        return self.address if self.answer.listener is Listener.OURS else None


def reach(folder: Path, method: str = "GET", path: str = "/health", seconds: float = CALL_SECONDS) -> Reached:
    """Call the gateway of this state folder; one that has just begun, or was just replaced, is waited for.

    `seconds` as for `call`.
    """
    end = time.monotonic() + BEGIN_SECONDS
    while True:
        address = find(folder)
        answer = call(address, method, path, seconds) if address else Answer(Listener.NOBODY)
        if answer.listener is Listener.OURS:
            return Reached(address, answer, place=address.place if address else None)
        free = Seat(folder).is_free()
        if (free and find(folder) == address) or time.monotonic() > end:
            break
        time.sleep(_LOOK_SECONDS)
    if address is not None:
        return Reached(address, answer, held=not free, place=address.place)
    return _not_announced(folder, held=not free)


def take_over(seat: Seat, running: Address) -> bool:
    """Whether the gateway that runs gave its place to this program, and not to another.

    Its answers under way are finished.  Raises KiroAuthError when it does not give it.
    """
    reached = Reached(running, call(running, "POST", "/kiro/retire"), held=True, place=running.place)
    agrees = reached.answer.listener is Listener.OURS
    if agrees:
        answered(reached)
    end = time.monotonic() + (_TAKE_OVER_SECONDS if agrees else BEGIN_SECONDS)
    while time.monotonic() < end:
        if seat.take():
            return True
        now = find(seat.folder)
        if now is not None and (now.pid, now.secret) != (running.pid, running.secret):
            return False  # another one was faster
        time.sleep(_LOOK_SECONDS)
    if agrees and call(running).listener is not Listener.OURS:
        return False  # it left, and the one that came has not said yet where it listens
    message = f"The gateway that runs, process {running.pid}, does not give its place."
    keeps = Failure(code="KA-GATEWAY", message=message, next_step="End it: kiro-auth stop")
    raise KiroAuthError(keeps if agrees else trouble(reached) or keeps)


def _not_announced(folder: Path, *, held: bool) -> Reached:
    """Nothing of ours listens at the kept port while no gateway says that it does."""
    kept = read(folder)
    there = occupant(HERE, kept.port) if kept and not held else None
    answer = Answer(Listener.STRANGER, uid=there.uid) if there else Answer(Listener.NOBODY)
    return Reached(None, answer, held=held, place=f"{HERE[0]}:{kept.port}" if kept else None)


def call(
    address: Address, method: str = "GET", path: str = "/health", seconds: float = CALL_SECONDS
) -> Answer:
    """One request without a body, sent if what listens proves that it is the gateway of this address.

    That one may then take so many seconds: some of what it is asked for is imported first.
    """
    uid = owner(address.host, address.port)
    if uid is not None and not is_of_this_user(uid):
        return Answer(Listener.STRANGER, uid=uid)
    try:
        sock = _Limited.connected(address)
    except TimeoutError:
        return Answer(Listener.SILENT, uid=uid)
    except OSError:
        return Answer(Listener.NOBODY)
    with contextlib.closing(HTTPConnection(address.host, address.port)) as connection:
        connection.auto_open = 0  # a second connection would have proved nothing
        connection.sock = sock
        there = _credentials(connection, address)
        if isinstance(there, str):
            sock.end = time.monotonic() + seconds
            there = _answer(connection, method, path, credentials=there)
        return msgspec.structs.replace(there, uid=uid)


class _Limited(socket.socket):
    """A connection that ends after CALL_SECONDS: the limit of one read alone is drawn out by single bytes."""

    end = 0.0

    @classmethod
    def connected(cls, address: Address) -> Self:
        """Raises OSError."""
        end = time.monotonic() + CALL_SECONDS
        plain = socket.create_connection((address.host, address.port), CALL_SECONDS)
        limited = cls(fileno=plain.detach())
        limited.end = end
        return limited

    def recv_into(self, *arguments: Any) -> int:
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)
        return super().recv_into(*arguments)


def _credentials(connection: HTTPConnection, address: Address) -> str | Answer:
    """What to send in place of the key on this connection, or who is there instead of the gateway."""
    try:
        return _proved(connection, address) or Answer(Listener.STRANGER)
    except OSError:
        return Answer(Listener.SILENT)
    except HTTPException:  # it speaks something else
        return Answer(Listener.STRANGER)


def _answer(connection: HTTPConnection, method: str, path: str, *, credentials: str) -> Answer:
    try:
        connection.request(method, path, headers={"authorization": f"{SCHEME} {credentials}"})
        answer = connection.getresponse()
        return Answer(Listener.OURS, answer.status, body=answer.read(_LARGEST))
    except (OSError, HTTPException):  # it is slow, or ended in between
        return Answer(Listener.SILENT)


def _proved(connection: HTTPConnection, address: Address) -> str | None:
    """What to send in place of the key on this connection; None when a stranger is at its other end."""
    nonce = new_nonce()
    connection.request("GET", PATH, headers={NONCE_HEADER: nonce})
    answer = connection.getresponse()
    theirs, proof = answer.getheader(NONCE_HEADER, ""), answer.getheader(PROOF_HEADER, "")
    if answer.status != 204 or not address.prover.is_gateway(nonce, theirs, proof):
        return None
    answer.read()  # nothing, so that the connection is free
    return address.prover.credentials(nonce, theirs)


# ------------------------------------------------------------------------------------------ words

NEXT_START: Final = (
    "OpenCode, kiro-auth run and kiro-auth service start it again by themselves, at the same address; "
    "for other programs: kiro-auth serve"
)
"""What becomes of a gateway that was ended, for whoever uses it."""
RESTART: Final = f"End it with kiro-auth stop. {NEXT_START}"
"""How it is started anew."""
_ENDED: Final = Failure(
    code="KA-GATEWAY",
    message="The gateway has ended before it answered.",
    next_step=f"Give the command again. {NEXT_START}",
)
CODE: Final = re.compile(rf" \(({'|'.join(CATALOGUE)})\)")
"""A code as it stands in a sentence."""
_DONE: Final = (200, 204)
_UNKNOWN: Final = (404, 405)


def answered(reached: Reached) -> tuple[Address, bytes]:
    """The gateway that did as it was asked, and the body of its answer.

    Raises KiroAuthError for every other one.  KA-GATEWAY: it is slow, or has ended.  KA-STRANGER: somebody
    else listens there.  KA-CONFIG: it is of a release that does not know the address.  Else it has refused,
    with the code and in the words of its own.
    """
    answer, gateway = reached.answer, reached.ours
    if gateway is None:
        raise KiroAuthError(trouble(reached) or _ENDED)
    if answer.status in _UNKNOWN:
        message = f"The gateway is of version {gateway.version}, which cannot do this."
        raise KiroAuthError(Failure(code="KA-CONFIG", message=message, next_step=RESTART))
    if answer.status not in _DONE:
        raise KiroAuthError(_refusal(answer))
    return gateway, answer.body


def _refusal(answer: Answer) -> Failure:
    """Why the gateway has not done it, as it says itself."""
    try:
        said = as_object(decoded(answer.body)).get("error")
    except NotJson:
        said = None
    words = as_object(said).get("message")
    if not isinstance(words, str) or not words:
        message = f"The gateway has refused this, with status {answer.status} and no word."
        return Failure(code="KA-INTERNAL", message=message, next_step="Its log says more: kiro-auth logs")
    code = CODE.search(words)
    if code is None:
        return Failure(code="KA-INTERNAL", message=words)
    mark, _, step = words[code.end() :].partition(" ")
    return Failure(code=code[1], message=words[: code.start()] + mark, next_step=step or None)


def trouble(reached: Reached) -> Failure | None:
    """What a person should know when the gateway does not answer; None when there is nothing to say."""
    return _stranger(reached) or (_hung(reached.address) if reached.held else None)


def stranger_in_place(reached: Reached) -> Failure | None:
    """What to say of a stranger that listens where the gateway was; None when there is none."""
    return None if reached.held else trouble(reached)


def _stranger(reached: Reached) -> Failure | None:
    """That something else listens where the gateway was; None when that is not so.

    While the gateway's place is held, what is silent is the gateway itself.
    """
    answer = reached.answer
    silent = answer.listener is Listener.SILENT and not reached.held
    if answer.listener is not Listener.STRANGER and not silent:
        return None
    quiet = " and does not answer" if silent else ""
    now = f"{whose(answer.uid)} listens now{quiet}"
    return Failure(
        code="KA-STRANGER",
        message=f"Where your gateway listened last ({reached.place}), {now}. "
        "Neither the key nor a word of yours was sent there.",
        next_step="A program that you told this address by hand sends both there: end it, and tell it the "
        "new one (kiro-auth env).",
    )


def _hung(address: Address | None) -> Failure:
    if address is None:
        message, process = "A gateway runs, but it has not said where it listens.", "its process"
    else:
        message = f"The gateway at {address.place} runs, but it does not answer."
        process = f"process {address.pid}, if that is `kiro-auth serve`"
    return Failure(
        code="KA-GATEWAY",
        message=message,
        next_step=f"Wait a moment. If it stays so, end {process}. {NEXT_START}",
    )
