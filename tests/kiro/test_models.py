"""Models: what the list says, and what the names of clients mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import Thinking
from kiro_auth.kiro.models import BUILTIN, Model, client_id, parse, resolve, union, unknown

LISTED = tuple(
    Model(id=id_, name=id_)
    for id_ in (
        "auto",
        "claude-3.7-sonnet",
        "claude-sonnet-4",
        "claude-sonnet-4.5",
        "claude-sonnet-4.5-20250929",
        "claude-opus-4.5",
        "claude-opus-4.8",
        "minimax-m2.5",
        "qwen3-coder-480b",
        "kimi-k2.5-thinking",
        "gpt-5.6-sol",
    )
)

DEEP = Thinking(budget=16384)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


# ------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("model", [*LISTED, *BUILTIN], ids=lambda model: model.id)
def test_every_model_is_found_by_both_its_names(model):
    """Also the ones whose names look like an alias of another: never another model."""
    assert resolve(client_id(model), LISTED).model.id == model.id
    assert resolve(model.id, LISTED).model.id == model.id


@pytest.mark.parametrize(
    ("name", "id_", "thinking"),
    [
        pytest.param("claude-sonnet-4-5", "claude-sonnet-4.5", None, id="the original's"),
        pytest.param("claude-sonnet-4-5-thinking", "claude-sonnet-4.5", DEEP, id="the original's twin"),
        pytest.param("claude-haiku-4-5", "claude-haiku-4.5", None, id="the original's small one"),
        pytest.param("  Claude-Opus-4-8 ", "claude-opus-4.8", None, id="case and spaces"),
        pytest.param("kiro/claude-sonnet-4-5", "claude-sonnet-4.5", None, id="provider"),
        pytest.param("kiro-auto", "auto", None, id="prefix"),
        pytest.param("amazonq-claude-sonnet-4", "claude-sonnet-4", None, id="old prefix"),
        pytest.param("default", "auto", None, id="default"),
        pytest.param("auto-kiro", "auto", None, id="auto-kiro"),
        pytest.param("claude-opus-4-8[1m]", "claude-opus-4.8", None, id="long window"),
        pytest.param("claude-sonnet-4-5-1m", "claude-sonnet-4.5", None, id="long window, the original's"),
        pytest.param("claude-opus-4-8-agentic", "claude-opus-4.8", None, id="agentic"),
        pytest.param("claude-opus-4-5-20251101", "claude-opus-4.5", None, id="date"),
        pytest.param("claude-opus-4-8-thinking[1m]", "claude-opus-4.8", DEEP, id="several suffixes"),
        pytest.param("claude-opus-4-8-high", "claude-opus-4.8", Thinking(effort="high"), id="effort"),
        pytest.param("claude-4.5-sonnet", "claude-sonnet-4.5", None, id="turned round"),
        pytest.param("claude-sonnet-4-0", "claude-sonnet-4", None, id="point zero"),
        pytest.param("CLAUDE_SONNET_4_5_20250929_V1_0", "claude-sonnet-4.5", None, id="long form"),
        pytest.param("CLAUDE_SONNET_4_20250514_V1_0", "claude-sonnet-4", None, id="long form, no minor"),
        pytest.param("vertex_ai/claude-opus-4-5", "claude-opus-4.5", None, id="another provider"),
        pytest.param("openrouter/anthropic/claude-opus-4.8", "claude-opus-4.8", None, id="two providers"),
        pytest.param("bedrock/kiro-claude-opus-4-8", "claude-opus-4.8", None, id="provider and prefix"),
        pytest.param("claude-opus-4-5@20251101", "claude-opus-4.5", None, id="Vertex"),
        pytest.param("claude-opus-4-8@latest", "claude-opus-4.8", None, id="latest"),
        pytest.param("anthropic.claude-opus-4-5-20251101-v1:0", "claude-opus-4.5", None, id="Bedrock"),
        pytest.param("apac.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4", None, id="region"),
        pytest.param(
            "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-4-5-20251101-v1:0",
            "claude-opus-4.5",
            None,
            id="ARN of Bedrock",
        ),
        pytest.param("anthropic/claude-opus-4.5:thinking", "claude-opus-4.5", DEEP, id="with a colon"),
        pytest.param("openai/gpt-5-6-sol-high", "gpt-5.6-sol", Thinking(effort="high"), id="GPT, effort"),
    ],
)
def test_aliases_name_the_model_they_look_like(name, id_, thinking):
    choice = resolve(name, LISTED)
    assert (choice.model.id, choice.thinking) == (id_, thinking)


@pytest.mark.parametrize(
    "name",
    [
        "claude-opus-9-9",
        "Some/Model",
        "foo-thinking",
        "-thinking",
        "gpt-4o-high",
        "",
        "openai/gpt-4o",
        "/",
        "us.anthropic.claude-opus-9-v1:0",
        "claude-opus-9@20260101",
        "anthropic/",
    ],
)
def test_an_unknown_name_goes_on_unchanged(name):
    choice = resolve(name, LISTED)
    assert (choice.model.id, choice.thinking) == (name, None)
    assert (choice.model.context_window, choice.model.max_output) == (200_000, 64_000)


PROVIDERS = (
    "",
    "anthropic/",
    "openai/",
    "bedrock/",
    "google/vertex/",
    "us.anthropic.",
    "anthropic.",
    "kiro/",
)
DATED = ("", "-20250929", "@20250929", "-latest", "-20250929-v1:0", "-v2:0")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_where_a_name_is_from_and_its_date_change_nothing(provider):
    names = [
        (f"{provider}{name}{dated}", model.id)
        for model in LISTED
        for name in (model.id, client_id(model))
        for dated in DATED
    ]
    found = [(name, id_, resolve(name, LISTED).model.id) for name, id_ in names]

    assert [row for row in found if row[2] not in (row[1], f"{row[1]}-20250929")] == []


def test_a_listed_name_with_a_slash_stays_itself():
    own = Model(id="vendor/claude-opus-4.5", name="another")
    assert resolve("vendor/claude-opus-4.5", [*LISTED, own]).model is own
    assert resolve("Vendor/Claude-Opus-4-5", [*LISTED, own]).model is own


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("claude-opus-4-9", "claude-opus-4-8"),
        ("anthropic/claude-opus-4.9-20260101", "claude-opus-4-8"),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-7-sonnet"),
        ("gpt-5.5", "gpt-5-6-sol"),
        ("qwen3-coder", "qwen3-coder-480b"),
        ("minimax", "minimax-m2-5"),
    ],
)
def test_of_an_unknown_name_the_nearest_listed_one_is_told(name, nearest):
    failure = unknown(name, LISTED)
    assert failure.code == "KA-MODEL"
    assert repr(name) in failure.message
    assert f"The nearest that is listed is {nearest};" in failure.next_step
    assert resolve(name, LISTED).model not in LISTED


@given(st.text(max_size=200))
def test_whatever_the_name_some_listed_one_is_told_and_the_sentence_is_short(name):
    failure = unknown(name, LISTED)
    assert any(f" {client_id(model)};" in failure.next_step for model in LISTED)
    assert len(failure.sentence()) < 1000


@given(
    st.text(max_size=40) | st.from_regex(r"(kiro/)?claude-[a-z0-9.-]{1,20}(-thinking|-high)?", fullmatch=True)
)
def test_any_name_means_a_known_model_or_itself(name):
    known = {model.id for model in (*BUILTIN, *LISTED)}
    assert resolve(name, LISTED).model.id in known | {name}


@pytest.mark.parametrize(
    ("name", "meant", "effort", "budget"),
    [
        ("kiro/gpt-5-1-codex-max", "gpt-5.1-codex-max", None, None),
        ("gpt-5-1-codex-max-high", "gpt-5.1-codex-max", "high", None),
        ("gpt-5-1-codex-high", "gpt-5.1-codex", "high", None),
        ("claude-sonnet-4-5-1m-thinking", "claude-sonnet-4.5-1m", None, 16384),
        ("claude-sonnet-4-5-thinking", "claude-sonnet-4.5", None, 16384),
        ("claude-sonnet-4-5-high-thinking", "claude-sonnet-4.5", "high", None),
        ("claude-opus-4-5-1m", "claude-opus-4.5", None, None),
        ("kiro/claude-3-7-sonnet", "claude-3.7-sonnet", None, None),
    ],
)
def test_the_longest_name_that_is_known_counts_and_the_rest_says_how_to_think(name, meant, effort, budget):
    ids = ("gpt-5.1-codex", "gpt-5.1-codex-max", "claude-sonnet-4.5-1m", "claude-3.7-sonnet")
    choice = resolve(name, [Model(id=id_, name=id_) for id_ in ids])
    assert choice.model.id == meant
    asked = choice.thinking
    assert (asked and asked.effort, asked and asked.budget) == (effort, budget)


def test_the_list_counts_more_than_the_built_in_table():
    live = Model(id="claude-sonnet-4.5", name="live", context_window=123)
    assert resolve("claude-sonnet-4-5", [live]).model is live


# -------------------------------------------------------------------------------------------- list


def row(**more):
    return {"modelId": "claude-opus-4.8", "supportedInputTypes": ["TEXT", "IMAGE"], **more}


def schema(**fields):
    objects = {
        field: {"properties": {word: {"enum": words} for word, words in parts.items()}}
        for field, parts in fields.items()
    }
    return {"type": "object", "properties": objects}


def test_a_row_is_read_whole():
    fields = schema(
        output_config={"effort": ["low", "high"]},
        thinking={"type": ["adaptive"], "display": ["summarized"]},
    )
    limits = {"maxInputTokens": 1_000_000, "maxOutputTokens": 64_000}
    [model] = parse(
        {
            "models": [
                row(
                    modelName="Claude Opus 4.8",
                    rateMultiplier=2.2,
                    tokenLimits=limits,
                    additionalModelRequestFieldsSchema=fields,
                )
            ]
        }
    )
    assert model == Model(
        id="claude-opus-4.8",
        name="Claude Opus 4.8",
        context_window=1_000_000,
        max_output=64_000,
        inputs=frozenset({"text", "image", "document"}),
        efforts=("low", "high"),
        effort_field="output_config",
        adaptive=True,
        displays=("summarized",),
        rate=2.2,
    )
    assert model.thinks


def test_the_effort_of_other_families_stands_in_its_own_field():
    [model] = parse(
        {"models": [row(additionalModelRequestFieldsSchema=schema(reasoning={"effort": ["none", "max"]}))]}
    )
    assert (model.effort_field, model.efforts, model.adaptive) == ("reasoning", ("none", "max"), False)


@pytest.mark.parametrize(
    ("id_", "tags"),
    [
        ("claude-sonnet-4.5", True),
        ("claude-haiku-4.5", True),
        ("claude-opus-4.5", True),
        ("claude-sonnet-4", True),
        ("claude-3.7-sonnet", True),
        ("claude-sonnet-4.6", False),
        ("claude-opus-5", False),
        ("gpt-5.6-sol", False),
        ("auto", False),
    ],
)
def test_only_old_claude_models_think_by_tags(id_, tags):
    [model] = parse({"models": [{"modelId": id_}]})
    assert model.tags is tags


def test_a_model_with_an_effort_setting_is_not_asked_by_tags():
    fields = schema(output_config={"effort": ["low"]})
    [model] = parse(
        {"models": [{"modelId": "claude-sonnet-4.5", "additionalModelRequestFieldsSchema": fields}]}
    )
    assert not model.tags


@pytest.mark.parametrize(
    ("id_", "listed", "inputs"),
    [
        pytest.param("claude-x", ["TEXT", "IMAGE"], {"text", "image", "document"}, id="claude"),
        pytest.param("gpt-x", ["TEXT", "IMAGE"], {"text", "image"}, id="other"),
        pytest.param("glm-5", ["TEXT"], {"text"}, id="words only"),
        pytest.param("claude-haiku-4.5", None, {"text", "image", "document"}, id="known, none listed"),
    ],
)
def test_documents_are_assumed_for_claude(id_, listed, inputs):
    [model] = parse({"models": [{"modelId": id_, "supportedInputTypes": listed}]})
    assert model.inputs == inputs


def test_rows_that_name_no_model_are_left_out():
    odd = [None, 5, {}, {"modelId": None}, {"modelId": ""}]
    assert [model.id for model in parse({"models": [*odd, {"modelId": "x"}]})] == ["x"]


FIELDS = (
    "modelName",
    "tokenLimits",
    "supportedInputTypes",
    "rateMultiplier",
    "additionalModelRequestFieldsSchema",
)


@given(st.dictionaries(st.sampled_from(FIELDS), json))
def test_odd_fields_never_hide_a_model(more):
    [model] = parse({"models": [{"modelId": "x", **more}]})
    assert model.context_window > 0
    assert model.max_output > 0
    assert "text" in model.inputs


@given(json)
def test_any_answer_can_be_read(value):
    assert parse({"models": value}) == () or isinstance(value, list)


def test_the_original_models_are_built_in():
    assert {"claude-sonnet-4-5", "claude-haiku-4-5"} <= {client_id(model) for model in BUILTIN}


@pytest.mark.parametrize(
    "named",
    [
        {"defaultModel": {"modelId": "b"}},
        {"defaultModelId": "b"},
        {"defaultModelId": {"modelId": "b"}},
        {"defaultModel": "b"},
        {"defaultModel": None, "defaultModelId": "b"},
    ],
)
def test_the_model_to_begin_with_is_known_by_any_way_to_name_it(named):
    listed = parse({"models": [{"modelId": "a"}, {"modelId": "b"}], **named})
    assert [model.default for model in listed] == [False, True]


@given(st.dictionaries(st.sampled_from(["defaultModel", "defaultModelId"]), json))
def test_whatever_stands_for_the_default_the_models_are_read(named):
    listed = parse({"models": [{"modelId": "a"}], **named})
    assert [model.id for model in listed] == ["a"]


ROWS = st.builds(
    Model,
    id=st.sampled_from(["auto", "claude-sonnet-4.6", "claude-sonnet-5", "claude-haiku-5"]),
    name=st.sampled_from(["a", "b"]),
    default=st.booleans(),
)


@given(st.lists(st.lists(ROWS, max_size=4), max_size=4))
def test_the_union_of_lists_has_each_model_once_and_keeps_what_any_list_names_as_the_default(lists):
    rows = [model for listed in lists for model in listed]
    found = union(lists)

    assert [model.id for model in found] == list(dict.fromkeys(model.id for model in rows))
    assert set(found) <= set(rows)
    defaults = {model.id for model in rows if model.default}
    assert {model.id for model in found if model.default} == defaults
