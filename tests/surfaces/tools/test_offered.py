"""Whatever shape a tool has, on whichever API: it is offered, or somebody is told why not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import Conversation
from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.paths import SURFACES

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
PATHS = tuple(SURFACES)


def decoded(path: str, tools: Any, **more: Any) -> Conversation:
    key = "input" if path == "/v1/responses" else "messages"
    turn = {"role": "user", "content": "Hi"}
    body = {"model": "m", "max_tokens": 9, key: [turn], "tools": tools, **more}
    return SURFACES[path].decode(json.dumps(body).encode(), {})


def shapes(name: str, description: str = "Lists.", schema: Any = SCHEMA) -> dict[str, Any]:
    """One function in every API's words, and in those that clients mix."""
    flat = {"name": name, "description": description}
    return {
        "nested": {"type": "function", "function": {**flat, "parameters": schema}},
        "nested, untyped": {"function": {**flat, "parameters": schema}},
        "flat": {"type": "function", **flat, "parameters": schema},
        "anthropic": {**flat, "input_schema": schema},
        "anthropic, typed": {"type": "custom", **flat, "input_schema": schema},
        "flat, of an unknown type": {"type": "of_tomorrow", **flat, "parameters": schema},
    }


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", shapes("x"))
def test_a_function_of_any_shape_is_offered_on_every_api(path: str, shape: str) -> None:
    found = decoded(path, [shapes("list_folder")[shape], shapes("other")["flat"]])

    first, second = found.tools
    assert (first.name, first.description, first.schema) == ("list_folder", "Lists.", SCHEMA)
    assert (first.kind, second.name, found.system) == ("function", "other", ())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("tool", "field"),
    [
        (5, "tools.1"),
        ("bash", "tools.1"),
        (None, "tools.1"),
        ({}, "tools.1.name"),
        ({"type": "function"}, "tools.1.name"),
        ({"type": "function", "name": ""}, "tools.1.name"),
        ({"type": "function", "name": 7, "parameters": SCHEMA}, "tools.1.name"),
        ({"type": "function", "function": {"parameters": SCHEMA}}, "tools.1.function.name"),
    ],
    ids=json.dumps,
)
def test_what_is_no_tool_at_all_is_refused_by_its_place(path: str, tool: Any, field: str) -> None:
    with pytest.raises(TurnFailed) as refusal:
        decoded(path, [shapes("fine")["flat"], tool])

    assert refusal.value.failure.code == "KA-REQUEST"
    assert f"`{field}`" in refusal.value.failure.message


ELSEWHERE = {
    "code_execution_20260120": {"type": "code_execution_20260120", "name": "code_execution"},
    "web_fetch_20250910": {"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 3},
    "file_search": {"type": "file_search", "vector_store_ids": ["vs_1"]},
    "code_interpreter": {"type": "code_interpreter", "container": {"type": "auto"}},
    "image_generation": {"type": "image_generation"},
    "mcp (docs)": {"type": "mcp", "server_label": "docs", "server_url": "https://docs.example.com"},
    "mcp_toolset (files)": {"type": "mcp_toolset", "mcp_server_name": "files"},
    "shell": {"type": "shell", "environment": {"type": "container_auto"}},
    "computer_use_preview": {"type": "computer_use_preview", "display_width": 800},
    "of_tomorrow": {"type": "of_tomorrow"},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ELSEWHERE)
def test_of_a_tool_that_only_other_servers_run_the_model_is_told(path: str, name: str) -> None:
    found = decoded(path, [ELSEWHERE[name], shapes("fine")["flat"]])

    assert [tool.name for tool in found.tools] == ["fine"]
    assert name in found.system[-1]


def test_servers_that_anthropic_would_ask_for_tools_are_told_of_too() -> None:
    servers = [{"type": "url", "name": "tickets", "url": "https://t.example.com"}, 5]
    found = decoded("/v1/messages", [], mcp_servers=servers)

    assert found.not_offered == ("the MCP server tickets", "an MCP server")
    assert "the MCP server tickets" in found.system[-1]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["tool_search", "tool_search_tool_bm25_20251119", "tool_search_tool_regex"])
def test_nobody_misses_a_search_among_tools_that_are_all_offered(path: str, kind: str) -> None:
    late = {**shapes("late")["anthropic"], "defer_loading": True}
    found = decoded(path, [{"type": kind, "name": kind}, late])

    assert ([tool.name for tool in found.tools], found.system) == (["late"], ())


# ---------------------------------------------------------------------- the tools that clients run

EDITOR = "str_replace_based_edit_tool"
CLIENT_TOOLS = [
    ({"type": "bash_20241022", "name": "bash"}, "bash", {"command", "restart"}, []),
    ({"type": "bash_20250124", "name": "bash"}, "bash", {"command", "restart"}, []),
    ({"type": "bash_20290101", "name": "bash"}, "bash", {"command", "restart"}, []),
    (
        {"type": "text_editor_20241022", "name": "str_replace_editor"},
        "str_replace_editor",
        {"command", "path", "file_text", "old_str", "new_str", "insert_line", "view_range"},
        ["command", "path"],
    ),
    (
        {"type": "text_editor_20250728", "name": EDITOR, "max_characters": 900},
        EDITOR,
        {"command", "path", "file_text", "old_str", "new_str", "insert_line", "insert_text", "view_range"},
        ["command", "path"],
    ),
    (
        {"type": "memory_20250818", "name": "memory"},
        "memory",
        {
            *("command", "path", "file_text", "old_str", "new_str", "insert_line", "insert_text"),
            *("view_range", "old_path", "new_path"),
        },
        ["command"],
    ),
    (
        {"type": "computer_20241022", "name": "computer", "display_width_px": 640, "display_height_px": 480},
        "computer",
        {"action", "coordinate", "text"},
        ["action"],
    ),
    (
        {"type": "computer_20251124", "name": "computer", "enable_zoom": True},
        "computer",
        {
            *("action", "coordinate", "text", "start_coordinate", "scroll_direction", "scroll_amount"),
            *("duration", "region"),
        },
        ["action"],
    ),
    ({"type": "shell"}, "shell", {"commands", "timeout_ms", "max_output_length"}, ["commands"]),
    (
        {"type": "shell", "environment": {"type": "local"}},
        "shell",
        {"commands", "timeout_ms", "max_output_length"},
        ["commands"],
    ),
    (
        {"type": "local_shell"},
        "local_shell",
        {"command", "env", "working_directory", "timeout_ms", "user"},
        ["command"],
    ),
    ({"type": "apply_patch"}, "apply_patch", {"type", "path", "diff"}, ["type", "path"]),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("tool", "name", "parameters", "required"), CLIENT_TOOLS)
def test_a_tool_that_the_client_runs_is_offered_with_its_published_parameters(
    path: str, tool: dict[str, Any], name: str, parameters: set[str], required: list[str]
) -> None:
    found = decoded(path, [tool])

    [offered] = found.tools
    assert (offered.name, set(offered.schema["properties"])) == (name, parameters)
    assert offered.schema.get("required", []) == required
    assert offered.description
    assert found.system == ()


def test_each_version_of_a_tool_has_its_own_commands() -> None:
    tools = [
        {"type": "text_editor_20250124", "name": "a"},
        {"type": "text_editor_20250429", "name": "b"},
        {"type": "computer_20250124", "name": "c"},
        {"type": "computer_20251124", "name": "d"},
    ]
    a, b, c, d = decoded("/v1/messages", tools).tools

    assert "undo_edit" in a.schema["properties"]["command"]["enum"]
    assert "undo_edit" not in b.schema["properties"]["command"]["enum"]
    assert "scroll" in c.schema["properties"]["action"]["enum"]
    assert "zoom" not in d.schema["properties"]["action"]["enum"], "nobody enabled it"


def test_what_a_client_says_of_its_screen_and_its_editor_the_model_reads() -> None:
    screen = {"type": "computer_20250124", "name": "computer", "display_width_px": 811}
    tools = [
        {**screen, "display_height_px": 599},
        {"type": "text_editor_20250728", "name": EDITOR, "max_characters": 4321},
    ]
    computer, editor = decoded("/v1/messages", tools).tools

    assert "811" in computer.description
    assert "599" in computer.description
    assert "4321" in editor.description


def test_the_skills_of_a_shell_are_told() -> None:
    skill = {"name": "slides", "description": "Makes slides.", "path": "/skills/slides"}
    [shell] = decoded(
        "/v1/responses", [{"type": "shell", "environment": {"type": "local", "skills": [skill, 5]}}]
    ).tools

    assert "slides (/skills/slides): Makes slides." in shell.description


def test_the_members_of_a_computer_toolset_are_tools_of_their_own() -> None:
    toolset = {"type": "computer_toolset_20260801", "configs": {"zoom": {"enabled": False}, "key": None}}
    tools = {tool.name: tool for tool in decoded("/v1/messages", [toolset]).tools}

    assert {"left_click", "type", "key", "screenshot", "scroll"} < set(tools)
    assert "zoom" not in tools
    assert tools["scroll"].schema["required"] == ["scroll_direction", "scroll_amount"]


def test_a_search_for_tools_that_the_client_runs_is_offered_as_it_says() -> None:
    finder = {"type": "tool_search", "execution": "client", "description": "Finds.", "parameters": SCHEMA}
    [tool] = decoded("/v1/responses", [finder]).tools

    assert (tool.name, tool.description, tool.schema) == ("tool_search", "Finds.", SCHEMA)


# --------------------------------------------------------------------------------- the web's search

SEARCHES = ["web_search_20250305", "web_search_20260318", "web_search", "web_search_preview_2025_03_11"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_of_the_web_is_offered_with_what_bounds_it(path: str, kind: str) -> None:
    place = {"type": "approximate", "city": "Graz", "country": "AT"}
    tool = {"type": kind, "name": "web_search", "max_uses": 3, "user_location": place}
    found = decoded(path, [tool | {"allowed_domains": ["a.example"], "blocked_domains": None}])

    [offered] = found.tools
    assert found.web_search is not None
    assert (found.web_search.name, found.web_search.max_uses) == (offered.name, 3) == ("web_search", 3)
    assert found.web_search.allowed_domains == ("a.example",)
    assert offered.schema["required"] == ["query"]
    assert "a.example" in offered.description
    assert "Graz, AT" in offered.description


def test_openai_s_search_has_its_domains_under_filters() -> None:
    tool = {"type": "web_search", "filters": {"allowed_domains": ["b.example"]}}
    search = decoded("/v1/responses", [tool]).web_search

    assert search is not None
    assert search.allowed_domains == ("b.example",)


@pytest.mark.parametrize(("calls", "bound"), [(2, 2), (0, None), (None, None), ("2", None)])
def test_the_calls_that_a_client_allows_bound_the_searches(calls: Any, bound: int | None) -> None:
    search = decoded("/v1/responses", [{"type": "web_search"}], max_tool_calls=calls).web_search

    assert search is not None
    assert search.max_uses == bound


def test_chat_completions_ask_for_a_search_in_a_field_of_its_own() -> None:
    place = {"type": "approximate", "approximate": {"city": "Linz"}}
    found = decoded("/v1/chat/completions", [], web_search_options={"user_location": place})

    assert found.web_search is not None
    assert "Linz" in found.tools[0].description


@pytest.mark.parametrize("path", PATHS)
def test_a_function_that_is_called_like_the_search_keeps_its_name(path: str) -> None:
    own = shapes("web_search")["flat"]
    found = decoded(path, [{"type": "web_search_preview"}, own])

    assert found.web_search is not None
    assert found.web_search.name != "web_search"
    assert sorted(tool.name for tool in found.tools) == sorted(["web_search", found.web_search.name])


def allowed(mode: str, *names: str) -> dict[str, Any]:
    entries = [
        {"type": name} if name == "web_search" else {"type": "function", "name": name} for name in names
    ]
    return {"type": "allowed_tools", "mode": mode, "tools": entries}


@pytest.mark.parametrize(
    ("path", "choice", "forced"),
    [
        ("/v1/messages", {"type": "tool", "name": "web_search"}, True),
        ("/v1/messages", {"type": "auto"}, False),
        ("/v1/messages", {"type": "none"}, None),
        ("/v1/messages", {"type": "tool", "name": "fine"}, None),
        ("/v1/responses", {"type": "web_search_preview"}, True),
        ("/v1/responses", {"type": "web_search"}, True),
        ("/v1/responses", {"type": "function", "name": "fine"}, None),
        ("/v1/responses", "none", None),
        ("/v1/chat/completions", "none", None),
        ("/v1/chat/completions", "auto", False),
        ("/v1/chat/completions", "required", False),
        ("/v1/responses", allowed("auto", "web_search"), False),
        ("/v1/responses", allowed("required", "web_search"), True),
        ("/v1/responses", allowed("required", "web_search", "fine"), False),
        ("/v1/responses", allowed("required", "fine"), None),
    ],
)
def test_a_choice_of_tools_counts_for_the_search_too(path: str, choice: Any, forced: bool | None) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}, shapes("fine")["flat"]]
    search = decoded(path, tools, tool_choice=choice).web_search

    assert (search and search.forced) == forced


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("choice", "forced"), [("required", True), ("auto", False), (None, False)])
def test_a_call_that_is_forced_is_of_the_search_where_that_is_all_there_is(
    path: str, choice: Any, forced: bool
) -> None:
    search = decoded(
        path, [{"type": "web_search_20250305", "name": "web_search"}], tool_choice=choice
    ).web_search

    assert search is not None
    assert search.forced is forced


# -------------------------------------------------------------------------------------------- laws

names = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
known = st.sampled_from([*ELSEWHERE.values(), *(row[0] for row in CLIENT_TOOLS)])
functions = st.builds(
    lambda name, shape, schema: shapes(name, schema=schema)[shape],
    names,
    st.sampled_from(list(shapes("x"))),
    st.one_of(st.just(SCHEMA), st.none(), st.booleans(), st.text(max_size=3)),
)
odd = st.one_of(st.none(), st.integers(), st.text(max_size=3), st.dictionaries(names, st.none(), max_size=2))


@given(st.sampled_from(PATHS), st.lists(st.one_of(functions, known, odd), max_size=5))
def test_every_entry_is_offered_or_told_or_refused_by_its_place(path: str, tools: list[Any]) -> None:
    try:
        found = decoded(path, tools)
    except TurnFailed as refusal:
        place = re.search(r"`tools\.(\d+)", refusal.failure.message)
        if place is None or tools[int(place[1])] in ELSEWHERE.values():
            raise
        return
    offered = {tool.name for tool in found.tools}
    note = found.system[-1] if found.system else ""
    for tool in tools:
        name = tool.get("function", tool).get("name") or tool["type"]
        label = tool.get("server_label") or tool.get("mcp_server_name")
        assert name in offered or name in note or (label and label in note), (tool, offered, note)
