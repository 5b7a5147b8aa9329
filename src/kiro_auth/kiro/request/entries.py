"""The messages of a conversation as the service has them: an entry each, of the user or of the model."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from kiro_auth.conversation import (
    Document,
    Image,
    Message,
    Reasoning,
    RedactedReasoning,
    Text,
    ToolCall,
    ToolResult,
)
from kiro_auth.json_values import WrittenText
from kiro_auth.kiro.models import Model
from kiro_auth.kiro.request.attachments import Attachments
from kiro_auth.kiro.request.repair import Repair
from kiro_auth.kiro.request.replays import Part
from kiro_auth.kiro.request.thinking import signed_text
from kiro_auth.kiro.request.tools import Tools


class Entries:
    """Makes them of a valid history, but for the parts `without` which the service wants them.

    `held` are the parts that they could do without.  `on_repair` hears of what was left out.
    """

    def __init__(
        self,
        model: Model,
        origin: str,
        without: Collection[Part],
        tools: Tools,
        attachments: Attachments,
        on_repair: Callable[[Repair], None],
    ) -> None:
        self.held: set[Part] = set()
        self._model = model
        self._origin = origin
        self._without = without
        self._tools = tools
        self._attachments = attachments
        self._on_repair = on_repair

    def of(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """Those of all messages."""
        return [
            {"assistantResponseMessage": self._assistant(message)}
            if message.role == "assistant"
            else {"userInputMessage": self._user(message)}
            for message in messages
        ]

    def _assistant(self, message: Message) -> dict[str, Any]:
        words: list[str] = []
        calls: list[dict[str, Any]] = []
        reasoning: list[dict[str, Any]] = []
        for block in message.content:
            match block:
                case Text():
                    words.append(block.text)
                case ToolCall():
                    name = self._tools.alias(block.name)
                    calls.append({"toolUseId": block.id, "name": name, "input": block.input})
                case RedactedReasoning() if _is_base64(block.data):
                    reasoning.append({"redactedContent": block.data})
                case Reasoning() if block.signature:
                    text = {"text": signed_text(block), "signature": block.signature}
                    reasoning.append({"reasoningText": text})
        entry: dict[str, Any] = {"content": "\n\n".join(words)}
        if calls:
            entry["toolUses"] = calls
        if reasoning and self._takes(reasoning):
            entry["reasoningContent"] = reasoning[0]
        return entry

    def _takes(self, reasoning: Sequence[dict[str, Any]]) -> bool:
        """Whether the service takes this signed reasoning of one message: whole, and of one piece."""
        if len(reasoning) > 1 or "reasoning" in self._without or self._model.tags:
            what = "reasoning of an earlier turn was left out"
            self._on_repair(Repair(what, "messages", "it cannot be replayed"))
            return False
        self.held.add("reasoning")
        return True

    def _user(self, message: Message) -> dict[str, Any]:
        media: dict[str, list[dict[str, Any]]] = {}
        results, words = [], []
        for block in message.content:
            match block:
                case Text():
                    words.append(block.text)
                case ToolResult():
                    results.append(self._result(block, media))
                case Image() | Document():
                    if note := self._attachments.attach(block, media):
                        words.append(note)
        entry: dict[str, Any] = {
            "content": "\n\n".join(words),
            "modelId": self._model.id,
            "origin": self._origin,
            **media,
        }
        if results:
            entry["userInputMessageContext"] = {"toolResults": results}
        return entry

    def _result(self, result: ToolResult, media: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        content: list[dict[str, str | msgspec.Raw]] = []
        for block in result.content:
            match block:
                case Text(text=said) | WrittenText(json=said):
                    content.append({"text": said})
                case Image() | Document():
                    what = "image" if isinstance(block, Image) else "document"
                    note = self._attachments.attach(block, media)
                    content.append({"text": note or f"The {what} is attached to this message."})
        return {
            "toolUseId": result.call_id,
            "status": "error" if result.is_error else "success",
            "content": content or [{"text": ""}],
        }


def _is_base64(data: str) -> bool:
    try:
        return bool(binascii.a2b_base64(data, strict_mode=True))
    except ValueError:
        return False
