"""What a reply used, in tokens and credits, and how sure each figure is."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, TypeVar

from msgspec import Struct

Source: TypeAlias = Literal["measured", "derived", "estimated"]
"""Who says so: the service, arithmetic on the service's figures, or our own guess."""


class Figure(Struct, frozen=True):
    """A count of tokens and where it comes from."""

    value: int
    source: Source


class InputParts(Struct, frozen=True):
    """What a reply's input consisted of, in tokens by our estimate: all of it together.

    `tools` are their names, descriptions and schemas, `system` the instructions, `attachments` images and
    documents, `history` the messages, the newest one included.
    """

    tools: int
    system: int
    history: int
    attachments: int


class Usage(Struct, frozen=True):
    """What a reply used.  `input` counts all tokens sent, cached ones included.

    Cache figures are present only if the service sent them; `credits` is what the service metered.
    `searches` of the web were run for it.
    """

    input: Figure
    output: Figure
    cache_read: int | None = None
    cache_write: int | None = None
    credits: float | None = None
    searches: int = 0

    def plus(self, other: Usage) -> Usage:
        """What both used together; a sum is as sure as the less sure of its parts."""
        return Usage(
            input=_sum_of_figures(self.input, other.input),
            output=_sum_of_figures(self.output, other.output),
            cache_read=_sum(self.cache_read, other.cache_read),
            cache_write=_sum(self.cache_write, other.cache_write),
            credits=_sum(self.credits, other.credits),
            searches=self.searches + other.searches,
        )


_SURE: Final[tuple[Source, ...]] = ("measured", "derived", "estimated")
_Number = TypeVar("_Number", int, float)


def _sum_of_figures(one: Figure, other: Figure) -> Figure:
    return Figure(one.value + other.value, max(one.source, other.source, key=_SURE.index))


def _sum(one: _Number | None, other: _Number | None) -> _Number | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
