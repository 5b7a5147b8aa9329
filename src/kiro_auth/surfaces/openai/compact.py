"""OpenAI Responses, compaction: `POST /v1/responses/compact`, as Codex before 0.169 and the SDKs speak it."""

from __future__ import annotations

from kiro_auth.conversation import Conversation
from kiro_auth.surfaces.openai.errors import encode_responses_failure as encode_failure
from kiro_auth.surfaces.openai.responses import LAST_WORDS, stream_encoder
from kiro_auth.surfaces.openai.responses_compacted import CompactedWhole
from kiro_auth.surfaces.openai.responses_request import decode_compaction as decode

__all__ = ["LAST_WORDS", "decode", "encode_failure", "stream_encoder", "whole_encoder"]


def whole_encoder(
    conversation: Conversation, *, reply_id: str, created: int, input_tokens: int
) -> CompactedWhole:
    """A writer for the compacted history; this API says what went in at its end only."""
    del input_tokens
    return CompactedWhole(conversation, reply_id, created)
