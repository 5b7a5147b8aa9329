"""OpenAI Chat Completions: `POST /v1/chat/completions`, as OpenAI-compatible clients speak it."""

from __future__ import annotations

from kiro_auth.surfaces.openai.chat_reply import LAST_WORDS, stream_encoder, whole_encoder
from kiro_auth.surfaces.openai.chat_request import decode
from kiro_auth.surfaces.openai.errors import encode_chat_failure as encode_failure

__all__ = ["LAST_WORDS", "decode", "encode_failure", "stream_encoder", "whole_encoder"]
