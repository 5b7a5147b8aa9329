"""What `kiro-auth env --account` left in a shell, taken out by the next `env` without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kiro_auth.clients.setups import CLAUDE_HEADERS, Name
from kiro_auth.gateway.bound import HEADER
from kiro_auth.opencode.content import VARIABLE, without_header

Variables = Mapping[str, str | None]
"""By name; None: unset."""

_KEPT_IN: Final = {Name.CLAUDE: CLAUDE_HEADERS, Name.OPENCODE: VARIABLE}
"""Codex is told of an account by its arguments, which no shell keeps."""


def unbound(client: Name, environment: Mapping[str, str]) -> Variables:
    """The variables of this program that ask for an account, without that.  Raises ConfigFailed."""
    variable = _KEPT_IN.get(client)
    own = environment.get(variable, "") if variable else ""
    if variable is None or HEADER not in own.lower():
        return {}
    return {variable: _without_line(own) if client is Name.CLAUDE else without_header(own, HEADER)}


def _without_line(own: str) -> str | None:
    lines = (line for line in own.splitlines() if line.partition(":")[0].strip().lower() != HEADER)
    return "\n".join(lines) or None
