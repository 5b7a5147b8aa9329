"""The payloads of the service's events, as far as they are read; unknown fields are passed over.

Every field may be missing or null.  Those of the answer itself must have their type, or the reply is broken;
those beside it may hold anything, and are checked where they are used.
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

    uncached_input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_write_input_tokens: Any = None
    context_usage_percentage: Any = None


class Metadata(Struct, rename="camel", frozen=True, gc=False):
    """`metadataEvent`; `token_usage` is to be a `TokenUsage`."""

    token_usage: Any = None
    stop_reason: Any = None


class ContextUsage(Struct, rename="camel", frozen=True, gc=False):
    """`contextUsageEvent`: how much of the model's window is taken, 0 to 100."""

    context_usage_percentage: Any = None


class Metering(Struct, frozen=True, gc=False):
    """`meteringEvent`: credits."""

    usage: Any = None


class WebLinks(Struct, rename="camel", frozen=True, gc=False):
    """`supplementaryWebLinksEvent`: objects with `url` and `title`."""

    supplementary_web_links: Any = None


class CitationMark(Struct, rename="camel", frozen=True, gc=False):
    """`citationEvent`; its `target` is an object with the `location` that is cited, or a `range` of such."""

    target: Any = None
    citation_link: Any = None
    citation_text: Any = None


class DocumentCitation(Struct, frozen=True, gc=False):
    """`documentCitationEvent`; of its `location` the `url` of a page of the `web` is read.

    Places within documents that the client sent are not.
    """

    title: Any = None
    location: Any = None
