"""OpenAI Responses: `POST /v1/responses`, as Codex, the AI SDK and OpenAI's SDKs speak it."""

from __future__ import annotations

from kiro_auth.surfaces.openai.errors import encode_responses_failure as encode_failure
from kiro_auth.surfaces.openai.responses_reply import stream_encoder, whole_encoder
from kiro_auth.surfaces.openai.responses_request import decode

__all__ = ["decode", "encode_failure", "stream_encoder", "whole_encoder"]
