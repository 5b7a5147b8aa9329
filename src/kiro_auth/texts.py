"""Words of others, made fit to be shown: nothing in them steers a terminal, and no secret stands in them.

What services, files and programs say is data: an error's text may quote the token that was sent, and hold
escape sequences.  Every failure, every line of the log and everything a command prints goes through here.

Which secrets there are is the one thing that is known to the whole process: whoever reads one says so, and
whoever shows a text needs to know of none.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from functools import cache
from itertools import takewhile
from typing import Final

HIDDEN: Final = "…"
LONGEST: Final = 4000
"""Characters of a failure's texts."""

_UNSEEN: Final = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Characters that control a terminal, reorder what is read, break lines or hide; tab and line feed do not."""
_LEAST: Final = 12
"""Characters of a secret, which has no white space: a shorter one would be found in ordinary words."""
_LEAST_CUT: Final = 20
"""Characters of a secret's beginning that tell nobody much: texts are cut before secrets are looked for."""
_WORD: Final = re.compile(rf"\S{{{_LEAST},}}")
_MOST: Final = 100_000
_secrets: dict[str, list[str]] = {}  # in order, by how they begin: tokens of one service may all begin alike
_order: dict[str, None] = {}  # oldest first


def clean(text: str) -> str:
    """The text without characters that do not show; its lines stay."""
    return text if text.isprintable() else _unseen().sub("", text.expandtabs(1))


@cache
def _unseen() -> re.Pattern[str]:
    """Compiled for the first text that needs it, as that takes longer than all else here."""
    return re.compile(_UNSEEN)


def in_one_line(text: str) -> str:
    """The text in one line, of characters that show."""
    if text.isprintable():
        return text
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def bounded(text: str, most: int) -> str:
    """The text, of at most so many characters, with a sign of what is left out."""
    return text if len(text) <= most else f"{text[: most - 1]}{HIDDEN}"


def escaped(json: str) -> str:
    """JSON text that means the same, in which such characters are escapes."""
    if json.isascii() and json.isprintable():
        return json
    return _unseen().sub(lambda found: "".join(f"\\u{unit:04x}" for unit in _units(found[0])), json)


def _units(character: str) -> tuple[int, ...]:
    raw = character.encode("utf-16-be", "surrogatepass")
    return tuple(int.from_bytes(raw[at : at + 2]) for at in range(0, len(raw), 2))


def learn(*secrets: str | None) -> None:
    """From now on these stand in no text that is hidden from."""
    for secret in secrets:
        if secret is None or len(secret) < _LEAST or secret in _order:
            continue
        _learn(secret)
        if '"' in secret or "\\" in secret:
            _learn(secret.replace("\\", "\\\\").replace('"', '\\"'))  # as JSON has it, the log's lines too


def _learn(secret: str) -> None:
    if secret in _order:
        return
    _order[secret] = None
    insort(_secrets.setdefault(secret[:_LEAST], []), secret)
    if len(_order) > _MOST:
        oldest = next(iter(_order))
        alike = _secrets[oldest[:_LEAST]]
        del _order[oldest], alike[bisect_left(alike, oldest)]
        if not alike:
            del _secrets[oldest[:_LEAST]]


def without_secrets(text: str) -> str:
    """The text with `…` for each secret that is known, and for each beginning of one that was cut."""
    # Each line of the log comes here: most have no beginning of a secret, of which there are few.
    if len(_secrets) < len(text):
        for begin in _secrets:
            if begin in text:
                break
        else:
            return text
    return _WORD.sub(_hidden, text)


def _hidden(word: re.Match[str]) -> str:
    text = word[0]
    parts: list[str] = []
    begun = at = 0
    while at <= len(text) - _LEAST:
        alike = _secrets.get(text[at : at + _LEAST])
        size = _size_of_one(text[at:], alike) if alike else 0
        if size:
            parts += [text[begun:at], HIDDEN]
            begun = at = at + size
        else:
            at += 1
    return text if not parts else "".join([*parts, text[begun:]])


def _size_of_one(text: str, alike: list[str]) -> int:
    """How many characters of a secret the text begins with; 0 for few of a longer one.

    In order, the secret that has most in common with the text stands beside it.
    """
    place = bisect_left(alike, text)
    beside = alike[max(place - 1, 0) : place + 1]
    most = max(_common(text, secret) for secret in beside)
    if most >= _LEAST_CUT:
        return most
    return next((size for size in range(most, _LEAST - 1, -1) if _has(alike, text[:size])), 0)


def _common(one: str, other: str) -> int:
    """With how many of the same characters they begin."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _has(alike: list[str], secret: str) -> bool:
    place = bisect_left(alike, secret)
    return place < len(alike) and alike[place] == secret


def without_passwords(text: str) -> str:
    """The text with `…` in place of the user and password of each address in it."""
    text = re.sub(r"(postgres(?:ql)?:/)/\S*@", rf"\1/{HIDDEN}@", text)  # their passwords hold anything
    text = re.sub(r"//[^/?#\s]*@", f"//{HIDDEN}@", text)
    return re.sub(r"(password=)[^&\s\"]*", rf"\1{HIDDEN}", text)


def shown(text: str) -> str:
    """Words of others as they may be shown: clean, bounded, without secrets."""
    return bounded(without_secrets(clean(text[: 2 * LONGEST])), LONGEST)
