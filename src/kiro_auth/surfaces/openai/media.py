"""Pictures and files as OpenAI's APIs carry them: data URLs."""

from __future__ import annotations

import re
from typing import Any, Final

from kiro_auth.conversation import Document, Image, Text
from kiro_auth.surfaces.decoding import host_of, refused

_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w-]+=[^;,]*)*;base64,", re.IGNORECASE)
_FORMATS: Final = {"plain": "txt", "markdown": "md", "vnd.ms-excel": "xls", "msword": "doc"}
_FETCHES_NOTHING: Final = "was left out: this gateway fetches nothing.]"


def image_of(url: str, where: str) -> Image | Text:
    """The picture of a data URL, or a note that the model reads in place of one that is elsewhere."""
    if url[:5].lower() != "data:":
        return Text(f"[The image at {host_of(url)} {_FETCHES_NOTHING}")
    kind, data = _split(url, where)
    return Image(kind.rpartition("/")[2], data)


def file_of(name: Any, data: Any, where: str) -> Document | Text:
    """The file of a data URL or of bare base64, or a note in place of one that is kept elsewhere."""
    name = name if isinstance(name, str) and name else "document"
    if not isinstance(data, str):
        return Text(f"[The file {name} {_FETCHES_NOTHING}")
    suffix = name.rpartition(".")[2].lower() if "." in name else "pdf"
    if data[:5].lower() != "data:":
        return Document(name, suffix, data)
    kind, data = _split(data, f"{where}.file_data")
    word = kind.rpartition("/")[2]
    return Document(name, suffix if "." in name else _FORMATS.get(word, word), data)


def _split(url: str, where: str) -> tuple[str, str]:
    """The media type and the base64 of a data URL."""
    head = _DATA_URL.match(url)
    if head is None:
        raise refused(f"`{where}` must be a base64 data URL that names its media type.")
    return head[1].lower(), url[head.end() :]
