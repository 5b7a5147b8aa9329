"""Compaction as OpenAI's servers do it for Codex: a long history becomes one item that only they can read.

Codex asks for it with an item `compaction_trigger` at the end of `input` (0.169 and later), or at an address
of its own, `/v1/responses/compact` (older ones); it fails its turn when anything but one `compaction` item
comes back (codex-rs/core/src/compact_remote_v2.rs, 009bd870).  Here the model is asked for a summary.  It
stands in the item's `encrypted_content`, which is not encrypted, and is read back as text.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.conversation import Message, Text

TRIGGER: Final = "compaction_trigger"
_ITEMS: Final = ("compaction", "compaction_summary", "context_compaction")
"""The types under which versions of Codex keep such an item."""
_MARK: Final = "kiro1."

_REQUEST: Final = (
    "The conversation has become too long to be sent again, and your summary takes its place. Write it for "
    "yourself, as whoever goes on with the work will know nothing else: what the user wants, in their own "
    "words where they matter; what was decided, and why; what was done, with the files, commands and names "
    "that are needed again; what was found out; what is left to do, and the next step. Use no tools, and "
    "write nothing but the summary."
)
_INTRODUCTION: Final = (
    "The conversation so far was too long to be kept. You wrote this summary of it; go on from there."
)


class _Kept(Struct):
    summary: str


def wants_compaction(given: str | Sequence[Any]) -> bool:
    """Whether the items of a request ask for a compaction."""
    items = () if isinstance(given, str) else given
    return any(isinstance(item, dict) and item.get("type") == TRIGGER for item in items)


def with_request(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The history and, at its end, what asks the model for the summary."""
    return (*messages, Message("user", (Text(_REQUEST),)))


def sealed_summary(summary: str) -> str:
    """What the client keeps."""
    return _MARK + base64.b64encode(msgspec.json.encode(_Kept(summary))).decode()


def summary_of(item: Mapping[str, Any]) -> Text | None:
    """What the model reads in place of the history; None for an item that did not come from here."""
    content = item.get("encrypted_content")
    if item.get("type") not in _ITEMS or not isinstance(content, str) or not content.startswith(_MARK):
        return None
    try:
        raw = base64.b64decode(content.removeprefix(_MARK), validate=True)
        kept = msgspec.json.decode(raw, type=_Kept)
    except (binascii.Error, ValueError):
        return None
    return Text(f"{_INTRODUCTION}\n\n{kept.summary}")
