"""The models as Codex lists them."""

from __future__ import annotations

import json

import pytest

from kiro_auth.surfaces.codex_list import INSTRUCTIONS, codex_rows
from kiro_auth.surfaces.model_list import encode_models
from kiro_auth.surfaces.surface import ModelCard

READ = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")
"""The words of effort in the catalogue that Codex 0.171.0 brings, and those before the lowest of them."""


def card(id_: str, *, efforts: tuple[str, ...] = (), thinks: bool = True, default: bool = False) -> ModelCard:
    inputs = frozenset({"text", "image", "document"})
    figures = {"context_window": 1000, "max_output": 10, "inputs": inputs}
    return ModelCard(id=id_, name=id_.title(), thinks=thinks, efforts=efforts, default=default, **figures)


def test_the_list_stands_beside_the_other_for_codex_alone() -> None:
    plain, for_codex = (json.loads(encode_models([card("a")], codex=codex)) for codex in (False, True))

    assert "models" not in plain
    assert {**plain, "models": for_codex["models"]} == for_codex
    assert [row["slug"] for row in for_codex["models"]] == ["a"]


def test_the_default_comes_first_and_twins_have_no_row_of_their_own() -> None:
    twin = card("b-thinking")
    rows = codex_rows([card("a"), card("b"), twin, card("c", default=True), card("kimi-thinking")])

    assert [(row["slug"], row["priority"]) for row in rows] == [
        ("c", 0), ("a", 1), ("b", 2), ("kimi-thinking", 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("efforts", "thinks", "levels"),
    [
        (("low", "high"), True, ["low", "high"]),
        (("none", "low", "odd", "max"), True, ["none", "low", "max"]),
        ((), True, ["low", "medium", "high", "max"]),
        ((), False, []),
    ],
)
def test_the_levels_are_those_of_the_model_and_none_that_codex_cannot_read(
    efforts: tuple[str, ...], thinks: bool, levels: list[str]
) -> None:
    [row] = codex_rows([card("a", efforts=efforts, thinks=thinks)])

    assert [level["effort"] for level in row["supported_reasoning_levels"]] == levels
    assert set(levels) <= set(READ)
    assert row["supports_reasoning_summary_parameter"] is thinks


def test_a_row_says_what_the_model_takes_and_brings_instructions() -> None:
    [row] = codex_rows([card("a")])

    assert (row["context_window"], row["input_modalities"]) == (1000, ["text", "image"])
    assert row["base_instructions"] == INSTRUCTIONS
    assert "apply_patch_tool_type" not in row
