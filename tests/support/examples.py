"""How many examples a property test looks at."""

from __future__ import annotations

from hypothesis import settings


def examples(number: int) -> int:
    """So many where 100 are usual (`make examples`), and as many fewer as all tests have in this run."""
    return max(1, number * settings.default.max_examples // 100)
