"""Tables: drawn as far as they fit in a terminal, plain columns in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from typing import Final

from kiro_auth.cli.terminal import styled, width
from kiro_auth.texts import in_one_line

_GAP: Final = "  "

Colours = Mapping[str, Mapping[str, str]]
"""By column, the styles of its cells by their words."""


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    colours: Colours | None = None,
) -> None:
    """A table: drawn in a terminal, plain columns in a pipe; `right` names the columns of figures.

    Columns that do not fit in the terminal stand below their row: nothing is cut or folded.
    """
    rows = [[in_one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_drawn(columns, rows, right, colours or {})
    else:
        _print_plain(columns, rows, right)


def _print_drawn(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str], colours: Colours
) -> None:
    from rich.cells import cell_len

    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    ends = list(accumulate(widths, lambda end, width: end + len(_GAP) + width))
    fitting = max(1, sum(end <= width() for end in ends))

    def line(cells: Sequence[str], colours: Colours) -> str:
        padded = []
        for column, cell, room in zip(columns[:fitting], cells, widths, strict=False):
            space = " " * (room - cell_len(cell))
            shown = styled(cell, colours.get(column, {}).get(cell), sys.stdout)
            padded.append(space + shown if column in right else shown + space)
        return _GAP.join(padded).rstrip()

    print(styled(line(columns[:fitting], {}), "bold", sys.stdout))
    print("─" * min(ends[fitting - 1], width()))
    for row in rows:
        print(line(row, colours))
        for column, cell in zip(columns[fitting:], row[fitting:], strict=True):
            if cell:
                print(f"{_GAP}{column}: {styled(cell, colours.get(column, {}).get(cell), sys.stdout)}")
    sys.stdout.flush()


def _print_plain(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]) -> None:
    lines = [[column.upper() for column in columns], *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        cells = zip(columns, line, widths, strict=True)
        padded = (cell.rjust(room) if column in right else cell.ljust(room) for column, cell, room in cells)
        print(_GAP.join(padded).rstrip())
    sys.stdout.flush()
