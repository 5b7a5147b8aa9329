"""Waiting for the reset of a plan in place of a failure: only as `wait_for_reset` in `kiro.json` says.

A streamed answer begins meanwhile: its head is sent, and pings keep it alive; what fails after that ends it
in the API's own form.  A whole answer has nothing to be kept alive with, so it waits only if the reset comes
within the time that a request has anyway.  Nobody waits for a reset that Kiro did not name.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.accounts.choice import Wish
from kiro_auth.accounts.pool import Pool
from kiro_auth.accounts.retry import leaves_time
from kiro_auth.accounts.standing import UsedUp, used_up
from kiro_auth.conversation import Conversation
from kiro_auth.events import noted
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.pipe import SILENCE
from kiro_auth.gateway.streams import HeldStream
from kiro_auth.surfaces.surface import Surface
from kiro_auth.times import iso, when

log = logging.getLogger("kiro_auth.pause")

LATER: Final = 5.0
"""Seconds after the reset at which it is asked again, and up to as many more by chance: those that waited
together must not come back together.  A choice of ours."""
_OF_PLANS: Final = ("KA-QUOTA", "KA-OVERAGE", "KA-ACCOUNTS-BUSY")


class Patient(Struct, eq=False):
    """A request that may wait.

    `wish` says which accounts may serve it.  `since` is when it first began to wait, `reset`
    when the plan of `account` begins anew, `until` when the request goes on then; all are epoch seconds.
    `stream` is its answer, once that was begun.
    """

    request: Request
    surface: Surface
    wish: Wish
    since: float | None = None
    reset: float = 0.0
    until: float = 0.0
    account: str = ""
    stream: HeldStream | None = None

    def taken(self) -> HeldStream | None:
        """Its answer, which somebody else ends from now on."""
        stream, self.stream = self.stream, None
        return stream


class ScheduledPauses:
    """The requests of one gateway that wait, each for so many `hours` at most.

    `on_pause` hears in words that one began to wait.
    """

    def __init__(self, pool: Pool, *, hours: float, on_pause: Callable[[str], None]) -> None:
        self._pool = pool
        self.hours = hours
        self._on_pause = on_pause
        self._waiting: set[Patient] = set()

    def waiting(self) -> list[dict[str, str | None]]:
        """Those that wait now, the first to go on first, for programs."""
        ordered = sorted(self._waiting, key=lambda each: each.until)
        return [{"account": each.account, "until": iso(each.until * 1000)} for each in ordered]

    async def outwaited(
        self, failure: Failure, patient: Patient, conversation: Conversation, deadline: float
    ) -> Failure | None:
        """Wait, where that is wanted and may help; None: the request is to be tried again.

        Otherwise the failure, which says why the reset was not waited for.  `deadline` is when a whole answer
        has to be there (monotonic).
        """
        if not self.hours or failure.code not in _OF_PLANS:
            return failure
        reset = used_up(patient.wish.within(self._pool.roster()))
        if reset is None:
            return failure
        if patient.since is None:
            patient.since = self._pool.clock()
        whole_until = None if conversation.stream else deadline
        if (why := self._reason_against(reset, patient, whole_until)) or reset.until is None:
            message = f"{failure.message} The reset is not waited for, though wait_for_reset is set: {why}."
            return replace(failure, message=message)
        patient.account, patient.reset = reset.account, reset.until
        patient.until = reset.until + LATER * (1 + self._pool.chance())
        await self._wait(patient, conversation)
        return None

    def _reason_against(self, reset: UsedUp, patient: Patient, whole_until: float | None) -> str | None:
        if reset.until is None:
            return "Kiro did not say when it comes"
        if reset.until > (patient.since or 0.0) + self.hours * 3600:
            return f"it comes later than {self.hours:g} h from now"
        wait = reset.until + 2 * LATER - self._pool.clock()
        if whole_until is not None and not leaves_time(wait, self._pool.time_left(whole_until)):
            return "an answer that is not streamed cannot be kept alive for so long"
        return None

    async def _wait(self, patient: Patient, conversation: Conversation) -> None:
        """Until the time has come, or an account can be used before it."""
        clock = self._pool.clock
        words = f"The plans are used up: a request waits for the reset of {patient.account}"
        self._on_pause(f"{words}, {when(patient.until, clock())}.")
        facts = {"account": patient.account, "until": iso(patient.until * 1000)}
        log.info("%s", words, extra=noted("pause", state="waits", **facts))
        self._waiting.add(patient)
        try:
            if conversation.stream and patient.stream is None:
                _begin_stream(patient, conversation)
            while (left := patient.until - clock()) > 0 and not self._is_early(patient):
                await self._pool.sleep(min(left, SILENCE))
                if patient.stream is not None:
                    patient.stream.ping()
        finally:
            self._waiting.discard(patient)
        log.info("a request that waited for a reset goes on", extra=noted("pause", state="over", **facts))

    def _is_early(self, patient: Patient) -> bool:
        """Whether an account can be used already, by other means than the reset, as far as that is known."""
        if self._pool.clock() >= patient.reset:
            return False
        try:
            return bool(patient.wish.within(self._pool.roster()).usable())
        except StoreFailed:
            return False


def _begin_stream(patient: Patient, conversation: Conversation) -> None:
    encoder = patient.surface.stream_encoder(
        conversation, reply_id=uuid.uuid4().hex, created=int(time.time()), input_tokens=0
    )
    patient.stream = HeldStream(patient.request, encoder)
    patient.stream.begin(f"Kiro's plans are used up; waiting until {iso(patient.until * 1000)}")
