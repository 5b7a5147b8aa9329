"""The calls to the service that make one answer: one, and one more after each search of the web."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.attempts import Attempt
from kiro_auth.conversation import Conversation
from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.asking import Asking
from kiro_auth.gateway.reply import Reply, reader_of
from kiro_auth.gateway.searches import Searches
from kiro_auth.gateway.web_search import Searcher
from kiro_auth.kiro.edge.answer import Sink
from kiro_auth.kiro.edge.chat import ChatReply


class Rounds:
    """Reads the calls of one answer as if they were one.

    A call that follows a search has the retries of the request, but no retry repeats what the client was
    given: only the call itself is made again, with another account if need be.  `on_account` hears of the
    account that makes each call after the first.
    """

    __slots__ = ("_account", "_attempt", "_call", "_calls", "_on_account", "_paused", "_reply", "_searcher")

    def __init__(
        self,
        first: ChatReply,
        reply: Reply,
        searcher: Searcher,
        attempt: Attempt,
        account: Account,
        calls: Asking,
        on_account: Callable[[Account], None],
    ) -> None:
        self._call: ChatReply | None = first
        self._reply = reply
        self._searcher = searcher
        self._attempt = attempt
        self._account = account
        self._calls = calls
        self._on_account = on_account
        self._paused = False

    @property
    def at_hand(self) -> bool:
        """Whether the present call has something, or its end, to be `taken`."""
        return self._call is not None and self._call.at_hand

    def taken(self) -> bytes:
        """What is `at_hand`: see `read`.  Raises TurnFailed."""
        assert self._call is not None, "it is at hand"
        data = self._call.taken()
        if not data:
            self._call = None
        return data

    async def read(self) -> bytes:
        """What one read of the present call brought; empty at the clean end of each.  Raises TurnFailed."""
        if self._call is None:
            await self._go_on()
        data = b"" if self._call is None else await self._call.read()
        if not data:
            self._call = None
        return data

    async def flow(self, sink: Sink) -> None:
        """Give what each read of the present call brings to the sink, until its clean end; then it is over.

        It ends early when the sink wants no more.  Raises TurnFailed, and what the sink raises.
        """
        if self._call is None:
            await self._go_on()
        if self._call is not None:
            if self._paused:
                self._call.pause()
            await self._call.flow(sink)
            self._call = None

    def pause(self) -> None:
        """Read no more for now."""
        self._paused = True
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        if self._call is not None:
            self._call.resume()

    async def _go_on(self) -> None:
        """Run the searches that the last call asked for, and open the next call, if there is to be one."""
        searches = self._reply.searches
        assert searches is not None, "an answer without a search ends with its first call"
        run, refused = searches.allowed()
        wanted = searches.wanted
        ended = await asyncio.gather(*(self._searcher.search(self._account, each, wanted) for each in run))
        conversation = searches.ended((*ended, *refused))
        if conversation is not None:
            self._call = await self._asked(conversation, searches)

    async def _asked(self, conversation: Conversation, searches: Searches) -> ChatReply:
        while True:
            try:
                model, call = await self._calls.ask(conversation, self._account)
            except TurnFailed as error:
                self._account = await self._attempt.again(await self._calls.judged(error.failure))
                continue
            self._on_account(self._account)
            room = searches.room
            self._reply.go_on(reader_of(conversation, call.sent, model.context_window, call.request_id, room))
            return call
