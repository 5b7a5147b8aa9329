"""What other programs are told of the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_auth.clients.setups import Endpoint, Name, setup_of


@pytest.mark.parametrize(
    ("waits", "patience"), [(0, []), (12, ["model_providers.kiro.stream_idle_timeout_ms=43200000"])]
)
def test_codex_is_given_patience_where_an_answer_may_wait_for_a_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: int, patience: list[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    given = setup_of(Name.CODEX, None, Endpoint("http://127.0.0.1:4000", "a-key", waits=waits)).arguments

    assert [word for word in given if "timeout" in word] == patience
