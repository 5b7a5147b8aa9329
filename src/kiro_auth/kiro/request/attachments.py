"""The pictures and files of one request, as the service takes them: formats, names, limits.

The service refuses a whole request for one picture that it does not take, so each is looked at before.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any, Final

from kiro_auth.conversation import Document, Image, Message, ToolResult
from kiro_auth.kiro.request.repair import Repair
from kiro_auth.kiro.request.replays import Part

MAX_IMAGES: Final = 10
MAX_IMAGE_BYTES: Final = 10_000_000
"""Of one message, and of one image: the model in the official streaming client 1.0.45.  The official CLI (its
source of April 2026) sends no more than 10 in a request."""

_MAGIC: Final = (
    ("png", b"\x89PNG\r\n\x1a\n"),
    ("jpeg", b"\xff\xd8\xff"),
    ("gif", b"GIF8"),
    ("webp", b"RIFF"),
)
"""How pictures begin, in the four formats of the same model; its reason IMAGE_MIME_MISMATCH is for one whose
bytes and format differ."""
_DOCUMENT_FORMATS: Final = frozenset({"csv", "doc", "docx", "html", "md", "pdf", "txt", "xls", "xlsx"})
"""The formats of the same model.  It has no limits for documents, so none is kept here."""
_DOCUMENT_SYNONYMS: Final = {"plain": "txt", "text": "txt", "markdown": "md", "htm": "html"}
_TOKENS_OF_AN_IMAGE: Final = 1500
_CHARACTERS_OF_A_TOKEN: Final = 24
"""Estimates of ours, which nothing of the service confirms; the second is for a document's base64, as most of
a file is not its text."""


class _NotTaken(Exception):
    """The service would refuse it; the text says why."""


class Attachments:
    """Turns blocks into the service's entries, in the order of the request, but for `without`, the kinds that
    it refused.

    `characters` counts their base64; `tokens` is an estimate of what the model reads of them; `held` are the
    kinds that were taken.  `on_repair` hears of each that was not.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        inputs: Collection[str],
        without: Collection[Part],
        on_repair: Callable[[Repair], None],
    ) -> None:
        self._on_repair = on_repair
        self.characters = 0
        self.tokens = 0
        self.held: set[Part] = set()
        self._inputs = inputs
        self._without = without
        self._messages = messages
        self._names: dict[str, int] = {}  # those that are given, and the last number behind each

    @cached_property
    def _images_to_skip(self) -> int:
        return _images_in(self._messages) - MAX_IMAGES

    def attach(self, block: Image | Document, media: dict[str, list[dict[str, Any]]]) -> str | None:
        """Add a picture or file to the `media` of a turn; where that cannot be, the note to leave instead."""
        try:
            if isinstance(block, Image):
                kind, attached = "images", self._image(block)
            else:
                kind, attached = "documents", self._document(block)
            media.setdefault(kind, []).append(attached)
        except _NotTaken as why:
            kind, name = ("image", block.format) if isinstance(block, Image) else ("document", block.name)
            self._on_repair(Repair(f"an attached {kind} was left out", "messages", str(why)))
            return f"[An attached {kind} ({name}) was left out: {why}.]"
        return None

    def _image(self, image: Image) -> dict[str, Any]:
        """The entry of a picture."""
        if "images" in self._without:
            raise _NotTaken("Kiro refused the images of this conversation")
        if self._images_to_skip > 0:
            self._images_to_skip -= 1
            raise _NotTaken(f"only the last {MAX_IMAGES} images are sent")
        size = self._size(image.data, "image")
        format_ = _format(image.data)
        if format_ is None:
            raise _NotTaken("the format is not supported")
        if size > MAX_IMAGE_BYTES:
            raise _NotTaken(f"it has more than {MAX_IMAGE_BYTES // 1_000_000} MB")
        self._count("images", image.data, _TOKENS_OF_AN_IMAGE)
        return {"format": format_, "source": {"bytes": image.data}}

    def _document(self, document: Document) -> dict[str, Any]:
        """The entry of a file."""
        if "documents" in self._without:
            raise _NotTaken("Kiro refused the documents of this conversation")
        self._size(document.data, "document")
        format_ = _DOCUMENT_SYNONYMS.get(document.format.lower(), document.format.lower())
        if format_ not in _DOCUMENT_FORMATS:
            raise _NotTaken(f"the format {document.format} is not supported")
        self._count("documents", document.data, len(document.data) // _CHARACTERS_OF_A_TOKEN)
        return {"name": self._name(document.name), "format": format_, "source": {"bytes": document.data}}

    def _size(self, data: str, kind: str) -> int:
        """The bytes that the data stands for."""
        if not data:
            raise _NotTaken("it is empty")
        if kind not in self._inputs:
            raise _NotTaken("the model takes none")
        try:
            return len(binascii.a2b_base64(data, strict_mode=True))
        except ValueError as error:
            raise _NotTaken("its data is not base64") from error

    def _name(self, name: str) -> str:
        """A name of the characters that Bedrock allows in names of documents, unlike all others of the
        request: DOCUMENT_DUPLICATE_NAME is a reason in the model of the official streaming client 1.0.45.
        """
        stem = re.sub(r"[^a-zA-Z0-9\-()\[\]]+", " ", name.rpartition(".")[0] or name)
        stem = stem.strip()[:100].strip() or "document"
        unique = stem
        while unique in self._names:
            self._names[stem] += 1
            unique = f"{stem} ({self._names[stem]})"
        self._names[unique] = 1
        return unique

    def _count(self, kind: Part, data: str, tokens: int) -> None:
        self.held.add(kind)
        self.characters += len(data)
        self.tokens += tokens


def _images_in(messages: Sequence[Message]) -> int:
    count = 0
    for message in messages:
        for block in message.content:
            if isinstance(block, ToolResult):
                count += [*map(type, block.content)].count(Image)
            elif isinstance(block, Image):
                count += 1
    return count


def _format(data: str) -> str | None:
    """What the first bytes tell, whatever the client called it."""
    start = binascii.a2b_base64(data[:16])
    format_ = next((name for name, magic in _MAGIC if start.startswith(magic)), None)
    return None if format_ == "webp" and start[8:] != b"WEBP" else format_
