"""The reply of one turn, without I/O: bytes of the service in, bytes for the client out."""

from __future__ import annotations

from collections.abc import Sequence

from kiro_auth.conversation import Failed, Finished, ReplyEvent
from kiro_auth.failures import Failure
from kiro_auth.kiro.replies import Reader
from kiro_auth.surfaces.surface import Encoder


class StreamedReply:
    """Joins the service's reader to an API's writer.

    Whatever happens, what was returned ends with the API's own ending once `ended` is true, and `outcome`
    says how the turn went.
    """

    __slots__ = ("_encoder", "_reader", "outcome")

    def __init__(self, reader: Reader, encoder: Encoder) -> None:
        self._reader = reader
        self._encoder = encoder
        self.outcome: Finished | Failed | None = None

    @property
    def ended(self) -> bool:
        """Whether the ending was written."""
        return self.outcome is not None

    def opening(self, events: Sequence[ReplyEvent]) -> bytes:
        """The bytes for events that were read before the reply was opened."""
        return self._write(events)

    def feed(self, data: bytes) -> bytes:
        """What one read brought; empty data is the clean end of the service's stream."""
        return self._write(self._reader.feed(data) if data else self._reader.close())

    def broke(self, failure: Failure) -> bytes:
        """The service's stream broke."""
        return self._write(self._reader.broke(failure))

    def ping(self) -> bytes:
        """Bytes that keep the line alive."""
        return self._encoder.ping()

    def _write(self, events: Sequence[ReplyEvent]) -> bytes:
        if not events:
            return b""
        last = events[-1]
        if isinstance(last, Finished | Failed):
            self.outcome = last
        return self._encoder.encode(events)
