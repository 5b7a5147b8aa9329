"""The head of a request, read without I/O: from bytes, however they are cut, to a value.

What is behind the head is not looked at, as nothing of it may be kept before the request is let in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

import httptools
from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.gateway.http.limits import MAX_HEAD, MAX_HEADER, MAX_HEADERS

_NAMES: Final[dict[bytes, str]] = {}
"""Names of headers as clients write them, in lower case: the first that came, as they hardly change."""
_MOST_NAMES: Final = 512
_NO_HEADERS: Final[Mapping[str, Any]] = {}
_LONG: Final = 64
_BLANK: Final = " \t"
_END: Final = b"\r\n\r\n"
_AUTHORITY: Final = r"(?i)https?://[^/?#]*"
_MOST_DIGITS: Final = 18
_REQUEST_LINE: Final = rb"[^\s:]{1,40} +(?:https?://[^/\s]*)?(/[^\s?]{0,100})"
_BEGINNING: Final = 200
_SAFE: Final = r"[A-Za-z0-9 ,.-]{1,80}"


class Unreadable(Exception):
    """What came is no request: of a head `too_large`, or malformed, for a `reason` that quotes none of it."""

    def __init__(self, reason: str = "", *, too_large: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.too_large = too_large


class Head(Struct, frozen=True):
    """A request's head.  `path` is decoded, `query` as it came, `minor` the version behind `HTTP/1.`.

    `headers` are by their names in lower case, of several lines the first; bytes that are no UTF-8 are
    halves of characters in them.  A body has `length` bytes, or comes in chunks, if it is `chunked`.
    `stays` says that the client wants to send another request on the connection.
    """

    method: str
    path: str
    query: str
    minor: int
    headers: Mapping[str, str]
    length: int
    chunked: bool
    stays: bool
    repeated: Mapping[str, Sequence[str]]

    def all(self, name: str) -> Sequence[str]:
        """Every line of a header, in order."""
        first = self.headers.get(name)
        return () if first is None else self.repeated.get(name, (first,))

    def without_headers(self) -> Head:
        """The rest of it."""
        return replace(self, headers=_NO_HEADERS, repeated=_NO_HEADERS)


class HeadReader:
    """Reads one head."""

    __slots__ = (
        "_beginning",
        "_complete",
        "_headers",
        "_lines",
        "_parser",
        "_repeated",
        "_size",
        "_stays",
        "_tail",
        "_target",
    )

    def __init__(self) -> None:
        self._headers: dict[str, str] = {}
        self._repeated: dict[str, list[str]] = {}
        self._lines = 0
        self._target = b""
        self._beginning = b""
        self._size = 0
        self._tail = b""
        self._complete = self._stays = False
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)

    @property
    def path(self) -> str:
        """The path that is asked for, as far as it can be made out of what is no readable head."""
        line = re.match(_REQUEST_LINE, self._beginning)
        return line[1].decode("ascii", "replace") if line else "/"

    def feed(self, data: bytes) -> tuple[Head, int] | None:
        """The head and how many of these bytes are of it, once it is complete.  Raises Unreadable."""
        if len(self._beginning) < _BEGINNING:
            self._beginning += data[:_BEGINNING]
        size = self._behind(data)
        parser = self._parser
        assert parser is not None, "a head is complete once"
        self._size += size or len(data)
        try:
            parser.feed_data(data[:size] if size else data)
        except httptools.HttpParserUpgrade:
            pass  # of the head alone, and nobody here speaks anything else
        except httptools.HttpParserError as error:
            self._parser = None
            raise _unreadable(error) from None
        if self._size > MAX_HEAD:
            raise Unreadable(too_large=True)
        if self._complete != bool(size):
            raise Unreadable("its lines do not end as they should")
        if not size:
            return None
        self._parser = None  # which holds this
        return self._head(parser), size

    def _behind(self, data: bytes) -> int:
        """Where the head ends in these bytes; 0 when it goes on."""
        if self._tail:
            across = (self._tail + data[:3]).find(_END)
            if across >= 0:
                return across + 4 - len(self._tail)
        end = data.find(_END)
        if end >= 0:
            return end + 4
        self._tail = (self._tail + data)[-3:]
        return 0

    def _head(self, parser: httptools.HttpRequestParser) -> Head:
        version, headers = parser.get_http_version(), self._headers
        if version not in ("1.1", "1.0"):
            raise Unreadable("it is of another version of HTTP")
        if "host" in self._repeated or (version == "1.1" and "host" not in headers):
            raise Unreadable("it does not have one Host")
        length, chunked = _body(headers, self._repeated, version)
        path, query = _split(self._target)
        return Head(
            parser.get_method().decode("ascii"),
            path,
            query,
            int(version[-1]),
            headers,
            length,
            chunked,
            self._stays,
            self._repeated,
        )

    # ------------------------------------------------------------------------------- the parser's side

    def on_url(self, part: bytes) -> None:
        """A part of what is asked for."""
        self._target += part
        if len(self._target) > MAX_HEADER:
            raise Unreadable(too_large=True)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line."""
        self._lines += 1
        if len(value) > MAX_HEADER or self._lines > MAX_HEADERS:
            raise Unreadable(too_large=True)
        key, headers = _NAMES.get(name) or _name(name), self._headers
        text = value.decode("utf-8", "surrogateescape").strip(_BLANK)
        if key in headers:
            self._repeated.setdefault(key, [headers[key]]).append(text)
        else:
            headers[key] = text

    def on_headers_complete(self) -> None:
        """The last line came."""
        self._complete = True
        if self._parser is not None:
            self._stays = self._parser.should_keep_alive()  # what it knows of this head it forgets behind it


def _name(name: bytes) -> str:
    key = name.decode("latin-1").lower()
    if len(_NAMES) < _MOST_NAMES and len(name) < _LONG:
        _NAMES[name] = key
    return key


def _unreadable(error: Exception) -> Unreadable:
    if isinstance(error.__context__, Unreadable):
        return error.__context__
    said = str(error)
    return Unreadable(said if re.fullmatch(_SAFE, said) else "")


def _split(target: bytes) -> tuple[str, str]:
    """Path and query of what is asked for: proxies and some clients send the whole address."""
    text = target.decode("latin-1").partition("#")[0]
    if not text.startswith("/"):
        text = re.sub(_AUTHORITY, "", text, count=1)
    path, _, query = text.partition("?")
    return (unquote(path) if "%" in path else path) or "/", query


def _body(headers: Mapping[str, str], repeated: Mapping[str, object], version: str) -> tuple[int, bool]:
    """How long the body is, and whether it comes in chunks; whatever leaves a doubt of that is refused."""
    length, transfer = headers.get("content-length"), headers.get("transfer-encoding")
    if transfer is not None:
        sound = transfer.lower() == "chunked" and version == "1.1" and "transfer-encoding" not in repeated
        if not sound or length is not None:
            raise Unreadable("it leaves open where the body ends")
        return 0, True
    if length is None:
        return 0, False
    digits = length.isascii() and length.isdigit() and len(length) <= _MOST_DIGITS
    if "content-length" in repeated or not digits:
        raise Unreadable("the length of the body is none")
    return int(length), False
