"""What the service's refusals mean: its reason first, then its words and the name, the status last.

The same failure arrives in several dresses: as an HTTP error with a modelled or a generic status, as an
exception inside a stream, from a load balancer as HTML.  The table of `refusals` is searched from the top.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from kiro_auth.failures import CATALOGUE, REVIEW_ADDRESS, SAID, Failure
from kiro_auth.json_values import as_number, as_object, as_text, first_text, object_in
from kiro_auth.kiro import checked
from kiro_auth.kiro.refusals import LOCKED, TABLE, UNKNOWN, Meaning


class _Said(Struct, frozen=True):
    """A refusal in the service's words; `kind` is the exception's bare name in lower case."""

    kind: str
    reason: str
    text: str
    status: int | None
    wait: float | None


_BY_REASON: Final = {reason: row for row in TABLE for reason in row.reasons}
_BY_STATUS: Final = {status: row for row in TABLE for status in row.statuses}


def classify(*, status: int | None, headers: Mapping[str, str], body: bytes) -> Failure:
    """What an HTTP refusal means.  Header names are lower-case; `status` None: only the words count."""
    fields = object_in(body) or {}
    request_id = checked.code(headers.get("x-amzn-requestid") or headers.get("x-amz-request-id"))
    said = _Said(
        kind=_bare(headers.get("x-amzn-errortype") or first_text(fields, "__type", "code") or ""),
        reason=_reason(fields),
        text=_message(fields),
        status=status,
        wait=_wait(fields, headers.get("retry-after"), headers.get("date")),
    )
    if status in (401, 403) and body.lstrip()[:1] == b"<":
        return _failure(_IN_BETWEEN, said, request_id)
    return _failure(_row(said), said, request_id)


def classify_exception(name: str, payload: bytes) -> Failure:
    """What an exception inside a stream means; `name` is its `:exception-type` or `:error-code`."""
    fields = object_in(payload) or {}
    said = _Said(
        kind=_bare(name),
        reason=_reason(fields),
        text=_message(fields),
        status=None,
        wait=_wait(fields, None, None),
    )
    return _failure(_row(said), said, None)


_IN_BETWEEN: Final = Meaning(
    "KA-SERVICE",
    message="A proxy or firewall between here and Kiro refused the request with a page of its own.",
)


def _row(said: _Said) -> Meaning:
    if LOCKED.speaks(said.kind, said.text):  # a lock is a lock, whatever reason stands beside it
        return LOCKED
    if said.reason in _BY_REASON:
        return _BY_REASON[said.reason]
    spoken = next((row for row in TABLE if row.speaks(said.kind, said.text)), None)
    return spoken or _BY_STATUS.get(said.status or 0, UNKNOWN)


def _failure(row: Meaning, said: _Said, request_id: str | None) -> Failure:
    entry = CATALOGUE[row.code]
    sentence = row.message or entry.title
    if row.quote and (quoted := _quoted(said.text)):
        sentence = f"{sentence}{SAID}{quoted}"
    return Failure(
        code=row.code,
        message=sentence,
        next_step=_review(said.text) if row is LOCKED else entry.remedy,
        period=row.period,
        retry_after=said.wait,
        reason=said.reason if said.reason in _BY_REASON else re.sub(_PRIVATE, "…", said.reason) or None,
        request_id=request_id,
    )


# ----------------------------------------------------------------------------------- the words read

_FORM: Final = r"https://(?:[\w-]+\.)*(?:amazon\.com|kiro\.dev|aws)(?:/[^\s\"'<>)]{0,200})?(?![\w.-])"
"""The address of a form at AWS or Kiro, and of nobody else: a proxy may have written the sentence."""


def _review(text: str) -> str:
    """What to do about a lock, with the address that the service names for it."""
    remedy, named = CATALOGUE[LOCKED.code].remedy, re.search(_FORM, text)
    return remedy.replace(REVIEW_ADDRESS, named.group().rstrip(".,;:")) if named else remedy


_READ: Final = 4000  # characters of the service's sentence in which secrets are looked for
_PRIVATE: Final = r"\S{1,64}@\S{1,255}|arn:[^\s,;\"')]+|\bksk_\w+|[\w+/=~.-]{40,}"


def _quoted(text: str) -> str:
    """The service's sentence, ended as one since more follows, without what may be an e-mail, a resource name
    or a token; empty where nothing was said.
    """
    seen = checked.text(text, _READ) or ""
    words = checked.text(re.sub(_PRIVATE, "…", seen)) or ""
    ended = words.rstrip("\"')]").endswith((".", "!", "?", "…"))
    return words if ended or not words else f"{words}."


def _message(fields: Mapping[str, Any]) -> str:
    plain = first_text(fields, "message", "Message", "error_description")
    return plain or as_text(as_object(fields.get("error")).get("message")) or ""


def _reason(fields: Mapping[str, Any]) -> str:
    inner = as_object(fields.get("error"))
    return checked.text(fields.get("reason")) or checked.text(inner.get("reason")) or ""


def _bare(name: str) -> str:
    """`com.amazon#ThrottlingException:http://…` is `throttlingexception`."""
    return name.strip().partition(":")[0].rpartition("#")[2].lower()


def _wait(fields: Mapping[str, Any], header: str | None, date: str | None) -> float | None:
    """Seconds to wait, as the body or the header says; nothing for zero and less."""
    milliseconds = as_number(fields.get("retryAfterMilliseconds"))
    if milliseconds is not None and 0 < milliseconds < _LONGEST_WAIT * 1000:
        return milliseconds / 1000
    seconds = _seconds(header, date) if header else 0.0
    return seconds if 0 < seconds < _LONGEST_WAIT else None


_LONGEST_WAIT: Final = 1e9  # seconds; beyond it stands no time that anybody meant


def _seconds(header: str, date: str | None) -> float:
    """`Retry-After` as seconds or as a date by the service's own clock; 0 for what cannot be read."""
    try:
        return float(header)
    except ValueError:
        pass
    until, now = checked.http_date(header), checked.http_date(date)
    return 0.0 if until is None or now is None else until - now
