"""The payloads of the service's events, as far as they are read; unknown fields are passed over.

Every field may be missing or null.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class AnswerText(Struct, frozen=True, gc=False):
    """`assistantResponseEvent`, `codeEvent`."""

    content: str | None = None


class ReasoningContent(Struct, rename="camel", frozen=True, gc=False):
    """`reasoningContentEvent`: text in pieces, then the signature; or a redacted block (base64)."""

    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class ToolUse(Struct, rename="camel", frozen=True, gc=False):
    """`toolUseEvent`: a piece of a call's arguments, or the whole of them; `stop` with the last piece."""

    tool_use_id: str | None = None
    name: str | None = None
    input: Any = None
    stop: bool | None = None


class TokenUsage(Struct, rename="camel", frozen=True, gc=False):
    """What the service counted."""

    uncached_input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    context_usage_percentage: float | None = None


class Metadata(Struct, rename="camel", frozen=True, gc=False):
    """`metadataEvent`."""

    token_usage: TokenUsage | None = None
    stop_reason: str | None = None


class ContextUsage(Struct, rename="camel", frozen=True, gc=False):
    """`contextUsageEvent`: how much of the model's window is taken, 0 to 100."""

    context_usage_percentage: float | None = None


class Metering(Struct, frozen=True, gc=False):
    """`meteringEvent`: credits."""

    usage: float | None = None


class WebLink(Struct, frozen=True, gc=False):
    """One of the `supplementaryWebLinksEvent`."""

    url: str | None = None
    title: str | None = None


class WebLinks(Struct, rename="camel", frozen=True, gc=False):
    """`supplementaryWebLinksEvent`."""

    supplementary_web_links: tuple[WebLink, ...] | None = None


class Span(Struct, frozen=True, gc=False):
    """Characters of the answer."""

    start: int | None = None
    end: int | None = None


class Target(Struct, frozen=True, gc=False):
    """What a citation is for: one place of the answer, or a span."""

    location: int | None = None
    range: Span | None = None


class CitationMark(Struct, rename="camel", frozen=True, gc=False):
    """`citationEvent`."""

    target: Target | None = None
    citation_link: str | None = None
    citation_text: str | None = None


class Web(Struct, frozen=True, gc=False):
    """A page of the web."""

    url: str | None = None


class Source(Struct, frozen=True, gc=False):
    """Where a cited source is; places within documents that the client sent are not read."""

    web: Web | None = None


class DocumentCitation(Struct, frozen=True, gc=False):
    """`documentCitationEvent`."""

    title: str | None = None
    location: Source | None = None
