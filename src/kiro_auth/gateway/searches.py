"""The searches of the web in one answer, without I/O: what becomes of the service's replies because of them.

To the service a search is a tool that the model calls, so it takes two calls or more: the model asks, the
search is run, the model goes on with the result.  To the client it is one answer.  What stands between the
calls is taken out here, and what the model said is kept for the next call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from kiro_auth.conversation import (
    Block,
    CallReady,
    Citation,
    Conversation,
    Failed,
    Finished,
    Message,
    Reasoning,
    ReasoningDelta,
    ReasoningRedacted,
    ReasoningSigned,
    RedactedReasoning,
    ReplyEvent,
    SearchBegun,
    SearchEnded,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    WebPage,
    WebSearch,
)
from kiro_auth.failures import Failure
from kiro_auth.reply_usage import Usage
from kiro_auth.surfaces.tools.web_search import result_text

_USUAL_USES: Final = 8
"""Searches of one answer where the client sets no bound: what Claude Code sets."""
_MOST_USES: Final = 20
_IDLE: Final = 2
"""Calls to the service in a row for which no search could be run, after which the answer ends."""
_GOES_ON: Final = ("tool_calls", "end", "length")
_LONGEST_QUERY: Final = 400  # characters, when the words of a person have to do for a query
_PREAMBLE: Final = r"(?i)perform a web search for the query:\s*"
"""How Claude Code 2.1.331 begins the request of its own WebSearch tool."""


class Searches:
    """The searches of one answer to this conversation.

    `asked` are those to be run now: the reply that asked for them has ended.  `room` is how many tokens the
    client takes of the replies to come; None: all.
    """

    def __init__(self, conversation: Conversation, search: WebSearch) -> None:
        self.wanted = search
        self.asked: tuple[SearchBegun, ...] = ()
        self._conversation = conversation
        self._uses = min(search.max_uses or _USUAL_USES, _MOST_USES)
        self._idle = 0
        self._run = 0  # searches so far
        self._spent: Usage | None = None  # by the replies that have ended
        self.room = conversation.max_output
        self._pages: dict[str, WebPage] = {}
        self._ready: list[ReplyEvent] = []  # to be given next
        self._held: list[ReplyEvent] | None = [] if search.forced else None
        self._begin_reply()

    def _begin_reply(self) -> None:
        self._begun: list[SearchBegun] = []
        self._said: list[Block] = []
        self._text: list[str] = []
        self._thought: list[str] = []
        self._others_called = False

    def total(self, usage: Usage | None) -> Usage:
        """What the answer has used, of which the present reply `usage`; None between two replies."""
        parts = [part for part in (self._spent, usage) if part is not None]
        return replace(reduce(Usage.plus, parts), searches=self._run)

    def broke(self, failure: Failure) -> list[ReplyEvent]:
        """What the client gets when the answer breaks off between two replies."""
        given, self._ready = self._ready, []
        return [*given, *_not_run(self.asked), Failed(failure, self.total(None))]

    # -------------------------------------------------------------------------------- a reply's events

    def passed(self, events: Sequence[ReplyEvent]) -> list[ReplyEvent]:
        """What the client gets of these events of the service's present reply."""
        given, self._ready = self._ready, []
        for event in events:
            given += self._passed(event)
        return given

    def _passed(self, event: ReplyEvent) -> Iterator[ReplyEvent]:
        match event:
            case TextDelta(text):
                self._text.append(text)
                yield from self._unless_held(event)
            case Citation():  # beside the text, which goes on
                yield from self._unless_held(event)
            case Finished():
                yield from self._citations()
                yield from self._finished(event)
            case Failed():
                yield from _not_run(self._begun)
                yield replace(event, usage=self.total(event.usage))
            case CallReady(id_, name, arguments) if name == self.wanted.name:
                yield from self._citations()
                yield from self._released()
                yield self._search(SearchBegun(id_, _query(arguments)), arguments)
            case _:
                yield from self._citations()
                self._keep(event)
                yield from self._unless_held(event)

    def _unless_held(self, event: ReplyEvent) -> Iterator[ReplyEvent]:
        if self._held is None:
            yield event
        else:
            self._held.append(event)

    def _released(self) -> list[ReplyEvent]:
        """What was held back until the search that the client insists on was asked for."""
        held, self._held = self._held or [], None
        return held

    def _search(self, begun: SearchBegun, arguments: str) -> SearchBegun:
        self._begun.append(begun)
        self._said.append(ToolCall(begun.id, self.wanted.name, msgspec.json.decode(arguments)))
        return begun

    def _keep(self, event: ReplyEvent) -> None:
        """Note what the model said, for the next call."""
        match event:
            case ReasoningDelta(text):
                self._thought.append(text)
            case ReasoningSigned(signature):
                self._said.append(Reasoning("".join(self._thought), signature))
                self._thought.clear()
            case ReasoningRedacted(data):
                self._said.append(RedactedReasoning(data))
            case CallReady():
                self._others_called = True

    def _citations(self) -> Iterator[Citation]:
        """The text so far is complete: note it, and name the found pages that it names."""
        text = "".join(self._text)
        self._text.clear()
        if text:
            self._said.append(Text(text))
        for page in self._pages.values():
            if page.url in text and (place := _place(page.url, text)):
                yield Citation(page.url, page.title, *place, quote=page.text)

    def _finished(self, event: Finished) -> Iterator[ReplyEvent]:
        if self._held is not None and (self._others_called or event.reason not in _GOES_ON):
            yield from self._released()
        if self._held is None:
            self._fill(event.usage.output.value)
        else:  # the client insists on a search, and the model made none
            self._held, self._said = None, []
            query = _query_of_a_person(self._conversation)
            arguments = msgspec.json.encode({"query": query}).decode()
            id_ = f"web_search_{len(self._conversation.messages)}"
            yield self._search(SearchBegun(id_, query), arguments)
        if self._begun and event.reason in _GOES_ON and self.room != 0:
            self._spent = self.total(event.usage)
            self.asked = tuple(self._begun)
            return
        yield from _not_run(self._begun)
        yield replace(event, usage=self.total(event.usage))

    def _fill(self, tokens: int) -> None:
        if self.room is not None:
            self.room = max(0, self.room - tokens)

    # ------------------------------------------------------------------------------------- in between

    def allowed(self) -> tuple[tuple[SearchBegun, ...], tuple[SearchEnded, ...]]:
        """Of those asked for, which are to be run, and which are more than the client allows."""
        run, rest = self.asked[: self._uses], self.asked[self._uses :]
        self._uses -= len(run)
        self._idle = 0 if run else self._idle + 1
        return run, tuple(SearchEnded(each.id, each.query, fault="max_uses_exceeded") for each in rest)

    def ended(self, searches: Sequence[SearchEnded]) -> Conversation | None:
        """What to ask the service next, now that these have ended; None when the answer ends with them."""
        self.asked = ()
        self._ready += searches
        self._run += sum(search.fault is None for search in searches)
        self._pages |= {page.url: page for search in searches for page in search.pages}
        if self._others_called or self._idle >= _IDLE:
            reason: Any = "tool_calls" if self._others_called else "end"
            self._ready.append(Finished(reason, self.total(None)))
            return None
        results = tuple(
            ToolResult(each.id, (Text(result_text(each)),), is_error=each.fault is not None)
            for each in searches
        )
        turns = (Message("assistant", tuple(self._said)), Message("user", results))
        self._conversation = replace(
            self._conversation,
            messages=(*self._conversation.messages, *turns),
            # What the client insisted on is done; if it still stood, the model could never answer.
            tool_choice=replace(self._conversation.tool_choice, mode="auto"),
        )
        self._begin_reply()
        return self._conversation


def searches_of(conversation: Conversation) -> Searches | None:
    """Those of an answer to this conversation; None where the client asked for no search."""
    search = conversation.web_search
    return None if search is None else Searches(conversation, search)


def _not_run(begun: Iterable[SearchBegun]) -> Iterator[SearchEnded]:
    return (SearchEnded(each.id, each.query, fault="unavailable") for each in begun)


def _query(arguments: str) -> str:
    given: dict[str, Any] = msgspec.json.decode(arguments)
    words = [given.get("query"), *given.values()]
    return next((word for word in words if isinstance(word, str) and word.strip()), "")


def _query_of_a_person(conversation: Conversation) -> str:
    """The last words of a person, which have to do for the query that the model did not make."""
    for message in reversed(conversation.messages):
        words = " ".join(block.text for block in message.content if isinstance(block, Text))
        if message.role == "user" and words.strip():
            return " ".join(re.sub(_PREAMBLE, "", words).split())[:_LONGEST_QUERY]
    return ""


def _place(url: str, text: str) -> tuple[int, int] | None:
    """Where the text names the address first: the Markdown link around it, else the address itself."""
    named = re.search(re.escape(url) + r"(?![\w/?#&=%~-])", text)
    if named is None:
        return None
    link = re.compile(r"\[[^\[\]]*\]\(" + re.escape(url) + r"\)").search(text)
    return link.span() if link is not None and link.start() <= named.start() else named.span()
