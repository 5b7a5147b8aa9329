"""What must hold of every answer, whatever went wrong: it is whole or fails in its API's shape, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

_ENDS: Final = {
    "/v1/messages": ("message_stop", "error"),
    "/v1/responses": ("response.completed", "response.incomplete", "response.failed"),
}


def broken_law(api: str, status: int, body: bytes, *, stream: bool, calls: list[Any]) -> str | None:
    """What is wrong with one answer; `calls` are the inputs of the calls that the service sent whole."""
    if b"HTTP/1.1 " in body:
        return "a second answer stands in the first"
    if b"KA-INTERNAL" in body or b"Traceback" in body:
        return f"a defect: {body[-300:]!r}"
    try:
        if status != 200:
            return _wrong_error(api, status, json.loads(body))
        return _wrong_stream(api, body, calls) if stream else _wrong_whole(api, json.loads(body), calls)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return f"{error!r} in {body[-300:]!r}"


def _wrong_error(api: str, status: int, body: Any) -> str | None:
    error = body["error"]
    shaped = (
        isinstance(error["message"], str) and isinstance(error["type"], str) and "(KA-" in error["message"]
    )
    if api == "/v1/messages":
        shaped = shaped and body["type"] == "error"
    return None if shaped and 400 <= status < 500 else f"status {status} with {body}"


def _wrong_whole(api: str, body: Any, calls: list[Any]) -> str | None:
    if api == "/v1/messages":
        made = [block["input"] for block in body["content"] if block["type"] == "tool_use"]
    elif api == "/v1/responses":
        made = [json.loads(item["arguments"]) for item in body["output"] if item["type"] == "function_call"]
    else:
        message = body["choices"][0]["message"]
        made = [json.loads(call["function"]["arguments"]) for call in message.get("tool_calls") or ()]
    return _wrong_calls(made, calls)


def _wrong_stream(api: str, body: bytes, calls: list[Any]) -> str | None:
    lines = [line[6:] for line in body.decode().splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines if line != "[DONE]"]
    if api == "/v1/chat/completions":
        ends = lines.count("[DONE]") + sum("error" in event for event in events)
        last = lines[-1] == "[DONE]" or "error" in events[-1]
    else:
        kinds = [event["type"] for event in events]
        ends, last = sum(map(kinds.count, _ENDS[api])), kinds[-1] in _ENDS[api]
    if ends != 1 or not last:
        return f"the stream has {ends} endings: {body[-300:]!r}"
    return _wrong_calls([json.loads(text) for text in _arguments(api, events)], calls)


def _arguments(api: str, events: list[Any]) -> Iterator[str]:
    if api == "/v1/responses":
        items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        yield from (item["arguments"] for item in items if item["type"] == "function_call")
    elif api == "/v1/messages":
        parts: dict[int, str] = {}
        for event in events:
            if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use":
                parts[event["index"]] = ""
            elif event.get("delta", {}).get("type") == "input_json_delta":
                parts[event["index"]] += event["delta"]["partial_json"]
        yield from parts.values()
    else:
        for event in events:
            for choice in event.get("choices", ()):
                yield from (c["function"]["arguments"] for c in choice["delta"].get("tool_calls", ()))


def _wrong_calls(made: list[Any], calls: list[Any]) -> str | None:
    stray = [call for call in made if call not in calls]
    return f"calls that the service did not send whole: {stray}" if stray else None
