"""`OPENCODE_CONFIG_CONTENT`: configuration in the environment, which counts over that of the files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kiro_auth.failures import ConfigFailed, Failure

VARIABLE: Final = "OPENCODE_CONFIG_CONTENT"


def with_ours(own: str, ours: Mapping[str, Any]) -> str:
    """The user's own content, JSON with comments, and ours over it, key by key.  Raises ConfigFailed."""
    return json.dumps(_merged(_decoded(own), ours) if own.strip() else ours)


def without_header(own: str, header: str) -> str | None:
    """The content without this header of our provider; None where nothing is left.  Raises ConfigFailed."""
    rest = _without(_decoded(own), ("provider", "kiro", "options", "headers", header))
    return json.dumps(rest) if rest else None


def _without(document: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    """The document without what is at the end of the path, and without what is empty then."""
    key, *further = path
    others = {name: value for name, value in document.items() if name != key}
    if not further:
        return others
    inner = document.get(key)
    if not isinstance(inner, Mapping):
        return document
    rest = _without(inner, further)
    return {**others, key: rest} if rest else others


def _decoded(own: str) -> Mapping[str, Any]:
    import json5  # comments and commas, as OpenCode allows them

    try:
        document = json5.loads(own)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{VARIABLE} holds no JSON object, so nothing can be added to it.",
                next_step=f"Correct it, or unset {VARIABLE}.",
            )
        )
    return document


def _merged(own: Any, ours: Any) -> Any:
    if not isinstance(own, Mapping) or not isinstance(ours, Mapping):
        return ours
    return {**own, **{key: _merged(own.get(key), value) for key, value in ours.items()}}
