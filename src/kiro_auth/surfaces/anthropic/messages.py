"""Anthropic Messages: `POST /v1/messages`, as OpenCode, Claude Code and the SDKs speak it."""

from __future__ import annotations

from kiro_auth.surfaces.anthropic.errors import encode_failure
from kiro_auth.surfaces.anthropic.reply import LAST_WORDS, stream_encoder, whole_encoder
from kiro_auth.surfaces.anthropic.request import decode, decode_count, encode_count

__all__ = [
    "LAST_WORDS",
    "decode",
    "decode_count",
    "encode_count",
    "encode_failure",
    "stream_encoder",
    "whole_encoder",
]
