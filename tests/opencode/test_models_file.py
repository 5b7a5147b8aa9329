"""The model list in OpenCode's words, and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.opencode.models import USUAL_MODELS, Wish, opencode_models, read_models, write_models
from kiro_auth.surfaces.surface import ModelCard


def card(id_: str, **more: object) -> ModelCard:
    given = {"name": id_, "context_window": 200_000, "max_output": 64_000, "thinks": True} | more
    return ModelCard(id=id_, **{"inputs": frozenset({"text", "image", "document"}), **given})


def entry(model: ModelCard) -> dict[str, Any]:
    """What OpenCode 1.x is told of it."""
    return opencode_models([model]).opencode1[model.id]


SONNET = card("claude-sonnet-4-5", name="Claude Sonnet 4.5")


def test_the_models_of_the_original_are_known_without_a_gateway():
    known = USUAL_MODELS.opencode1
    assert sorted(known) == ["auto", "claude-haiku-4-5", "claude-sonnet-4-5", "claude-sonnet-4-5-thinking"]
    assert USUAL_MODELS.usual == "auto", "which leaves the choice to Kiro"
    assert {model["limit"]["context"] for model in known.values()} == {200_000}
    assert {model["limit"]["output"] for model in known.values()} == {64_000}
    assert known["claude-haiku-4-5"]["modalities"]["input"] == ["text", "image"]
    assert known["claude-sonnet-4-5"]["modalities"]["input"] == ["text", "image", "pdf"]


def test_sonnet_has_a_thinking_twin_with_the_same_limits_and_variants():
    models = opencode_models([SONNET]).opencode1
    twin = models["claude-sonnet-4-5-thinking"]
    assert twin["limit"] == models["claude-sonnet-4-5"]["limit"]
    assert (twin["reasoning"], models["claude-sonnet-4-5"]["reasoning"]) == (False, True)
    variants = twin["variants"]
    assert variants == models["claude-sonnet-4-5"]["variants"]
    budgets = {n: v["thinking"]["budgetTokens"] for n, v in variants.items() if not v.get("disabled")}
    assert budgets == {"low": 8192, "medium": 16384, "high": 24576, "max": 32768}


def test_haiku_is_the_small_model_and_is_not_asked_to_think():
    haiku = entry(card("claude-haiku-4-5"))
    assert haiku["family"] == "claude-haiku"
    assert haiku["reasoning"] is False
    assert "variants" not in haiku


def test_a_model_has_the_efforts_that_the_service_lists_and_no_others():
    variants = entry(card("claude-opus-4-6", efforts=("none", "low", "high", "max")))["variants"]
    adaptive = {"type": "adaptive"}
    assert variants == {
        "low": {"thinking": adaptive, "effort": "low"},
        "medium": {"disabled": True},
        "high": {"thinking": adaptive, "effort": "high"},
        "xhigh": {"disabled": True},
        "max": {"thinking": adaptive, "effort": "max"},
    }


def test_a_model_that_cannot_think_has_no_variants():
    assert "variants" not in entry(card("qwen3-coder-480b", thinks=False))


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"text"}, ["text"]),
        ({"image", "text"}, ["text", "image"]),
        ({"document", "image", "text"}, ["text", "image", "pdf"]),
    ],
    ids=["text", "image", "document"],
)
def test_inputs_become_modalities(inputs: set[str], expected: list[str]):
    model = entry(card("some-model", inputs=frozenset(inputs)))
    assert model["modalities"]["input"] == expected
    assert model["attachment"] is ("image" in inputs)


def test_limits_are_the_services(tmp_path: Path):
    path = tmp_path / "state" / "models.json"
    opus = card("claude-opus-4-6", context_window=1_000_000, max_output=32_000)
    write_models(path, [opus], complete=True)
    (model,) = json.loads(path.read_text())["opencode1"].values()
    assert model["limit"] == {"context": 1_000_000, "output": 32_000}
    assert [p.name for p in path.parent.iterdir()] == ["models.json"]


def test_a_list_that_is_not_complete_only_adds(tmp_path: Path):
    path = tmp_path / "models.json"
    write_models(path, [card("claude-opus-4-6", max_output=1)], complete=False)
    write_models(path, [card("claude-opus-4-7")], complete=False)
    write_models(path, [card("claude-opus-4-6", max_output=2)], complete=False)
    known = set(USUAL_MODELS.opencode1)
    written = read_models(path)
    outputs = {name: model["limit"]["output"] for name, model in written.opencode1.items()}
    assert {name: outputs[name] for name in outputs.keys() - known} == {
        "claude-opus-4-6": 2,
        "claude-opus-4-7": 64_000,
    }
    assert known <= outputs.keys()
    write_models(path, [SONNET], complete=True)
    assert set(read_models(path).opencode1) == {"claude-sonnet-4-5", "claude-sonnet-4-5-thinking"}


@pytest.mark.parametrize("text", ["", "[]", '{"claude-opus-4-6": {}}', '{"opencode1": {}}'])
def test_a_file_of_another_shape_counts_as_none(tmp_path: Path, text: str):
    (tmp_path / "models.json").write_text(text)
    assert read_models(tmp_path / "models.json") == USUAL_MODELS


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "claude-sonnet-4-5"]), st.booleans()), max_size=5))
def test_both_generations_are_told_of_the_same_models(tmp_path_factory: pytest.TempPathFactory, lists: Any):
    path = tmp_path_factory.mktemp("list") / "models.json"
    for id_, complete in lists:
        write_models(path, [card(id_)], complete=complete)
    written = read_models(path)
    records = {record["id"]: record for record in written.opencode2}
    assert list(records) == [record["id"] for record in written.opencode2]  # none stands twice
    assert set(records) == set(written.opencode1)
    for id_, model in written.opencode1.items():
        assert (records[id_]["name"], records[id_]["limit"]) == (model["name"], model["limit"])


def test_a_list_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    path = tmp_path / "models.json"
    path.mkdir()
    write_models(path, [SONNET], complete=True)
    assert path.is_dir()
    assert [p.name for p in tmp_path.iterdir()] == ["models.json"]


@pytest.mark.parametrize(
    ("ids", "default", "usual"),
    [
        (["claude-sonnet-4-5", "auto"], "auto", "auto"),
        (["claude-sonnet-4-5", "claude-sonnet-4-10", "claude-sonnet-4-6"], None, "claude-sonnet-4-10"),
        (["claude-sonnet-5", "claude-sonnet-4-6", "claude-opus-6"], None, "claude-sonnet-5"),
        (["claude-sonnet-4", "claude-sonnet-4-5"], None, "claude-sonnet-4-5"),
        (["qwen3-coder", "claude-opus-4-6"], None, "qwen3-coder"),
    ],
    ids=str,
)
def test_one_begins_with_the_service_s_default_else_with_the_newest_sonnet(
    tmp_path: Path, ids: list[str], default: str | None, usual: str
) -> None:
    models = [card(id_, default=id_ == default) for id_ in ids]
    write_models(tmp_path / "models.json", models, complete=True)

    assert read_models(tmp_path / "models.json").usual == usual


def test_a_list_that_only_adds_keeps_the_default_unless_it_names_another(tmp_path: Path) -> None:
    file = tmp_path / "models.json"
    write_models(file, [card("auto", default=True)], complete=True)
    write_models(file, [card("claude-sonnet-9")], complete=False)
    assert read_models(file).usual == "auto"
    write_models(file, [card("claude-opus-9", default=True)], complete=False)
    assert read_models(file).usual == "claude-opus-9"
    write_models(file, [card("claude-sonnet-9")], complete=True)
    assert read_models(file).usual == "claude-sonnet-9"


def test_the_newest_of_a_family_is_the_one_with_the_highest_number() -> None:
    ids = ["claude-haiku-4-5", "claude-haiku-4-10", "claude-haiku-9-max", "claude-haiku-4-9-thinking"]
    assert opencode_models(map(card, ids)).newest("haiku") == "claude-haiku-4-10"
    assert opencode_models([card("auto")]).newest("haiku") is None


VERSIONS = st.tuples(st.integers(3, 12), st.integers(0, 12) | st.none()).map(
    lambda parts: "-".join(str(part) for part in parts if part is not None)
)
IDS = st.one_of(
    st.builds("claude-{}-{}".format, st.sampled_from(["sonnet", "haiku", "opus"]), VERSIONS),
    st.sampled_from(["auto", "gpt-5-6-sol", "qwen3-coder-480b", "claude-sonnet"]),
)


@given(st.lists(IDS, min_size=1, max_size=8, unique=True), st.data())
def test_the_model_to_begin_with_is_always_a_listed_one(ids: list[str], data: st.DataObject) -> None:
    """The service's default, else the newest Sonnet, whatever the list has and in whichever order."""
    default = data.draw(st.none() | st.sampled_from(ids))
    usual = opencode_models([card(id_, default=id_ == default) for id_ in ids]).usual

    sonnets = [id_ for id_ in ids if id_.startswith("claude-sonnet-")]
    if default is not None:
        assert usual == default
    elif sonnets:
        newest = max([int(n) for n in id_.split("-")[2:]] for id_ in sonnets)
        assert [int(n) for n in usual.split("-")[2:]] == newest
    assert usual in ids


def test_an_empty_list_leaves_the_choice_to_kiro(tmp_path: Path) -> None:
    write_models(tmp_path / "models.json", [], complete=True)

    assert read_models(tmp_path / "models.json").usual == "auto"


def test_names_have_the_rate_behind_them_where_people_want_it_and_it_is_known() -> None:
    opus, odd = card("claude-sonnet-4-5", rate=2.2), card("odd")
    wish = Wish(rates=True, projects=True)

    names = [record["name"] for record in opencode_models([opus, odd], wish).opencode2]

    assert names == [f"{opus.name} · 2.2×", f"{opus.name} Thinking · 2.2×", odd.name]
    assert [entry["name"] for entry in opencode_models([opus, odd], wish).opencode1.values()] == names
    assert opencode_models([opus]).opencode2[0]["name"] == opus.name


def test_the_plugin_is_told_whether_projects_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    for wanted in (True, False):
        write_models(path, [card("a")], complete=False, wish=Wish(projects=wanted))
        assert json.loads(path.read_text()).get("projects", False) is wanted
