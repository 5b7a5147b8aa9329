"""What a reply of each API says, in words that all of them share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Said:
    """A reply.  `ends` is the API's own word for how; `failure` the message of one that broke off."""

    text: str = ""
    reasoning: str = ""
    calls: list[list[Any]] = field(default_factory=list)
    sources: list[list[str]] = field(default_factory=list)
    ends: str | None = None
    failure: str | None = None


def whole(path: str, body: bytes) -> Said:
    """Of a whole reply."""
    return _WHOLE[path](json.loads(body))


def streamed(path: str, body: bytes) -> Said:
    """Of a stream; every line of it must be known."""
    said = Said()
    parts: dict[int, list[str]] = {}  # of calls that come in pieces, by their index
    for line in body.decode().split("\n"):
        if line.startswith("data: ") and line != "data: [DONE]":
            _STREAMED[path](said, parts, json.loads(line.removeprefix("data: ")))
        else:
            assert line.startswith(("event: ", ": ping", "data: [DONE]")) or not line, line
    for index, pieces in parts.items():
        said.calls[index][2] = json.loads("".join(pieces) or "{}")
    return said


def _message(message: Mapping[str, Any]) -> Said:
    said = Said(ends=message["stop_reason"])
    for block in message["content"]:
        _block(said, block)
    return said


def _block(said: Said, block: Mapping[str, Any]) -> None:
    match block:
        case {"type": "text", "text": text}:
            said.text += text
            said.sources += [[source["url"], source["title"]] for source in block.get("citations", ())]
        case {"type": "thinking", "thinking": text}:
            said.reasoning += text
        case {"type": "tool_use"}:
            said.calls.append([block["id"], block["name"], block["input"]])


def _message_event(said: Said, parts: dict[int, list[str]], event: Mapping[str, Any]) -> None:
    match event:
        case {"type": "content_block_start", "content_block": block}:
            _block(said, block)
        case {"type": "content_block_delta", "delta": {"text": text}}:
            said.text += text
        case {"type": "content_block_delta", "delta": {"thinking": text}}:
            said.reasoning += text
        case {"type": "content_block_delta", "delta": {"partial_json": text}}:
            parts.setdefault(len(said.calls) - 1, []).append(text)
        case {"type": "content_block_delta", "delta": {"citation": source}}:
            said.sources.append([source["url"], source["title"]])
        case {"type": "message_delta", "delta": {"stop_reason": reason}}:
            said.ends = reason
        case {"type": "error", "error": {"message": message}}:
            said.failure = message


def _completion(reply: Mapping[str, Any]) -> Said:
    [choice] = reply["choices"]
    message = choice["message"]
    return Said(
        text=message["content"] or "",
        reasoning=message.get("reasoning_content", ""),
        calls=[_call(call) for call in message.get("tool_calls", ())],
        sources=[_source(source) for source in message.get("annotations", ())],
        ends=choice["finish_reason"],
    )


def _chunk(said: Said, parts: dict[int, list[str]], chunk: Mapping[str, Any]) -> None:
    if "error" in chunk:
        said.failure = chunk["error"]["message"]
        return
    for choice in chunk["choices"]:
        delta = choice["delta"]
        said.text += delta.get("content") or ""
        said.reasoning += delta.get("reasoning_content", "")
        said.sources += [_source(source) for source in delta.get("annotations", ())]
        said.ends = choice["finish_reason"] or said.ends
        for call in delta.get("tool_calls", ()):
            if call["index"] == len(said.calls):
                said.calls.append([call["id"], call["function"]["name"], None])
            parts.setdefault(call["index"], []).append(call["function"]["arguments"])


def _call(call: Mapping[str, Any]) -> list[Any]:
    return [call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])]


def _source(source: Mapping[str, Any]) -> list[str]:
    return [source["url_citation"]["url"], source["url_citation"]["title"]]


def _response(response: Mapping[str, Any]) -> Said:
    said = Said(ends=response["status"])
    for item in response["output"]:
        match item:
            case {"type": "message", "content": [part]}:
                said.text += part["text"]
                said.sources += [[source["url"], source["title"]] for source in part["annotations"]]
            case {"type": "reasoning", "summary": summary}:
                said.reasoning += "".join(part["text"] for part in summary)
            case {"type": "function_call"}:
                said.calls.append([item["call_id"], item["name"], json.loads(item["arguments"])])
    return said


def _response_event(said: Said, parts: dict[int, list[str]], event: Mapping[str, Any]) -> None:
    match event:
        case {"type": "response.output_text.delta", "delta": text}:
            said.text += text
        case {"type": "response.reasoning_summary_text.delta", "delta": text}:
            said.reasoning += text
        case {"type": "response.output_text.annotation.added", "annotation": source}:
            said.sources.append([source["url"], source["title"]])
        case {"type": "response.output_item.added", "item": {"type": "function_call"} as item}:
            said.calls.append([item["call_id"], item["name"], None])
        case {"type": "response.function_call_arguments.delta", "delta": text}:
            parts.setdefault(len(said.calls) - 1, []).append(text)
        case {"type": "response.completed" | "response.incomplete", "response": response}:
            said.ends = response["status"]
        case {"type": "response.failed", "response": {"error": {"message": message}}}:
            said.failure = message


_WHOLE = {
    "/v1/messages": _message,
    "/v1/chat/completions": _completion,
    "/v1/responses": _response,
}
_STREAMED = {
    "/v1/messages": _message_event,
    "/v1/chat/completions": _chunk,
    "/v1/responses": _response_event,
}
