"""The cheapest model for an agent's own errands, titles and summaries: only if `thrift` is set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kiro_auth.conversation import Kind
from kiro_auth.events import Asked
from kiro_auth.kiro.models import Model

ERRANDS: Final[tuple[Kind, ...]] = ("title", "compaction")
"""What a client says that a reply is for, where any model will do."""
_BYTES_OF_A_TOKEN: Final = 3.0
_ROOM: Final = 0.8
"""The part of a window that the request may fill.  Both are careful guesses: a summary is asked for when a
conversation has become long."""


def cheapest(request: Asked, asked: Model, listed: Sequence[Model]) -> Model | None:
    """The listed model that costs least and can read the request; None: none costs less than the one asked.

    What a model costs is the factor in Kiro's list; one without is not considered, and nothing is compared
    with an asked one that has none.
    """
    if asked.rate is None:
        return None
    needed = {kind for kind, count in (("image", request.images), ("document", request.documents)) if count}
    tokens = request.size / _BYTES_OF_A_TOKEN
    able = [
        (model.rate, number, model)
        for number, model in enumerate(listed)
        if model.rate is not None
        and model.rate < asked.rate
        and needed <= model.inputs
        and tokens <= _ROOM * model.context_window
    ]
    return min(able)[2] if able else None
