"""Any body of the three APIs gives a conversation that can be sent, or TurnFailed that says KA-REQUEST."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st

from fuzz.mutation import changed_bytes, changed_json
from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload

_CORPUS = Path(__file__).parents[1] / "tests" / "corpus" / "requests"
_SOUND = {
    path: [json.loads(case.read_text())["requests"][path] for case in sorted(_CORPUS.glob("*.json"))]
    for path in SURFACES
}
_OPTIONS = payload.Options(
    model=resolve("claude-opus-4-6", ()).model, protocol="rpc", origin="KIRO_CLI", profile_arn=None
)


def _bodies(path: str) -> st.SearchStrategy[bytes]:
    sound = _SOUND[path]
    return changed_json(sound) | changed_bytes([json.dumps(body).encode() for body in sound])


INPUTS = st.sampled_from(sorted(SURFACES)).flatmap(lambda path: st.tuples(st.just(path), _bodies(path)))


def check(data: tuple[str, bytes]) -> None:
    """The invariant, for one input: an API's path, and a body."""
    path, body = data
    try:
        conversation = SURFACES[path].decode(body, {})
        sent, code = payload.build(conversation, _OPTIONS).body, None
    except TurnFailed as error:
        sent, code = None, error.failure.code
    assert code == "KA-REQUEST" if sent is None else "conversationState" in json.loads(sent)
