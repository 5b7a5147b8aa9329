"""The reply of one attempt, without I/O: bytes of the service in, bytes for the client out."""

from __future__ import annotations

from collections.abc import Sequence

from kiro_auth.conversation import Conversation, Failed, Finished, ReplyEvent, TextDelta
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.gateway.searches import Searches, searches_of
from kiro_auth.kiro.reply.answer_text import Expected
from kiro_auth.kiro.reply.reader import Reader
from kiro_auth.kiro.request.payload import Payload
from kiro_auth.reply_usage import Usage
from kiro_auth.surfaces.surface import Encoder, Surface


class Reply:
    """Joins the service's reader to an API's encoder.

    A reply that fails before it said anything raises TurnFailed, as nothing was given to the client yet; from
    then on it ends in the API's own form, and `outcome` says how.
    """

    __slots__ = (
        *("_encoder", "_given", "_opening", "_reader", "last_words", "outcome", "searches", "speaks"),
    )

    def __init__(
        self, reader: Reader, encoder: Encoder, searches: Searches | None = None, *, last_words: bytes = b""
    ) -> None:
        self._reader = reader
        self._encoder = encoder
        self._opening = b""
        self.searches = searches
        self.last_words = last_words
        """See `Surface`."""
        self._given = 0  # by the readers before this one, and how often one followed another
        self.speaks = False
        self.outcome: Finished | Failed | None = None

    @property
    def given(self) -> int:
        """How often the service gave something of the answer."""
        return self._given + self._reader.given

    @property
    def held(self) -> int:
        """Bytes of the answer that are not given yet."""
        return self._reader.held

    @property
    def usage(self) -> Usage:
        """What the reply has used, as far as that is known by now."""
        if self.outcome:
            return self.outcome.usage
        if self.searches is None:
            return self._reader.usage
        return self.searches.total(None if self._reader.done else self._reader.usage)

    def feed(self, data: bytes) -> bytes:
        """What one read brought.  Raises TurnFailed."""
        events: Sequence[ReplyEvent] = self._reader.feed(data)
        if self.searches is not None:
            events = self.searches.passed(events)
        return self._written(events)

    def open_with(self, words: bytes) -> None:
        """Keep the first that it said until somebody takes it."""
        self._opening = words

    def opening(self) -> bytes:
        """The first that it said, which is kept no longer."""
        words, self._opening = self._opening, b""
        return words

    def close(self) -> bytes:
        """The service's stream ended cleanly.  Raises TurnFailed.

        Without an `outcome` after it, searches are to be run, and another stream of the service goes on.
        """
        return self._encoded(self._reader.close())

    def go_on(self, reader: Reader) -> None:
        """Another stream of the service goes on with the reply."""
        self._given = self.given + 1
        self._reader = reader

    def broke(self, failure: Failure) -> bytes:
        """The service's stream broke.  Raises TurnFailed."""
        if self.searches is not None and self._reader.done:  # between two streams
            return self._written(self.searches.broke(failure))
        return self._encoded(self._reader.broke(failure))

    def ping(self) -> bytes:
        """Bytes that keep the line to the client alive."""
        return self._encoder.ping()

    def _encoded(self, events: Sequence[ReplyEvent]) -> bytes:
        return self._written(events if self.searches is None else self.searches.passed(events))

    def _written(self, events: Sequence[ReplyEvent]) -> bytes:
        if not events:
            return b""
        if not self.speaks:
            if isinstance(events[0], Failed):
                raise TurnFailed(events[0].failure)
            self.speaks = True
        last = events[-1]
        if type(last) is not TextDelta and isinstance(last, (Finished, Failed)):
            self.outcome = last  # before it is written: a whole reply that failed is raised there
        return self._encoder.encode(events)


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
    reader = reader_of(conversation, sent, context_window, request_id)
    kind = surface.stream_encoder if conversation.stream else surface.whole_encoder
    encoder = kind(conversation, reply_id=reply_id, created=created, input_tokens=sent.input_tokens)
    return Reply(reader, encoder, searches_of(conversation), last_words=surface.LAST_WORDS)


def reader_of(
    conversation: Conversation,
    sent: Payload,
    context_window: int,
    request_id: str | None,
    room: int | None = None,
) -> Reader:
    """A reader for one stream of the service.

    `room`: how many tokens the client still takes, where it has had a part of the answer.
    """
    limit = sent.output_limit
    if room is not None and (limit is None or room < limit):
        limit = room
    expected = Expected(
        tags=sent.tag_reasoning,
        fence=conversation.answer_format is not None,
        prefill=sent.prefill,
        stops=conversation.stop_sequences,
    )
    return Reader(
        tool_names=sent.tool_names,
        context_window=context_window,
        input_tokens=sent.input_tokens,
        request_id=request_id,
        expected=expected,
        output_limit=limit,
    )
