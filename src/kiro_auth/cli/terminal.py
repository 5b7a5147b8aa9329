"""What a terminal shows: how wide it is, whether it has colours, and sentences wrapped at words."""

from __future__ import annotations

import os
import re
from typing import Final, TextIO

from kiro_auth.texts import clean

NARROWEST: Final = 20
COLOURS: Final = {"green": 32, "yellow": 33, "red": 31, "dim": 2, "bold": 1}
"""Names and numbers of the styles that are used."""

# What is to be copied stays whole: a command up to the end of its clause, an address, a quoted name.
_COMMAND: Final = (
    r"(?:kiro-auth|npm|pipx|loginctl|opencode|claude|codex|chmod|unset|export|eval)"
    r"(?: (?!(?:and|or|says|to|lets|takes|first|again|once|with|for|in|is|shares|has|will|does|if)\b)"
    r"(?:'[^']*'|\"[^\"]*\"|[^\s;,()]*[^\s;,().:]))+"
)
# So do dates and distances.
_TIME: Final = r"(?:in )?\d+ (?:s|min|h|days?|years)\b(?: ago)?|[A-Z][a-z]{2} \d+\b"
_WORDS: Final = rf"(?:{_COMMAND}|{_TIME})[^\s]*|\S+"


def width() -> int:
    """Columns of the terminal."""
    import shutil  # brings packers of archives, and is asked by tables alone

    return max(NARROWEST, shutil.get_terminal_size().columns)


def has_colour(stream: TextIO) -> bool:
    """Whether to colour what goes there, by the rules of rich: NO_COLOR, FORCE_COLOR, TERM=dumb."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def styled(text: str, style: str | None, stream: TextIO) -> str:
    """The text in that style of `COLOURS`, where the stream shows any."""
    if style is None or not has_colour(stream):
        return text
    return f"\x1b[{COLOURS[style]}m{text}\x1b[0m"


def fitted(text: str, stream: TextIO, *, margin: int = 0) -> str:
    """The text without what steers a terminal; wrapped at words where a person reads it, not in a pipe.

    With a `margin` the first line stands behind so many columns, and the others go on below it.
    """
    text = clean(text)
    if not stream.isatty():
        return text
    return wrapped(text, width() - margin).replace("\n", "\n" + " " * margin)


def wrapped(text: str, columns: int) -> str:
    """Every line of the text in lines of so many columns.

    Commands, addresses and quoted names are never broken: one that is too long has a line of its own, which
    the terminal folds and copies whole.  Lines of lists go on below their words.
    """
    return "\n".join(_wrapped_line(line, columns) for line in text.split("\n"))


def _wrapped_line(line: str, columns: int) -> str:
    from rich.cells import cell_len  # imported here, as pipes need nothing of it

    if cell_len(line) <= columns:
        return line
    start = re.match(r" *(?:- )?", line)
    assert start is not None
    first, following = start.group(), " " * len(start.group())
    lines = [first]
    for word in re.findall(_WORDS, line[len(first) :]):
        current = lines[-1]
        if current.strip(" -") and cell_len(current) + 1 + cell_len(word) > columns:
            lines.append(following + word)
        else:
            lines[-1] = current + (" " if current.strip(" -") else "") + word
    return "\n".join(lines)
