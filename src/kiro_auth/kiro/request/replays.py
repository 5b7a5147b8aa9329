"""Which refusals are met by sending the request once more, and what is left out of it then."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

Part: TypeAlias = Literal["reasoning", "fields", "images", "documents"]
"""What a body can do without: reasoning of earlier turns, the model's extra settings, what is attached."""


class Replay(Struct, frozen=True):
    """One more try: without this part, or as it was, after so many seconds."""

    without: Part | None = None
    seconds: float = 0.0


REPLAYS: Final[dict[str, Replay]] = {
    "KA-SIGNATURE": Replay(without="reasoning"),
    "KA-CONTINUE": Replay(without="reasoning"),
    "KA-FIELDS": Replay(without="fields"),
    "KA-IMAGE": Replay(without="images"),
    "KA-DOCUMENT": Replay(without="documents"),
    "KA-TOOLS": Replay(),
    "KA-MODEL": Replay(seconds=1.0),
}
"""By the failure's code, what users reported in 2026 to help; each once.

"Invalid tool use format." passes on a second try of the same bytes.  `INVALID_MODEL_ID` comes and goes for
models that the account's list has, and only those are asked for again.
"""
