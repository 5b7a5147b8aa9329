"""What every API offers to the gateway: a `Surface`.

`anthropic.messages`, `openai.chat` and `openai.responses` are the modules that are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from kiro_auth.conversation import Conversation, ReplyEvent
from kiro_auth.failures import Failure
from kiro_auth.surfaces.prefixes import Prefixes


class HttpError(Struct, frozen=True):
    """A failure as an HTTP answer of one API."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ModelCard(Struct, frozen=True, kw_only=True):
    """A model as clients see it.  Limits are tokens; `inputs` are of `text`, `image`, `document`.

    `efforts` are the words of its effort setting, in ascending order; none for a model without one.
    `rate` is how many credits a unit of work costs, if that is known.  `default` says that the service names
    it as the one to begin with.
    """

    id: str
    name: str
    context_window: int
    max_output: int
    inputs: frozenset[str]
    thinks: bool
    efforts: tuple[str, ...] = ()
    rate: float | None = None
    default: bool = False


class Encoder(Protocol):
    """Writes one reply, streamed or whole.

    Feed it every event; the terminal one (`Finished` or `Failed`) produces the API's own ending, so that
    a stream always ends with a stop reason or an error.  Returns the bytes to send, maybe none: of a whole
    reply all of them at its end.
    """

    def encode(self, events: Sequence[ReplyEvent]) -> bytes:
        """The bytes for these events.  That of a whole reply raises TurnFailed for `Failed`."""

    def ping(self) -> bytes:
        """Bytes that keep the line alive and mean nothing."""


class Surface(Protocol):
    """One API, without I/O.  A module with these names satisfies it."""

    @property
    def LAST_WORDS(self) -> bytes:  # noqa: N802 (a constant of the modules)
        """What ends a stream when its encoder failed by a defect: fixed bytes, as nothing else may fail."""

    def decode(
        self, body: bytes, headers: Mapping[str, str], prefixes: Prefixes | None = None
    ) -> Conversation:
        """Read a request.  Header names are lower-case.  Raises TurnFailed (KA-REQUEST) naming the field.

        What of its history `prefixes` has is taken from there, and the rest is kept there.
        """

    def stream_encoder(
        self, conversation: Conversation, *, reply_id: str, created: int, input_tokens: int
    ) -> Encoder:
        """A writer for one streamed reply.

        `reply_id` is random hex, `created` epoch seconds, `input_tokens` our estimate until the service's
        own figure arrives.
        """

    def whole_encoder(
        self, conversation: Conversation, *, reply_id: str, created: int, input_tokens: int
    ) -> Encoder:
        """A writer for one whole reply, as one JSON body."""

    def encode_failure(self, failure: Failure) -> HttpError:
        """A failure before any output."""
