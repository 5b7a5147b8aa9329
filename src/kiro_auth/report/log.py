"""The end of the gateway's log in a report: figures, codes and the program's own texts.

Nothing is cut out of what stands there; only what is known to be harmless is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kiro_auth.gateway.log_lines import Record
from kiro_auth.gateway.turn_lines import CLIENT_NAMES, EVENT
from kiro_auth.report.redaction import HIDDEN, Redaction, codes_in, formed, model, settings, word

_COUNTS: Final = ("messages", "tools", "images", "documents", "size", "input", "output", "searches")
_EVENTS: Final = (
    *("started", "takeover", "stopping", "ended", "failed", "option"),
    *("account", "renewal", "signed in", "address"),
)
_FRAME: Final = re.compile(r"kiro_auth[\\/][\w\\/]+\.py\", line \d+, in \w+")
_RAISED: Final = re.compile(
    r"^(?:[A-Za-z_][\w.]*\.)?([A-Z]\w*(?:Error|Exception|Failed|Interrupt|Exit))\b", re.MULTILINE
)


def failures(records: Sequence[Record], hide: Redaction, count: int) -> Iterator[str]:
    """The last turns that failed, oldest first: what was asked for, by its shape, and what was met."""
    failed = [r for r in records if r.get("event") == EVENT and r.get("failure")]
    for record in failed[-count:]:
        yield _turn(record, hide)


def lines(records: Sequence[Record], hide: Redaction) -> Iterator[str]:
    """Each record on a line."""
    for record in records:
        if "time" not in record:
            yield _text(str(record["message"]))
        elif record.get("event") == EVENT:
            yield _turn(record, hide)
        else:
            yield _other(record, hide)
        if isinstance(record.get("traceback"), str):
            yield f"  {_trace(record['traceback'])}"


def _turn(record: Record, hide: Redaction) -> str:
    client = record.get("client")
    told = {
        "client": (client if client in CLIENT_NAMES else "another program") if client else None,
        "api": _api(record.get("api")),
        "model": _kept(record, "model", model),
        "served": _kept(record, "served", model),
        "instead of": _kept(record, "insteadOf", model),
        "account": hide.account(record["account"]) if record.get("account") else None,
        "stream": record["stream"] if isinstance(record.get("stream"), bool) else None,
        **{name: record[name] for name in _COUNTS if _is_number(record.get(name))},
        "mended": len(record["mended"]) if isinstance(record.get("mended"), list) else None,
        "before": " ".join(codes_in(str(record.get("before") or ""))) or None,
        "failure": _kept(record, "failure", lambda code: formed(code, "code")),
        "reason": _kept(record, "reason", lambda reason: formed(reason, "constant")),
        "request": _kept(record, "request", lambda number: formed(number, "id")),
        "first word": _seconds(record.get("firstWord")),
        "seconds": _seconds(record.get("seconds")),
    }
    return f"{_moment(record)} turn: " + _listed(told)


def _other(record: Record, hide: Redaction) -> str:
    told = {
        "version": _kept(record, "version", lambda version: formed(version, "version")),
        "why": _kept(record, "why", word),
        "of": hide.account(record["account"]) if record.get("account") else None,
        "state": _kept(record, "state", word),
        "until": _kept(record, "until", lambda until: formed(until, "moment")),
        "options": settings(record["options"]) if "options" in record else None,
        "codes": " ".join(codes_in(str(record["message"]))) or None,
    }
    level = word(record.get("level"))
    event = record.get("event")
    # Else the program's own text: what was put into it is left out.
    text = event if event in _EVENTS else hide(str(record.get("template", HIDDEN)))
    return f"{_moment(record)} {level} {text}: {_listed(told)}".rstrip(": ")


def _text(line: str) -> str:
    """What a gateway said while it started: only the codes and the places in the program are taken."""
    known = [*codes_in(line), *_FRAME.findall(line), *_RAISED.findall(line)]
    return f"text: {', '.join(known) or HIDDEN}"


def _trace(trace: str) -> str:
    return " | ".join([*_FRAME.findall(trace), *_RAISED.findall(trace)]) or HIDDEN


def _kept(record: Record, name: str, shown: Any) -> str | None:
    value = record.get(name)
    return None if value is None else str(shown(value))


def _api(path: object) -> str | None:
    return path if isinstance(path, str) and re.fullmatch(r"/v1(/[a-z_]{1,20}){1,2}", path) else None


def _moment(record: Record) -> str:
    return formed(record.get("time"), "moment")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(value: object) -> str | None:
    return f"{value:.1f}" if isinstance(value, int | float) else None


def _listed(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
