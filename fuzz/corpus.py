"""The inputs that are kept in the tree: few and small, and together they reach every line that many reached.

One file for each target, a list of its inputs as JSON.  Bytes are an object with one member: `text`, or
`zlib` for those that are none.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import kiro_auth

FOLDER = Path(__file__).parent / "corpus"
Lines: TypeAlias = set[tuple[str, int]]

_PACKAGE = str(Path(kiro_auth.__file__).parent)


def kept(name: str) -> list[Any]:
    """The inputs of a target."""
    return [_read(value) for value in json.loads((FOLDER / f"{name}.json").read_text())]


def keep(name: str, reached: list[tuple[Any, Lines]]) -> int:
    """Write the smallest of these inputs that together reach every line that any of them did; how many."""
    written = sorted(
        ((json.dumps(_written(data)), lines) for data, lines in reached), key=lambda pair: len(pair[0])
    )
    chosen: list[str] = []
    seen: Lines = set()
    for text, lines in written:
        if not lines <= seen:
            seen |= lines
            chosen.append(text)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text("[\n" + ",\n".join(chosen) + "\n]\n")
    return len(chosen)


@contextmanager
def reaching() -> Iterator[Lines]:
    """The lines of the program that are reached within the block, in any thread."""
    lines: Lines = set()

    def enter(frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        del event, argument
        return step if frame.f_code.co_filename.startswith(_PACKAGE) else None

    def step(frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        del event, argument
        lines.add((frame.f_code.co_filename, frame.f_lineno))
        return step

    before = sys.gettrace()
    threading.settrace(enter)
    sys.settrace(enter)
    try:
        yield lines
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]


def _written(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return {"text": value.decode()}
        except UnicodeDecodeError:
            return {"zlib": base64.b64encode(zlib.compress(value, 9)).decode()}
    if isinstance(value, list | tuple):
        return [_written(one) for one in value]
    return value


def _read(value: Any) -> Any:
    match value:
        case list():
            return tuple(_read(one) for one in value)
        case {"text": str(text), **rest} if not rest:
            return text.encode()
        case {"zlib": str(packed), **rest} if not rest:
            return zlib.decompress(base64.b64decode(packed))
        case _:
            return value
