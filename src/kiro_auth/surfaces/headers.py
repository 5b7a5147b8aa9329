"""What a request's headers say, on every API: which conversation it belongs to, and what it is for."""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Mapping
from typing import Final

from kiro_auth.conversation import Kind

# OpenCode 2.x sends several, and only the first is the conversation's own: for a subagent or a fork the
# others name the conversation that it came from (packages/core/src/session/model-request.ts, 0330149c).
# OpenCode 1.x has `x-session-affinity`, Claude Code its own, Codex `session-id` and `thread-id`.
_SESSIONS: Final = (
    "x-opencode-session-id",
    "x-session-affinity",
    "x-claude-code-session-id",
    "session-id",
    "thread-id",
    "x-session-id",
)
_LONGEST: Final = 256
"""Characters of a session's name that is kept as it is."""
_KIND: Final = "x-kiro-kind"
_KINDS: Final[Mapping[str, Kind]] = {kind: kind for kind in typing.get_args(Kind)}


def session_of(headers: Mapping[str, str], own: str | None = None) -> str | None:
    """The client's name for the conversation: of the headers, in lower case, else the request's `own` field.

    Of a long one its digest, as sessions are remembered.
    """
    session = next(filter(None, map(headers.get, _SESSIONS)), own or None)
    if session is None or len(session) <= _LONGEST:
        return session
    return hashlib.sha256(session.encode(errors="surrogatepass")).hexdigest()


def kind_of(headers: Mapping[str, str]) -> Kind | None:
    """What the client wants the reply for, as our OpenCode plugin says it; None when nobody says so."""
    return _KINDS.get(headers.get(_KIND, ""))
