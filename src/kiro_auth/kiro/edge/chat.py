"""A reply of the service as it comes, and what becomes of trouble on its way."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.answer import Answer, LineFailed, Sink
from kiro_auth.kiro.edge.endpoints import Endpoint
from kiro_auth.kiro.edge.errors import ours, request_id
from kiro_auth.kiro.request.payload import Payload


class Way(Struct, frozen=True):
    """Which way a call goes, in words that its failures need."""

    endpoint: Endpoint
    url: str
    region: str
    own_proxy: bool

    def failed(self, error: LineFailed) -> TurnFailed:
        """What `lines` raised on it, as a failure of ours: see `errors.ours`."""
        return ours(error, self.url, self.region, own_proxy=self.own_proxy)


class ChatReply:
    """A reply as it comes to what was `sent`, now without its body; `request_id` is for AWS support."""

    __slots__ = ("_answer", "_way", "endpoint", "request_id", "sent")

    def __init__(self, answer: Answer, way: Way, sent: Payload) -> None:
        self._answer = answer
        self._way = way
        self.endpoint = way.endpoint
        self.sent = replace(sent, body=b"")
        self.request_id = request_id(answer.headers)
        answer.forget_headers()

    @property
    def at_hand(self) -> bool:
        """Whether there is something, or the end, to be `taken`."""
        return self._answer.at_hand

    def taken(self) -> bytes:
        """What is `at_hand`: see `read`.  Raises TurnFailed."""
        try:
            return self._answer.taken()
        except LineFailed as error:
            raise self._way.failed(error) from error

    async def read(self) -> bytes:
        """What reads have brought; empty at the clean end.  Raises TurnFailed (KA-NETWORK, KA-TIMEOUT)."""
        try:
            return await self._answer.read()
        except LineFailed as error:
            raise self._way.failed(error) from error

    async def flow(self, sink: Sink) -> None:
        """Give what each read brings to the sink, from within the loop's callback, until the clean end.

        It ends early when the sink wants no more.  Raises TurnFailed as `read` does, and what it raises.
        """
        try:
            await self._answer.flow(sink)
        except LineFailed as error:
            raise self._way.failed(error) from error

    def pause(self) -> None:
        """Read no more for now."""
        self._answer.pause()

    def resume(self) -> None:
        """Read again."""
        self._answer.resume()

    def close(self) -> None:
        """Give the connection back when the reply was read to its end, else close it at once."""
        self._answer.close()
