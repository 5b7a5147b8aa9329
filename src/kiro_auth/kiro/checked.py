"""What the services say, checked where it enters: figures, dates and texts that nothing later stumbles over.

The services are known to leave fields out and to send null; proxies, and whoever sits in their place, may
send anything.  A value that cannot be what it stands for counts as absent, like one of another type.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kiro_auth.json_values import as_number

LONGEST_TEXT: Final = 300
"""Characters of a text for people."""
LONGEST_ID: Final = 2048
"""Characters of an id, an ARN or an address."""
LONGEST_TOKEN: Final = 64 * 1024
_LARGEST_FIGURE: Final = 1e12
_LARGEST_COUNT: Final = 1_000_000_000
_LARGEST_PERCENTAGE: Final = 1000.0
_LONGEST_NUMBER: Final = 40
_MILLISECONDS_FROM: Final = 1e11
"""Dates come in seconds or in milliseconds; as seconds this is the year 5138."""
_CENTURY: Final = (946_684_800, 4_102_444_800)
"""Seconds since 1970 at which this century begins and ends."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONGEST_DATE: Final = 40
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_CODE: Final = re.compile(r"[A-Za-z0-9._:#/=+-]{1,128}")
_UNSEEN: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Unicode's categories of characters that control, mark or hide others."""


def text(value: Any, longest: int = LONGEST_TEXT) -> str | None:
    """A text for people, in one line and cut to the `longest`, without characters that do not show."""
    if not isinstance(value, str):
        return None
    shown = "".join(" " if letter in "\n\r\t" else letter for letter in value[: 4 * longest])
    shown = "".join(letter for letter in shown if unicodedata.category(letter) not in _UNSEEN)
    shown = " ".join(shown.split())
    return (shown if len(shown) <= longest else f"{shown[: longest - 1]}…") or None


def identifier(value: Any) -> str | None:
    """An id, exactly as it was said; one with spaces or characters that do not show is none."""
    if not isinstance(value, str) or not value or len(value) > LONGEST_ID:
        return None
    strange = any(letter.isspace() or unicodedata.category(letter) in _UNSEEN for letter in value)
    return None if strange else value


def address(value: Any) -> str | None:
    """A web page's address, which a browser may be told to open."""
    said = identifier(value)
    return said if said and said.startswith(("https://", "http://")) else None


def http_date(value: Any) -> float | None:
    """The epoch seconds of a date as heads of HTTP have it: `Sun, 06 Nov 1994 08:49:37 GMT`."""
    match value.split() if isinstance(value, str) and len(value) < _LONGEST_DATE else ():
        case [_, day, month, year, time, "GMT"] if month in _MONTHS:
            try:
                hours, minutes, seconds = (int(part) for part in time.split(":"))
                clock = hours, minutes, min(seconds, 59)  # a day may have a second more
                date = datetime(int(year), _MONTHS.index(month) + 1, int(day), *clock, tzinfo=UTC)
                return date.timestamp()
            except (ValueError, OverflowError):
                return None
    return None


def code(value: Any) -> str | None:
    """A word for programs, as of an error or a request."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def access_token(value: Any) -> str | None:
    """A token that can be sent in a header."""
    if not isinstance(value, str) or len(value) > LONGEST_TOKEN:
        return None
    bare = value.strip()
    return bare if _TOKEN.fullmatch(bare) else None


def kept_token(value: Any) -> str | None:
    """A token that is only given back to where it came from, in a body: it is nobody's to judge."""
    fits = isinstance(value, str) and 0 < len(value) <= LONGEST_TOKEN
    return value if fits and value.encode(errors="replace").decode() == value else None


def figure(value: Any) -> float | None:
    """A finite number of sensible size."""
    number = as_number(value)
    return number if number is not None and abs(number) <= _LARGEST_FIGURE else None


def amount(value: Any) -> float | None:
    """A figure that is not negative."""
    number = figure(value)
    return number if number is not None and number >= 0 else None


def count(value: Any) -> int | None:
    """A whole number from 1 to a thousand million."""
    number = as_number(value)
    return int(number) if number and number.is_integer() and 0 < number <= _LARGEST_COUNT else None


def position(value: Any) -> int | None:
    """A whole number from 0 to a thousand million, also one written as text."""
    number = _spoken(value)
    return (
        int(number) if number is not None and number.is_integer() and 0 <= number <= _LARGEST_COUNT else None
    )


def percentage(value: Any) -> float | None:
    """A share in per cent, also one written as text; more than ten times the whole is none."""
    number = _spoken(value)
    return number if number is not None and 0 <= number <= _LARGEST_PERCENTAGE else None


def credit(value: Any) -> float | None:
    """An amount, also one written as text."""
    number = _spoken(value)
    return number if number is not None and 0 <= number <= _LARGEST_FIGURE else None


def _spoken(value: Any) -> float | None:
    """A finite number, also one written as text, as AWS writes those that JSON has no form for."""
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        try:
            value = float(value)
        except ValueError:
            return None
    return as_number(value)


def seconds(value: Any, most: float) -> float | None:
    """A span of time, positive and up to `most`, also one written as text."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 < number <= most else None


def moment(value: Any) -> float | None:
    """A date in this century, said in seconds or milliseconds since 1970 or as text of those; in seconds."""
    number = seconds(value, most=_CENTURY[1] * 1000)
    if number is None:
        return None
    number = number / 1000 if number > _MILLISECONDS_FROM else number
    return number if _CENTURY[0] <= number < _CENTURY[1] else None


def milliseconds(value: Any) -> int | None:
    """As `moment`, in milliseconds."""
    when = moment(value)
    return None if when is None else round(when * 1000)


def first(check: Any, fields: Mapping[str, Any], *names: str) -> Any:
    """What this check gives for the first of these fields that passes it."""
    return next((passed for name in names if (passed := check(fields.get(name))) is not None), None)
