"""Reasoning as a client of the Responses API keeps it: one opaque text, `encrypted_content`.

Kiro takes reasoning back only whole, its text with its signature.  Clients drop the text of a reasoning item
and keep this field, so both stand in it.  It is not encrypted: the client was sent the text anyway.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.conversation import Reasoning, RedactedReasoning

_MARK: Final = "kiro1."


class _Kept(Struct):
    text: str = ""
    signature: str = ""
    redacted: str = ""


def sealed(text: str, signature: str = "", redacted: str = "") -> str:
    """What the client keeps."""
    kept = msgspec.json.encode(_Kept(text, signature, redacted))
    return _MARK + base64.b64encode(kept).decode()


def opened(content: Any) -> Iterator[Reasoning | RedactedReasoning]:
    """What was kept; nothing for a text that did not come from here, which Kiro would refuse."""
    if not isinstance(content, str) or not content.startswith(_MARK):
        return
    try:
        raw = base64.b64decode(content.removeprefix(_MARK), validate=True)
        kept = msgspec.json.decode(raw, type=_Kept)
    except (binascii.Error, ValueError):
        return
    if kept.redacted:
        yield RedactedReasoning(kept.redacted)
    elif kept.text or kept.signature:
        yield Reasoning(kept.text, kept.signature)
