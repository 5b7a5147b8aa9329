"""The tools of one request, as the service takes them: which are declared, and under which names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from kiro_auth.conversation import Conversation, Message, Tool, ToolCall
from kiro_auth.kiro.request.repair import Repair
from kiro_auth.kiro.request.schemas import Acceptable, acceptable
from kiro_auth.kiro.request.validity import has_words

MAX_DESCRIPTION: Final = 10_000
"""Characters of a tool's description.  The model in the official streaming client 1.0.45 allows 10,240, the
official CLI cuts at 10,004 (its source of April 2026), and a longer one is answered with 500 (seen in
2026)."""
MAX_NAME: Final = 64
"""Characters of a tool's name, which are those of `_NAME`: the same model."""

_MOST_KEPT: Final = 16 * 1024
"""Bytes of a schema up to which it is kept what was made of it."""
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ROOM: Final = 1024 * 1024
"""What the references of all schemas of a request may stand for, in characters about."""


class Tools:
    """The tools of one request.  `on_repair` hears of each change that the service makes necessary."""

    def __init__(self, on_repair: Callable[[Repair], None]) -> None:
        self._on_repair = on_repair
        self._aliases: dict[str, str] = {}  # the client's name -> the name as sent
        self._room = ROOM

    @property
    def client_names(self) -> Mapping[str, str]:
        """Names as sent and the client's own, where they differ."""
        return {alias: name for name, alias in self._aliases.items() if alias != name}

    def alias(self, name: str) -> str:
        """The name as sent: the client's own if that is legal, else a short one made from it."""
        if name not in self._aliases:
            alias = name
            if not _NAME.fullmatch(name):
                digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
                readable = re.sub(r"[^a-zA-Z0-9_-]+", "_", name).strip("_")[: MAX_NAME - 9]
                alias = f"{readable or 'tool'}_{digest}"
                self._repair("a tool got another name", "its own is not legal")
            self._aliases[name] = alias
        return self._aliases[name]

    def declared(
        self, conversation: Conversation, messages: Iterable[Message]
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """The tools to declare, and the descriptions that are too long to stand there."""
        specifications: list[dict[str, Any]] = []
        moved: list[str] = []
        for tool in self._offered(conversation, messages).values():
            alias = self.alias(tool.name)
            description = tool.description if has_words(tool.description) else alias
            if len(description) > MAX_DESCRIPTION:
                moved.append(f"# Tool {alias}\n\n{description}")
                description = f"Described under the heading: Tool {alias}"
                self._repair("a description moved to the instructions", "it is too long")
            schema = self._schema(tool.schema)
            specification = {"name": alias, "description": description, "inputSchema": {"json": schema}}
            specifications.append({"toolSpecification": specification})
        return specifications, moved

    def _schema(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        made = _made_of(schema) if self._room > 0 else acceptable(schema, follow=False)
        self._room -= made.spent
        if not made.whole:
            self._repair("a schema was loosened", "its references stand for too much")
        return made.schema

    def _offered(self, conversation: Conversation, messages: Iterable[Message]) -> dict[str, Tool]:
        """By name: those that may be called now, and those that the history uses."""
        offered: dict[str, Tool] = {}
        for tool in conversation.tools:
            offered.setdefault(tool.name, tool)
        if len(offered) < len(conversation.tools):
            self._repair("a tool was dropped", "its name stands twice")
        choice = conversation.tool_choice
        if choice.mode == "none" or choice.names:
            wanted = frozenset(choice.names)
            offered = {name: tool for name, tool in offered.items() if name in wanted}
        used = [
            block.name for message in messages for block in message.content if isinstance(block, ToolCall)
        ]
        for name in dict.fromkeys(used):
            if name not in offered:
                offered[name] = Tool(name, f"The tool {name} of earlier turns. It cannot be called now.", {})
                self._repair("a tool was declared", "the history uses it")
        return offered

    def _repair(self, what: str, why: str) -> None:
        self._on_repair(Repair(what, "tools", why))


def _made_of(schema: Mapping[str, Any]) -> Acceptable:
    """The schema as the service takes it; a client sends the same ones with every turn, so they are kept."""
    try:
        written = msgspec.json.encode(schema)
        if len(written) <= _MOST_KEPT:
            return _made_of_written(written)
    except (UnicodeEncodeError, RecursionError):  # what cannot be written so is met again with the whole body
        pass
    return acceptable(schema)


@lru_cache(maxsize=512)
def _made_of_written(schema: bytes) -> Acceptable:
    return acceptable(msgspec.json.decode(schema))
