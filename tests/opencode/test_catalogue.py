"""The catalogue of models that OpenCode keeps: where it is, and whether Kiro is in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.opencode import catalogue
from kiro_auth.opencode.catalogue import Listing, catalogue_files, kiro_listing

WITH_KIRO = {
    "anthropic": {"models": {}},
    "kiro": {"id": "kiro", "models": {"auto": {}, "claude-sonnet-4.6": 1}},
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path)}


def kept(tmp_path: Path, text: str, name: str = "models.json") -> Path:
    path = tmp_path / "opencode" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_provider_kiro_is_found_with_its_models(tmp_path: Path, environment: dict[str, str]):
    assert kiro_listing(environment) is None
    path = kept(tmp_path, json.dumps(WITH_KIRO))
    assert kiro_listing(environment) == Listing(path, 2)


def test_the_file_is_the_one_that_opencode_reads(tmp_path: Path, environment: dict[str, str]):
    usual = tmp_path / "opencode" / "models.json"
    assert catalogue_files(environment) == [usual]
    assert catalogue_files({}) == [Path.home() / ".cache" / "opencode" / "models.json"]
    assert catalogue_files({**environment, "OPENCODE_MODELS_PATH": str(tmp_path / "own")}) == [
        tmp_path / "own"
    ]
    assert catalogue_files({**environment, "OPENCODE_MODELS_PATH": ""}) == []
    assert catalogue_files({**environment, "OPENCODE_MODELS_URL": ""}) == [usual]
    (other,) = catalogue_files({**environment, "OPENCODE_MODELS_URL": "http://127.0.0.1:18765"})
    assert (
        other.name == "models-bb341f38232457db63d835b1b2fd0fdeb8711a6b.json"
    )  # as 1.14.48 to 1.18.34 wrote it
    assert usual in catalogue_files({**environment, "OPENCODE_MODELS_URL": "https://models.dev"})


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "5", "null", '{"kiro": 5}', '{"kiro": []}', '{"kiro": {"models": []}}', '{"Kiro": {}}',
     "[" * 100_000, '{"kiro": {"models": {"a": ' + "[" * 100_000],
)  # fmt: skip
def test_odd_json_lists_nothing(tmp_path: Path, environment: dict[str, str], text: str):
    kept(tmp_path, text)
    assert kiro_listing(environment) is None


@given(st.binary(max_size=40), st.sampled_from([b"", b'{"kiro": ', b'{"kiro": {"models": {']))
def test_no_bytes_are_too_odd(tmp_path_factory: pytest.TempPathFactory, body: bytes, begin: bytes):
    path = tmp_path_factory.getbasetemp() / "odd.json"
    path.write_bytes(begin + body)
    kiro_listing({"OPENCODE_MODELS_PATH": str(path)})


def test_a_file_that_is_too_large_or_none_at_all_lists_nothing(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    kept(tmp_path, json.dumps(WITH_KIRO))
    monkeypatch.setattr(catalogue, "MOST_BYTES", 50)
    assert kiro_listing(environment) is None
    os.mkfifo(tmp_path / "pipe")
    for odd in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        assert kiro_listing({"OPENCODE_MODELS_PATH": str(odd)}) is None
