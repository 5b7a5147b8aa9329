"""Filters over text that comes in pieces: reasoning in tags, and stop sequences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kiro_auth.kiro.models import HIDDEN_TEXT

_OPEN: Final = "<thinking>"
_CLOSE: Final = "</thinking>"


class TagFilter:
    """Tells reasoning from answer where a model was asked to think in tags.

    Only a tag at the very start of the answer counts: a `<thinking>` anywhere else is the answer's own text.
    Gives pairs of (is reasoning, text).
    """

    def __init__(self) -> None:
        self._state = "start"
        self._held = ""

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """What is certain after this piece."""
        if self._state == "answer":
            yield False, text
            return
        self._held += text
        if self._state == "start":
            begun = self._held.lstrip()
            if begun.startswith(_OPEN):
                self._state, self._held = "reasoning", begun[len(_OPEN) :]
            elif not _OPEN.startswith(begun):
                yield from self._answer(self._held)
                return
            else:
                return
        if self._state == "reasoning":
            yield from self._reasoning()
        elif self._state == "after" and (rest := self._held.lstrip("\n")):
            yield from self._answer(rest)

    def close(self) -> Iterator[tuple[bool, str]]:
        """What was still held back."""
        held, self._held = self._held, ""
        if held and self._state != "after":
            yield self._state == "reasoning", held
        self._state = "answer"

    def _reasoning(self) -> Iterator[tuple[bool, str]]:
        inside, closed, rest = self._held.partition(_CLOSE)
        if not closed:
            keep = _overlap(self._held, _CLOSE)
            certain = self._held[: len(self._held) - keep]
            self._held = self._held[len(certain) :]
            if certain:
                yield True, certain
            return
        if inside:
            yield True, inside
        self._state, self._held = "after", rest
        if rest := rest.lstrip("\n"):
            yield from self._answer(rest)

    def _answer(self, text: str) -> Iterator[tuple[bool, str]]:
        self._state, self._held = "answer", ""
        yield False, text


class HiddenFilter:
    """Holds back what stands for reasoning that is hidden (`...`), which is no thought to show."""

    def __init__(self) -> None:
        self._held: str | None = ""  # None: this piece of reasoning has words

    def feed(self, text: str) -> str:
        """The text that may be said now."""
        if self._held is None:
            return text
        text, self._held = self._held + text, None
        if HIDDEN_TEXT.startswith(text.strip()):
            text, self._held = "", text
        return text

    def close(self) -> str:
        """What was still held back at the end of the piece, unless it only stood for something hidden."""
        held = self._held or ""
        return "" if held.strip() == HIDDEN_TEXT else held


class StopFilter:
    """Ends text at the stop sequence that is complete first; holds back only what may be the start of one."""

    def __init__(self, sequences: tuple[str, ...]) -> None:
        self._sequences = tuple(sequence for sequence in sequences if sequence)
        self._held = ""

    def feed(self, text: str) -> tuple[str, str | None]:
        """The text that may be said now, and the sequence that ended it, if one did."""
        text = self._held + text
        matches = [(at + len(s), at, s) for s in self._sequences if (at := text.find(s)) >= 0]
        if matches:
            _, at, sequence = min(matches)
            self._held = ""
            return text[:at], sequence
        keep = max((_overlap(text, sequence) for sequence in self._sequences), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], None

    def close(self) -> str:
        """What was still held back."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, sequence: str) -> int:
    """How many characters at the end of `text` may be the beginning of `sequence`."""
    for size in range(min(len(text), len(sequence) - 1), 0, -1):
        if text.endswith(sequence[:size]):
            return size
    return 0
