"""The reply of one attempt, without I/O: bytes of the service in, bytes for the client out."""

from __future__ import annotations

from collections.abc import Sequence

from kiro_auth.conversation import Conversation, Failed, Finished, ReplyEvent, Usage
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro.reply.reader import Reader
from kiro_auth.kiro.request.payload import Payload
from kiro_auth.surfaces.surface import Encoder, Surface


class Reply:
    """Joins the service's reader to an API's encoder.

    A reply that fails before it said anything raises TurnFailed, as nothing was given to the client yet; from
    then on it ends in the API's own form, and `outcome` says how.
    """

    __slots__ = ("_encoder", "_reader", "outcome", "speaks")

    def __init__(self, reader: Reader, encoder: Encoder) -> None:
        self._reader = reader
        self._encoder = encoder
        self.speaks = False
        self.outcome: Finished | Failed | None = None

    @property
    def usage(self) -> Usage:
        """What the reply has used, as far as that is known by now."""
        return self.outcome.usage if self.outcome else self._reader.usage

    def feed(self, data: bytes) -> bytes:
        """What one read brought.  Raises TurnFailed."""
        return self._encoded(self._reader.feed(data))

    def close(self) -> bytes:
        """The service's stream ended cleanly.  Raises TurnFailed."""
        return self._encoded(self._reader.close())

    def broke(self, failure: Failure) -> bytes:
        """The service's stream broke.  Raises TurnFailed."""
        return self._encoded(self._reader.broke(failure))

    def ping(self) -> bytes:
        """Bytes that keep the line to the client alive."""
        return self._encoder.ping()

    def _encoded(self, events: Sequence[ReplyEvent]) -> bytes:
        if not events:
            return b""
        if not self.speaks and isinstance(events[0], Failed):
            raise TurnFailed(events[0].failure)
        self.speaks = True
        data = self._encoder.encode(events)
        if isinstance(last := events[-1], Finished | Failed):
            self.outcome = last
        return data


def reply_to(
    conversation: Conversation,
    surface: Surface,
    sent: Payload,
    *,
    context_window: int,
    request_id: str | None,
    reply_id: str,
    created: int,
) -> Reply:
    """The reply to what was sent, streamed or whole as the client asked for it.

    `context_window` is the model's, in tokens, `request_id` the service's; `reply_id` (random hex) and
    `created` (epoch seconds) are what the client is told.
    """
    reader = Reader(
        tool_names=sent.tool_names,
        context_window=context_window,
        input_tokens=sent.input_tokens,
        tag_reasoning=sent.tag_reasoning,
        request_id=request_id,
        stop_sequences=conversation.stop_sequences,
        output_limit=sent.output_limit,
    )
    kind = surface.stream_encoder if conversation.stream else surface.whole_encoder
    encoder = kind(conversation, reply_id=reply_id, created=created, input_tokens=sent.input_tokens)
    return Reply(reader, encoder)
