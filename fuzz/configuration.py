"""Any kiro.json and any variables give a configuration; what cannot be used is named, never raised."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import strategies as st

from fuzz.mutation import changed_bytes, changed_json
from kiro_auth import config
from kiro_auth.options import OPTIONS

_FIRST = {option.name: option.default for option in OPTIONS}
_FIRST["endpoints"] = {
    "runtime": ["http://127.0.0.1:1/{region}", {"url": "https://a.example", "protocol": "rest"}]
}
_TEXTS = [b"// mine\n{'port': 1,}", b'{"toast_level": "none"}']
_NAMES = [f"KIRO_{option.name.upper()}" for option in OPTIONS] + ["KIRO_ENDPOINT_RUNTIME"]
_WORDS = st.text(max_size=9) | st.sampled_from(
    ["", "1", "-1", "true", "many", "us-east-1", "https://", "http://[::1", "\udcff"]
)

INPUTS = st.tuples(
    changed_json([_FIRST]) | changed_bytes(_TEXTS),
    st.dictionaries(st.sampled_from(_NAMES), _WORDS, max_size=3),
)


def check(data: tuple[bytes, dict[str, str]]) -> None:
    """The invariant, for one input: a file's bytes, and the environment."""
    text, environment = data
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "kiro.json").write_bytes(text)

        loaded = config.load(environment=environment, folder=folder)

        assert (folder / "kiro.json").read_bytes() == text
    assert all(problem.message and problem.code for problem in loaded.problems)
