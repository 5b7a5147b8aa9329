"""Pictures and files, as the three APIs carry them: data URLs, base64 beside a media type, addresses, ids.

Nothing is fetched, and nothing is refused: in place of what cannot be had the model reads a note.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from kiro_auth.conversation import Document, Image, Text

_DATA_URL: Final = r"(?i)data:([\w.+-]+/[\w.+-]+)(?:;[\w-]+=[^;,]*)*;base64,"
_FORMATS: Final = {"plain": "txt", "markdown": "md", "vnd.ms-excel": "xls", "msword": "doc"}
_FETCHES_NOTHING: Final = "this gateway fetches nothing"
_NO_DATA_URL: Final = "it is no base64 data URL that names its media type"
_UNREADABLE: Final = "its data cannot be read"


def image_of(url: Any) -> Image | Text:
    """The picture of a data URL."""
    if not isinstance(url, str):
        return left_out("image", f"it is kept elsewhere, and {_FETCHES_NOTHING}")
    if url[:5].lower() != "data:":
        return left_out(f"image at {_host_of(url)}", _FETCHES_NOTHING)
    head = re.match(_DATA_URL, url)
    return Image(_word(head[1]), url[head.end() :]) if head else left_out("image", _NO_DATA_URL)


def file_of(name: Any, data: Any) -> Document | Text:
    """The file of a data URL or of bare base64."""
    name = name if isinstance(name, str) and name else "document"
    if not isinstance(data, str):
        return left_out(f"file {name}", _FETCHES_NOTHING)
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    if data[:5].lower() != "data:":
        return Document(name, suffix or "pdf", data)
    head = re.match(_DATA_URL, data)
    if head is None:
        return left_out(f"file {name}", _NO_DATA_URL)
    return Document(name, suffix or _format(head[1]), data[head.end() :])


def from_source(kind: str, name: str, source: Mapping[str, Any]) -> Image | Document | Text:
    """The picture or file, by its `kind`, of one of Anthropic's sources."""
    match source:
        case {"type": "base64", "media_type": str(media_type), "data": str(data)} if kind == "image":
            return Image(_word(media_type), data)
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            return Document(name, _format(media_type), data)
        case {"type": "text", "data": str(data)}:
            return Document(name, "txt", base64.b64encode(data.encode()).decode())
        case {"type": "url", "url": str(url)}:
            return left_out(f"{kind} at {_host_of(url)}", _FETCHES_NOTHING)
        case {"type": "file"}:
            return left_out(kind, f"it is kept elsewhere, and {_FETCHES_NOTHING}")
    return left_out(kind, _UNREADABLE)


def left_out(what: str, why: str) -> Text:
    """What the model reads in place of something that it does not get."""
    return Text(f"[The {what} was left out: {why}.]")


def _format(media_type: str) -> str:
    return _FORMATS.get(_word(media_type), _word(media_type))


def _word(media_type: str) -> str:
    return media_type.lower().rpartition("/")[2]


def _host_of(url: str) -> str:
    """Where an address leads, without names, keys and paths that it may hold."""
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    return authority.rpartition("@")[2] or "an address"
