"""Filters over text that comes in pieces: reasoning in tags, what surrounds JSON, and stop sequences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kiro_auth.kiro.models import HIDDEN_TEXT

_OPEN: Final = "<thinking>"
_CLOSE: Final = "</thinking>"
_FENCE: Final = "```"
_LONGEST_SPACE: Final = 200
"""Characters of white space that are held back where a fence or a tag may follow."""
_FENCE_BEFORE_JSON: Final = r"(?i)\s*```(?:json)?\s*(?=[{\[])"
_MAY_BEGIN_SO: Final = r"(?i)\s*(?:`{0,2}|```(?:j|js|jso|json)?\s*)"
_FENCE_AFTER_JSON: Final = r"\n```[ \t]*\n\s*(?=\S)"


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
            elif not _OPEN.startswith(begun) or len(self._held) > _LONGEST_SPACE:
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


class FenceFilter:
    """Takes the code fence off an answer that is JSON: its first line, and its last.

    Only a fence at the very start counts, and only with an object or a list in it.  JSON has no line that
    begins with a fence, so the next one that does is its end; so is one that ends the answer.
    """

    def __init__(self) -> None:
        self._state = "start"
        self._held = ""

    def feed(self, text: str) -> str:
        """What is certain after this piece."""
        if self._state == "answer":
            return text
        self._held += text
        if self._state == "start":
            if fence := re.match(_FENCE_BEFORE_JSON, self._held):
                self._state, self._held = "fenced", self._held[fence.end() :]
            elif len(self._held) < _LONGEST_SPACE and re.fullmatch(_MAY_BEGIN_SO, self._held):
                return ""
            else:
                return self._release("answer")
        if end := re.search(_FENCE_AFTER_JSON, self._held):
            self._held = f"{self._held[: end.start()].rstrip()}\n{self._held[end.end() :]}"
            return self._release("answer")
        return self._certain()

    def close(self) -> str:
        """What was still held back; the next text is another answer."""
        if self._state == "fenced":
            self._held = self._held.rstrip().removesuffix(_FENCE).rstrip()
        return self._release("start")

    def _certain(self) -> str:
        """All but what may be the end of the fence, and the white space around it."""
        text = self._held.rstrip()
        if text.endswith(_FENCE):
            text = text.removesuffix(_FENCE)
        elif text == self._held:
            text = text.rstrip(_FENCE)  # one or two of its characters
        end = len(text.rstrip())
        if len(self._held) - end > _LONGEST_SPACE:
            return self._release("fenced")
        certain, self._held = self._held[:end], self._held[end:]
        return certain

    def _release(self, state: str) -> str:
        self._state = state
        held, self._held = self._held, ""
        return held


class PrefillFilter:
    """Leaves out the words that the model was to go on from, where it says them again.

    White space does not matter.
    """

    def __init__(self, prefill: str) -> None:
        self._repeated = "".join(prefill.split())
        self._next = 0  # how many characters of it came
        self._room = len(prefill) + _LONGEST_SPACE  # for what is held back
        self._held: list[str] = []

    def feed(self, text: str) -> str:
        """What is certain after this piece."""
        if self._next == len(self._repeated):
            return text
        for number, character in enumerate(text):
            if character.isspace():
                continue
            if character != self._repeated[self._next]:
                return self._release() + text
            self._next += 1
            if self._next == len(self._repeated):
                self._held.clear()
                return text[number + 1 :]
        self._held.append(text)
        self._room -= len(text)
        return self._release() if self._room < 0 else ""

    def close(self) -> str:
        """What was still held back."""
        return self._release() if self._held else ""

    def _release(self) -> str:
        self._next = len(self._repeated)
        held = "".join(self._held)
        self._held.clear()
        return held


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
    at = text.find(sequence[0], max(0, len(text) - len(sequence) + 1))
    while at >= 0:
        if sequence.startswith(text[at:]):
            return len(text) - at
        at = text.find(sequence[0], at + 1)
    return 0
