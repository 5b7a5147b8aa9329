"""Any events of the service end as one reply in each API's form, or as TurnFailed before its first word."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from fuzz.mutation import changed_json
from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.gateway.reply import Reply, reply_to
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.reply.eventstream import encode_frame
from kiro_auth.kiro.request import payload

_PAYLOADS: dict[str, list[Any]] = {
    "assistantResponseEvent": [{"content": "Some words. ```json\n{}\n```"}, {"content": "STOP"}],
    "codeEvent": [{"codeEvent": {"content": "x = 1"}}],
    "reasoningContentEvent": [{"text": "Hm.", "signature": "c2ln"}, {"redactedContent": "cmVk"}],
    "toolUseEvent": [
        {"toolUseId": "t1", "name": "read", "input": '{"path": "a"}', "stop": True},
        {"toolUseId": "t1", "name": "read", "input": '{"path"'},
        {"toolUseId": "t1", "input": ': "a"}', "stop": True},
    ],
    "metadataEvent": [
        {
            "stopReason": "END_TURN",
            "tokenUsage": {
                "uncachedInputTokens": 9,
                "outputTokens": 8,
                "cacheReadInputTokens": 7,
                "cacheWriteInputTokens": 6,
                "contextUsagePercentage": 1.5,
            },
        },
        {"stopReason": "MAX_TOKENS"},
    ],
    "contextUsageEvent": [{"contextUsagePercentage": 12.5}, {"contextUsagePercentage": "NaN"}],
    "meteringEvent": [{"usage": 0.05, "unit": "credit", "unitPlural": "credits"}],
    "supplementaryWebLinksEvent": [{"supplementaryWebLinks": [{"url": "https://a.example", "title": "A"}]}],
    "citationEvent": [
        {"target": {"range": {"start": 0, "end": 3}}, "citationLink": "https://a", "citationText": "A"}
    ],
    "documentCitationEvent": [{"title": "A", "location": {"web": {"url": "https://a.example"}}}],
    "invalidStateEvent": [{"reason": "INVALID", "message": "No."}],
    "error": [{"message": "Slow down.", "retryAfterMilliseconds": 5000}],
}
_WORDS = "Say hello."
_TOOL = {"type": "object", "properties": {"path": {"type": "string"}}}
_BODIES: dict[str, dict[str, Any]] = {
    "/v1/messages": {
        "max_tokens": 99,
        "messages": [{"role": "user", "content": _WORDS}],
        "tools": [{"name": "read", "input_schema": _TOOL}],
        "stop_sequences": ["STOP"],
    },
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": _WORDS}],
        "tools": [{"type": "function", "function": {"name": "read", "parameters": _TOOL}}],
        "stream_options": {"include_usage": True},
        "response_format": {"type": "json_object"},
    },
    "/v1/responses": {"input": _WORDS, "tools": [{"type": "function", "name": "read", "parameters": _TOOL}]},
}
_EVENTS = st.sampled_from(sorted(_PAYLOADS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind), changed_json(_PAYLOADS[kind]) | st.sampled_from(_PAYLOADS[kind]).map(_as_json)
    )
)


def _as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


INPUTS = st.tuples(
    st.sampled_from(sorted(SURFACES)), st.booleans(), st.lists(_EVENTS, max_size=8), st.integers(1, 400)
)


def check(data: tuple[str, bool, list[tuple[str, bytes]], int]) -> None:
    """The invariant, for one input: an API, streamed or whole, the events, and the bytes of one read."""
    path, stream, events, size = data
    frames = b"".join(_frame(kind, text) for kind, text in events)
    reply, failure = _reply(path, stream=stream), None
    try:
        said = [reply.feed(frames[start : start + size]) for start in range(0, len(frames), size)]
        said.append(reply.close())
    except TurnFailed as error:
        failure = error.failure
    if failure is not None:
        assert failure.sentence()
        assert not (stream and reply.speaks), "a stream that speaks ends in its own form"
        return
    assert reply.outcome is not None
    assert reply.feed(frames) == reply.close() == b"", "behind the ending comes nothing"
    assert all(0 <= figure.value < 2**53 for figure in (reply.usage.input, reply.usage.output))
    _read(b"".join(said), stream=stream)


def _reply(path: str, *, stream: bool) -> Reply:
    body = {"model": "claude-opus-4-6", "stream": stream, **_BODIES[path]}
    conversation = SURFACES[path].decode(json.dumps(body).encode(), {})
    options = payload.Options(
        model=resolve("claude-opus-4-6", ()).model, protocol="rpc", origin="KIRO_CLI", profile_arn=None
    )
    return reply_to(
        conversation,
        SURFACES[path],
        payload.build(conversation, options),
        context_window=200_000,
        request_id="r",
        reply_id="0123456789abcdef",
        created=1_800_000_000,
    )


def _read(written: bytes, *, stream: bool) -> None:
    """Each event of a stream, or the whole, is JSON that any reader takes: no NaN, no half character."""
    text = written.decode()
    lines = text.split("\n") if stream else [f"data: {text}"]
    for line in lines:
        if line.startswith("data: ") and line != "data: [DONE]":
            str(json.loads(line.removeprefix("data: "), parse_constant=_no_number)).encode()


def _no_number(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def _frame(kind: str, text: bytes) -> bytes:
    exception = {":message-type": "exception", ":exception-type": "ThrottlingException"}
    event = {":message-type": "event", ":event-type": kind}
    return encode_frame(exception if kind == "error" else event, text)
