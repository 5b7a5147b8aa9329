"""OpenCode's configuration as text: JSON with comments, of which a few settings are read."""

from __future__ import annotations

import json
import re
from typing import Final

_DISABLED: Final = re.compile(r'"disabled_providers"\s*:\s*\[([^\]]*)\]')
_ENABLED: Final = re.compile(r'"enabled_providers"\s*:\s*\[([^\]]*)\]')
_COMMENT: Final = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LAST_COMMA: Final = re.compile(r'("(?:\\.|[^"\\\n])*")|,(?=\s*[}\]])')
_PUT_IN: Final = re.compile(r"\{(?:env|file):[^}]*\}")
"""What OpenCode replaces before it reads the text as JSON."""


def provider_setting_against_kiro(text: str) -> str | None:
    """The name of the setting that keeps the provider `kiro` out, if one does."""
    text = without_comments(text)
    disabled, enabled = _DISABLED.search(text), _ENABLED.search(text)
    if disabled and '"kiro"' in disabled[1]:
        return "disabled_providers"
    return "enabled_providers" if enabled and '"kiro"' not in enabled[1] else None


def place_of_error(text: str) -> tuple[int, int] | None:
    """Line and column where OpenCode cannot read the text; None if it can."""
    try:
        json.loads(without_comments(text) or "{}", strict=False)
    except json.JSONDecodeError as error:
        return error.lineno, error.colno
    return None


def without_comments(text: str) -> str:
    """Plain JSON of what OpenCode takes, every character of it at its place."""
    text = _COMMENT.sub(lambda match: match[1] or re.sub(r"[^\n]", " ", match[0]), text)
    text = _LAST_COMMA.sub(lambda match: match[1] or " ", text)
    return _PUT_IN.sub(lambda match: "0".ljust(len(match[0])), text)
