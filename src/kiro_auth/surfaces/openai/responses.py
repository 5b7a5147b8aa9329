"""OpenAI Responses: `POST /v1/responses`, as Codex, OpenCode and the SDKs speak it."""

from __future__ import annotations

from kiro_auth.conversation import Conversation
from kiro_auth.surfaces.openai.errors import encode_responses_failure as encode_failure
from kiro_auth.surfaces.openai.responses_compacted import CompactionStream, CompactionWhole
from kiro_auth.surfaces.openai.responses_event import LAST_WORDS
from kiro_auth.surfaces.openai.responses_reply import ResponsesStream, ResponsesWhole
from kiro_auth.surfaces.openai.responses_request import decode

__all__ = ["LAST_WORDS", "decode", "encode_failure", "stream_encoder", "whole_encoder"]


def stream_encoder(
    conversation: Conversation, *, reply_id: str, created: int, input_tokens: int
) -> ResponsesStream:
    """A writer for one streamed reply; this API says what went in at its end only."""
    del input_tokens
    kind = CompactionStream if conversation.sealed else ResponsesStream
    return kind(conversation, reply_id, created)


def whole_encoder(
    conversation: Conversation, *, reply_id: str, created: int, input_tokens: int
) -> ResponsesWhole:
    """A writer for one whole reply; this API says what went in at its end only."""
    del input_tokens
    kind = CompactionWhole if conversation.sealed else ResponsesWhole
    return kind(conversation, reply_id, created)
