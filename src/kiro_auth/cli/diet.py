"""What the input of the last turns consisted of, as the ledger has it: for `kiro-auth usage --diet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kiro_auth.cli.output import print_json, say
from kiro_auth.cli.tables import print_table
from kiro_auth.cli.usage_table import bar_of

if TYPE_CHECKING:
    from kiro_auth.ledger.row import Row

TURNS: Final = 20
"""How many of the last turns are looked at: about one task of an agent."""
_BAR: Final = 20
_WORDS: Final = {
    "tools": "tools and their schemas",
    "system": "instructions",
    "history": "messages and tool results",
    "attachments": "images and documents",
}


def print_diet(*, as_json: bool) -> None:
    """The parts of the last turns' input, together.  Raises StoreFailed."""
    from kiro_auth.gateway.own_store import own_ledger
    from kiro_auth.ledger.reading import recent

    turns = [row for row in recent(own_ledger(), TURNS) if row.input_parts is not None]
    parts = _sums(turns)
    if as_json:
        print_json({"turns": len(turns), "inputTokens": parts, "source": "estimated"})
    elif not any(parts.values()):
        say("The ledger has no turns that say what their input consisted of.")
    else:
        _print_table(parts)
        many = f"the last {len(turns)} turns" if len(turns) > 1 else "the last turn"
        say(f"\nInput of {many} together, in tokens by our estimate: Kiro does not say what each part took.")


def _sums(turns: list[Row]) -> dict[str, int]:
    each = [turn.input_parts for turn in turns if turn.input_parts is not None]
    return {name: sum(getattr(parts, name) for parts in each) for name in _WORDS}


def _print_table(parts: dict[str, int]) -> None:
    total = sum(parts.values())
    rows = [
        (words, f"{parts[name]:,}", f"{parts[name] / total:.0%}", bar_of(parts[name] / total, _BAR))
        for name, words in _WORDS.items()
    ]
    columns = ("part", "tokens", "share", "")
    print_table(columns, [*rows, ("together", f"{total:,}", "", "")], right=("tokens", "share"))
