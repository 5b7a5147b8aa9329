"""One streamed answer on its way from the service to the client, without I/O, tasks or a clock.

What drives it tells it what happened: on the service's side `data`, `eof` or `broke`, on the client's side
`pause`, `resume` or `leave`, and now and then what time it is, with `tick`.  The bytes that a call gives back
are to be written at once.  It is over when `ended` says how.  None of the calls raises: once a stream has
begun, its API's fixed last words are all that a defect of ours leaves to say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from kiro_auth.conversation import Finished
from kiro_auth.events import Answered, End, Failed, Left, Stopped
from kiro_auth.failures import DEFECT, STOPPED, Failure
from kiro_auth.gateway.progress import Progress
from kiro_auth.gateway.reply import Reply

log = logging.getLogger("kiro_auth.pipe")

SILENCE: Final = 15.0
"""Seconds without a byte to the client after which a ping keeps the line alive; proxies cut at 60."""


class Pipe:
    """Carries a reply that speaks already to its end.

    `patience`, in seconds, is how long the client may take nothing, as it holds a place that others wait for,
    and how long the service may give nothing of the answer.
    """

    def __init__(self, reply: Reply, *, patience: float) -> None:
        self._reply = reply
        self.patience = patience
        self._paused = False
        self._progress = Progress(reply, patience)
        self._moved = True  # something happened at the client's side since the last tick
        self._still_since = 0.0
        self.ended: End | None = None
        self._note_outcome()

    # --------------------------------------------------------------------------- the service's side

    def data(self, data: bytes) -> bytes:
        """What one read brought."""
        if self.ended is not None:
            return b""
        try:
            words = self._reply.feed(data)
        except Exception as error:
            return self.defect(error)
        if words:
            self._moved = True
        if self._reply.outcome is not None:
            self._note_outcome()
        return words

    def eof(self) -> bytes:
        """The service's stream ended cleanly."""
        return self._passed_on(self._reply.close)

    def broke(self, failure: Failure) -> bytes:
        """The service's stream broke, or cannot be read: the client gets the ending of a failure."""
        return self._passed_on(self._reply.broke, failure)

    def defect(self, error: Exception) -> bytes:
        """A defect of this program ends it."""
        log.error("a stream failed by a defect of this program", exc_info=error)
        self.ended = Failed(DEFECT)
        return self._reply.last_words

    # ---------------------------------------------------------------------------- the client's side

    def pause(self) -> None:
        """The client does not take what was written, for now."""
        self._paused = self._moved = True

    def resume(self) -> None:
        """The client takes again."""
        self._paused, self._moved = False, True

    def leave(self) -> None:
        """The client is gone, and has not got all of it."""
        self.ended = Left()

    # ------------------------------------------------------------------------- time and the gateway

    def tick(self, now: float) -> bytes:
        """The time, in seconds of any clock: a ping when it is due, or the ending when the service is stuck.

        A client that took nothing for longer than its patience has `ended` as one that left: hang up.
        """
        if self._moved:
            self._moved, self._still_since = False, now
        still = now - self._still_since
        if self._paused:
            self._progress.begin(now)  # it is not the service that is waited for
            if still >= self.patience:
                self.leave()
            return b""
        if now >= self._progress.until(now):
            return self.broke(self._progress.stuck())
        if still < SILENCE:
            return b""
        self._still_since = now
        return self._reply.ping()

    def stop(self) -> bytes:
        """The gateway ends: the last bytes, so that the stream does not just stop."""
        data = self.broke(STOPPED)
        self.ended = Stopped()
        return data

    def _passed_on(self, work: Callable[..., bytes], *given: bytes | Failure) -> bytes:
        if self.ended is not None:
            return b""
        try:
            data = work(*given)
        except Exception as error:
            return self.defect(error)
        self._moved = self._moved or bool(data)
        if self._reply.outcome is not None:
            self._note_outcome()
        return data

    def _note_outcome(self) -> None:
        outcome = self._reply.outcome
        if isinstance(outcome, Finished):
            self.ended = Answered(outcome.reason)
        elif outcome is not None:
            self.ended = Failed(outcome.failure)
