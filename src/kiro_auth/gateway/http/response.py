"""An answer as bytes: its head, and how a stream is cut into chunks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from msgspec import Struct

JSON: Final = "application/json"


class Response(Struct, frozen=True):
    """A whole answer.  `kind` is the media type of its body, if it has one; header names are as sent."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = {}
    kind: str = JSON


CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Asks a client for the body that it holds back."""
CHUNK: Final = b"%x\r\n%b\r\n"
"""Of the size of a piece, and the piece."""
LAST_CHUNK: Final = b"0\r\n\r\n"
CHUNKED: Final = "Transfer-Encoding: chunked\r\n"
CLOSES: Final = "Connection: close\r\n"
STAYS: Final = "Connection: keep-alive\r\n"
"""What a client of HTTP/1.0 that asked for it must be told."""
_BODILESS: Final = (204, 304)


def whole(response: Response, more: str = "", *, bodiless: bool = False) -> bytes:
    """All of an answer.  `more` are lines of the head; one to `HEAD` is `bodiless`."""
    body = response.body
    if response.status in _BODILESS:
        return head(response.status, response.headers, more)
    more = f"Content-Type: {response.kind}\r\nContent-Length: {len(body)}\r\n{more}"
    made = head(response.status, response.headers, more)
    return made if bodiless else made + body


def head(status: int, headers: Mapping[str, str], more: str) -> bytes:
    """The head of an answer.  Raises ValueError for a header that holds the end of a line."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise ValueError("a header of an answer holds the end of a line")
    said = f"{_status_line(status)}{lines}{more}{_date(int(time.time()))}"
    return said.encode("utf-8", "surrogateescape")


@lru_cache(maxsize=64)
def _status_line(status: int) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """The last line, with the end of the head."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(second)
    date = f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year} {hour:02}:{minute:02}:{second:02} GMT"
    return f"Date: {date}\r\n\r\n"


# `strftime` speaks the language of the system, and `email.utils` takes long to import.
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
