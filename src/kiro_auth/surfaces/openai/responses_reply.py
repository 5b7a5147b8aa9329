"""Write replies of the OpenAI Responses API, streamed or whole.

Codex needs `response.output_item.done` and `response.completed`; OpenCode, the AI SDK and pi also the `added`
events and the deltas; OpenAI's own helper wants `response.created` first and a number on every event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kiro_auth.conversation import (
    CallReady,
    Citation,
    Conversation,
    Failed,
    Finished,
    ReasoningDelta,
    ReasoningRedacted,
    ReasoningSigned,
    ReplyEvent,
    SearchBegun,
    SearchEnded,
    StopReason,
    TextDelta,
    Tool,
)
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.reply_usage import Usage
from kiro_auth.surfaces.metering import metered
from kiro_auth.surfaces.openai import responses_searches as searches
from kiro_auth.surfaces.openai.custom_tools import free_text
from kiro_auth.surfaces.openai.responses_event import as_error, as_event, envelope
from kiro_auth.surfaces.openai.responses_own_calls import has_own_item, own_item
from kiro_auth.surfaces.openai.responses_reasoning import sealed
from kiro_auth.surfaces.openai.responses_tools import as_called

INCOMPLETE: Final[Mapping[StopReason, str]] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}
"""Why a reply is not complete; under every other reason it is."""
_json: Final = msgspec.json.Encoder().encode


class ResponsesStream:
    """Writes one stream: the response, its items one after another, and one ending.

    `response` is the response as it stands; at the end it is the whole reply.
    """

    __slots__ = (
        *("_head", "_number", "_open", "_reply_id", "_searches", "_sources", "_text", "_tools"),
        *("_visible", "response"),
    )

    def __init__(self, conversation: Conversation, reply_id: str, created: int) -> None:
        self.response = envelope(conversation.model, reply_id, created)
        self._visible = conversation.thinking is None or conversation.thinking.visible
        self._tools = _with_own_calls(conversation.tools)
        self._searches: dict[str, int] = {}  # the places of those that are not ended
        self._reply_id = reply_id
        self._number = 0
        self._open: str | None = None  # the kind of the item that is open
        self._head = b""  # how a text delta of the open message begins
        self._text: list[str] = []  # of the open item
        self._sources: list[dict[str, Any]] = []  # of the open message

    def encode(self, events: Sequence[ReplyEvent]) -> bytes:
        """The bytes for these events; the first call also writes the opening."""
        out: list[bytes] = []
        if not self._number and events:
            self._send(out, "response.created", response=self.response)
            self._send(out, "response.in_progress", response=self.response)
        for event in events:
            if isinstance(event, TextDelta):  # nearly all events are
                if self._open != "message":
                    self._begin_message(out)
                self._text.append(event.text)
                self._say(out, event.text)
            else:
                self._other(out, event)
        return b"".join(out)

    def ping(self) -> bytes:
        """Bytes that keep the line alive and mean nothing."""
        return b": ping\n\n"

    def _other(self, out: list[bytes], event: ReplyEvent) -> None:
        match event:
            case ReasoningDelta(text):
                self._reason(out, text)
            case ReasoningSigned(signature):
                if self._open != "reasoning":
                    self._begin_reasoning(out)
                self._end_reasoning(out, signature)
            case ReasoningRedacted(data):
                self._end(out)
                self._begin_reasoning(out)
                self._end_reasoning(out, redacted=data)
            case Citation() if self._open == "message":
                self._cite(out, event)
            case CallReady():
                self._called(out, event, self._tools.get(event.name))
            case SearchBegun():
                self._begin_search(out, event)
            case SearchEnded():
                self._end_search(out, event)
            case Finished(reason, usage):
                self._finish(out, reason, usage)
            case Failed(failure, usage):
                self._fail(out, failure, usage)
            case _:
                pass

    # ------------------------------------------------------------------------------------- the items

    def _begin_message(self, out: list[bytes]) -> None:
        item = {"type": "message", "role": "assistant", "status": "in_progress", "content": []}
        place = self._begin(out, "message", "msg", item)
        self._send(out, "response.content_part.added", **place, content_index=0, part=_part(""))
        delta = {"type": "response.output_text.delta", **place, "content_index": 0, "logprobs": []}
        self._head = b"event: response.output_text.delta\ndata: " + _json(delta)[:-1] + b',"delta":'

    def _cite(self, out: list[bytes], source: Citation) -> None:
        """A source of the text so far, or of the characters that the service named."""
        annotation = {
            "type": "url_citation",
            "url": source.url,
            "title": source.title,
            "start_index": 0 if source.start is None else source.start,
            "end_index": sum(map(len, self._text)) if source.end is None else source.end,
        }
        place = {**self._place(), "content_index": 0, "annotation_index": len(self._sources)}
        self._send(out, "response.output_text.annotation.added", **place, annotation=annotation)
        self._sources.append(annotation)

    def _end_message(self, out: list[bytes], status: str) -> None:
        text, place = "".join(self._text), self._place()
        self._send(out, "response.output_text.done", **place, content_index=0, text=text, logprobs=[])
        part = {**_part(text), "annotations": self._sources}
        self._send(out, "response.content_part.done", **place, content_index=0, part=part)
        self._close(out, status=status, content=[part])
        self._sources = []

    def _reason(self, out: list[bytes], text: str) -> None:
        if self._open != "reasoning":
            self._begin_reasoning(out)
        if self._visible:
            if not self._text:
                part = {"type": "summary_text", "text": ""}
                event = "response.reasoning_summary_part.added"
                self._send(out, event, **self._place(), summary_index=0, part=part)
            event = "response.reasoning_summary_text.delta"
            self._send(out, event, **self._place(), summary_index=0, delta=text)
        self._text.append(text)

    def _begin_reasoning(self, out: list[bytes]) -> None:
        self._begin(out, "reasoning", "rs", {"type": "reasoning", "summary": []})

    def _end_reasoning(self, out: list[bytes], signature: str = "", redacted: str = "") -> None:
        text, place, summary = "".join(self._text), self._place(), []
        if self._visible and text:
            part = {"type": "summary_text", "text": text}
            event = "response.reasoning_summary_text.done"
            self._send(out, event, **place, summary_index=0, text=text)
            event = "response.reasoning_summary_part.done"
            self._send(out, event, **place, summary_index=0, part=part)
            summary = [part]
        self._close(out, summary=summary, encrypted_content=sealed(text, signature, redacted))

    def _called(self, out: list[bytes], call: CallReady, tool: Tool | None) -> None:
        named = as_called(call.name, tool)
        if tool is not None and has_own_item(tool.kind):
            prefix, item = own_item(tool.kind, call)
            self._begin(out, "call", prefix, {**item, "status": "in_progress"}, id_=f"{prefix}_{call.id}")
            self._close(out, status="completed")
        elif tool is not None and tool.kind == "custom":
            self._custom_call(out, call, named)
        else:
            self._call(out, call, named)

    def _begin_search(self, out: list[bytes], begun: SearchBegun) -> None:
        item = {"type": "web_search_call", "status": "in_progress", "action": searches.action(begun.query)}
        place = self._begin(out, "search", "ws", item, id_=searches.item_id(begun.id))
        for state in ("in_progress", "searching"):
            self._send(out, f"response.web_search_call.{state}", **place)
        self._searches[begun.id] = place["output_index"]
        self._open = None

    def _end_search(self, out: list[bytes], ended: SearchEnded) -> None:
        self._end(out)  # what follows is another message
        index = self._searches.pop(ended.id)
        item = self.response["output"][index]
        item.update(searches.ended(ended))
        if ended.fault is None:
            event = "response.web_search_call.completed"
            self._send(out, event, item_id=item["id"], output_index=index)
        self._send(out, "response.output_item.done", output_index=index, item=item)

    def _call(self, out: list[bytes], call: CallReady, named: Mapping[str, str]) -> None:
        item = {
            "type": "function_call",
            "call_id": call.id,
            **named,
            "arguments": "",
            "status": "in_progress",
        }
        place = self._begin(out, "call", "fc", item)
        self._send(out, "response.function_call_arguments.delta", **place, delta=call.arguments)
        event = "response.function_call_arguments.done"
        self._send(out, event, **place, name=named["name"], arguments=call.arguments)
        self._close(out, status="completed", arguments=call.arguments)

    def _custom_call(self, out: list[bytes], call: CallReady, named: Mapping[str, str]) -> None:
        item = {
            "type": "custom_tool_call",
            "call_id": call.id,
            **named,
            "input": "",
            "status": "in_progress",
        }
        text, place = free_text(call.arguments), self._begin(out, "call", "ctc", item)
        self._send(out, "response.custom_tool_call_input.delta", **place, delta=text)
        self._send(out, "response.custom_tool_call_input.done", **place, input=text)
        self._close(out, status="completed", input=text)

    def _begin(
        self, out: list[bytes], kind: str, prefix: str, item: Mapping[str, Any], *, id_: str | None = None
    ) -> dict[str, Any]:
        """Open an item; where it is."""
        self._end(out)
        self._open = kind
        index = len(self.response["output"])
        self.response["output"].append({"id": id_ or f"{prefix}_{self._reply_id}_{index}", **item})
        added = self.response["output"][-1]
        self._send(out, "response.output_item.added", output_index=index, item=added)
        return self._place()

    def _place(self) -> dict[str, Any]:
        output = self.response["output"]
        return {"item_id": output[-1]["id"], "output_index": len(output) - 1}

    def _close(self, out: list[bytes], **changed: Any) -> None:
        item = self.response["output"][-1]
        item.update(changed)
        index = len(self.response["output"]) - 1
        self._send(out, "response.output_item.done", output_index=index, item=item)
        self._open = None
        self._text.clear()

    def _end(self, out: list[bytes], status: str = "completed") -> None:
        if self._open == "message":
            self._end_message(out, status)
        elif self._open == "reasoning":
            self._end_reasoning(out)

    # ------------------------------------------------------------------------------------ the ending

    def _finish(self, out: list[bytes], reason: StopReason, usage: Usage) -> None:
        short = INCOMPLETE.get(reason)
        status = "incomplete" if short else "completed"
        self._end(out, status)
        details = {"reason": short} if short else None
        self.response.update(status=status, incomplete_details=details, usage=_usage(usage))
        self._send(out, f"response.{status}", response=self.response)

    def _fail(self, out: list[bytes], failure: Failure, usage: Usage) -> None:
        self._end(out, "incomplete")
        self.response.update(status="failed", error=as_error(failure), usage=_usage(usage))
        self._send(out, "response.failed", response=self.response)

    # ------------------------------------------------------------------ how an event of the API goes out

    def _send(self, out: list[bytes], kind: str, **fields: Any) -> None:
        out.append(as_event(kind, sequence_number=self._number, **fields))
        self._number += 1

    def _say(self, out: list[bytes], text: str) -> None:
        """An `output_text.delta` of the open message, without building it anew each time."""
        out += (self._head, _json(text), b',"sequence_number":%d}\n\n' % self._number)
        self._number += 1


def _with_own_calls(tools: Sequence[Tool]) -> dict[str, Tool]:
    """The tools whose calls are not a plain function's, by their names; of several the first.

    Without what the model was told of them: a stream may be silent for long.
    """
    by_name = {tool.name: tool for tool in reversed(tools)}
    return {
        name: msgspec.structs.replace(tool, description="", schema={})
        for name, tool in by_name.items()
        if tool.kind != "function" or tool.namespace
    }


class ResponsesWhole(ResponsesStream):
    """Writes one whole reply: the response as it stands at the end of the stream.

    `encode` gives nothing before that, and raises TurnFailed for a reply that failed.
    """

    def _send(self, out: list[bytes], kind: str, **fields: Any) -> None:
        self._number += 1

    def _say(self, out: list[bytes], text: str) -> None:
        pass  # the text of the open message is kept for its end already

    def _finish(self, out: list[bytes], reason: StopReason, usage: Usage) -> None:
        super()._finish(out, reason, usage)
        out.append(_json(self.response))

    def _fail(self, out: list[bytes], failure: Failure, usage: Usage) -> None:
        raise TurnFailed(failure)


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: Usage) -> dict[str, Any]:
    """The details are part of this API's shape; what the service did not say is 0 there."""
    details = {"cached_tokens": usage.cache_read or 0, "cache_write_tokens": usage.cache_write or 0}
    return {
        "input_tokens": usage.input.value,
        "input_tokens_details": details,
        "output_tokens": usage.output.value,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input.value + usage.output.value,
        **metered(usage),
    }
