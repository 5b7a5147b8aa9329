"""All figures of one run as a table, and as the page and the picture in docs/."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from bench import figures

Samples: TypeAlias = Mapping[str, Mapping[str, Sequence[float]]]
"""What was measured: by program, then by figure, one number for each round."""

NGINX: Final = "nginx"
PASS_THROUGH: Final = "pass-through"
GATEWAY: Final = "gateway"
NO_LEDGER: Final = "without ledger"
"""The gateway with `ledger: false`."""
PROGRAMS: Final = (NGINX, PASS_THROUGH, GATEWAY, NO_LEDGER)

# The most that a figure may be: times nginx in the same run, or the number itself.
_TIMES_NGINX: Final = {
    figures.FORTY: 7.0,
    figures.PACED: 1.3,
    figures.SHORT: 10.0,
    figures.FIRST: 1.9,
    figures.FIRST_OF_MANY: 1.8,
    figures.PER_STREAM: 1.0,
    figures.HISTORY: 6.0,
}
_AT_MOST: Final = {figures.AT_MOST: 90.0, figures.IDLE: 40.0, figures.STARTED: 120.0, figures.HEALTH: 80.0}
FIGURES: Final = (
    *(figures.COALESCED, figures.FORTY, figures.PACED, figures.SHORT),
    *(figures.HISTORY, figures.NEXT_TURN, figures.LONG_HISTORY),
    *(figures.FIRST, figures.FIRST_OF_MANY, figures.PER_STREAM, figures.AT_MOST, figures.IDLE),
    *(figures.HEALTH, figures.STARTED),
)

_FONT: Final = 'font-family="sans-serif" font-size="12"'
BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"


def rows(samples: Samples) -> list[tuple[str, ...]]:
    """A row for each figure: median (least to most) of each program, × nginx, and what it is to be."""
    return [
        (figure, *(_shown(samples[program].get(figure)) for program in PROGRAMS), *_judged(samples, figure))
        for figure in FIGURES
    ]


HEADS: Final = ("Median (least–most)", *PROGRAMS, "× nginx", "aim")


def _shown(values: Sequence[float] | None) -> str:
    if not values:
        return "–"
    return f"{_short(statistics.median(values))} ({_short(min(values))}–{_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _judged(samples: Samples, figure: str) -> tuple[str, str]:
    ratio = times_nginx(samples, figure)
    aim = "–"
    if figure in _TIMES_NGINX:
        aim = f"≤ {_TIMES_NGINX[figure]:g} ×"
    elif figure in _AT_MOST:
        aim = f"≤ {_AT_MOST[figure]:g}"
    return "–" if ratio is None else f"{ratio:.2f}", aim


def times_nginx(samples: Samples, figure: str) -> float | None:
    """How much more the gateway takes than nginx; None where nginx was not measured."""
    ours, theirs = samples[GATEWAY].get(figure), samples[NGINX].get(figure)
    return statistics.median(ours) / statistics.median(theirs) if ours and theirs else None


def as_text(samples: Samples) -> str:
    table = [HEADS, *rows(samples)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def as_markdown(samples: Samples) -> str:
    table = [HEADS, tuple("---" for _ in HEADS), *rows(samples)]
    return "\n".join("| " + " | ".join(row) + " |" for row in table)


def write(samples: Samples, page: Path, words: str, sentences: Sequence[str]) -> None:
    """Put the table and the sentences into the page, between its marks, and the picture beside it."""
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    told = "\n".join(
        textwrap.fill(sentence, 118, initial_indent="- ", subsequent_indent="  ") for sentence in sentences
    )
    page.write_text(f"{before}{BEGIN}\n{words}\n\n{as_markdown(samples)}\n\n{told}\n{END}{after}")
    page.with_suffix(".svg").write_text(picture(samples))


def picture(samples: Samples) -> str:
    """Bars of how many times what nginx takes; the mark is the aim."""
    bars = [
        (figure, ratio)
        for figure in FIGURES
        if (ratio := times_nginx(samples, figure)) is not None
        and figure not in (figures.HEALTH, figures.STARTED)
    ]
    scale = 300 / max((ratio for _, ratio in bars), default=1)
    height = 30 * len(bars) + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{height}" {_FONT}>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, (figure, ratio) in enumerate(bars):
        y = 30 * number + 15
        lines.append(f'<text x="10" y="{y + 14}">{figure}</text>')
        lines.append(
            f'<rect x="270" y="{y}" width="{ratio * scale:.1f}" height="20" fill="#4a7ab5"/>'
            f'<text x="{275 + ratio * scale:.1f}" y="{y + 14}">{ratio:.1f} ×</text>'
        )
        if figure in _TIMES_NGINX:
            x = 270 + min(_TIMES_NGINX[figure] * scale, 330)
            lines.append(f'<path d="M{x:.1f} {y - 3}v26" stroke="#c33" stroke-width="2"/>')
    return "\n".join([*lines, "</svg>", ""])
