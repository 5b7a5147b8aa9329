"""The built-in model: what it does with what real clients ask."""

from __future__ import annotations

import base64
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.simulator.agent import respond
from kiro_auth.simulator.catalog import MODELS
from kiro_auth.simulator.refusals import Refusal
from kiro_auth.simulator.script import Reasoning, Step, Text, ToolUse
from kiro_auth.simulator.validator import check_chat
from kiro_auth.simulator.wire import sign_hidden

STRING = {"type": "string"}


def tool(name: str, *required: str, **properties: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {**dict.fromkeys(required, STRING), **properties},
    } | ({"required": list(required)} if required else {})
    return {"toolSpecification": {"name": name, "description": name, "inputSchema": {"json": schema}}}


OPENCODE = [
    tool("bash", "command", "description", timeout={"type": "number"}),
    tool("glob", "pattern", path=STRING),
    tool("read", "filePath", offset={"type": "number"}),
    tool("write", "content", "filePath"),
    tool("task", "prompt"),
]
CLAUDE_CODE = [
    tool("Bash", "command", description=STRING),
    tool("Read", "file_path"),
    tool("Write", "file_path", "content"),
]
CODEX = [tool("exec_command", "cmd", workdir=STRING), tool("write_stdin", "session_id")]

OPENCODE_SYSTEM = "You are a coding agent.\n<env>\n  Working directory: /home/ada/p\n</env>\n\n"
CLAUDE_SYSTEM = "You are an agent.\n\n# Environment\n - Primary working directory: /home/ada/p\n\n"
CODEX_SYSTEM = (
    "You are an agent.\n\n<environment_context>\n  <cwd>/home/ada/p</cwd>\n</environment_context>\n\n"
)


def body(
    words: str, tools: list[dict[str, Any]] | None = None, *, history: list[Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A request; `fields` are those for the model, all else is of the message."""
    fields = more.pop("fields", None)
    results = more.pop("results", None)
    context = {"tools": tools} if tools else {}
    if results:
        context["toolResults"] = results
    message = {"content": words, "modelId": "claude-sonnet-4.6", "userInputMessageContext": context, **more}
    made: dict[str, Any] = {
        "conversationState": {
            "chatTriggerType": "MANUAL",
            "history": history or [],
            "currentMessage": {"userInputMessage": message},
        }
    }
    return made | ({"additionalModelRequestFields": fields} if fields else {})


def reply(*given: Any, **more: Any) -> list[Step]:
    made = body(*given, **more)
    check_chat(made, protocol="rest", models=MODELS)
    return respond(made)


def call(steps: list[Step]) -> ToolUse:
    [found] = [step for step in steps if isinstance(step, ToolUse)]
    return found


def said(steps: list[Step]) -> str:
    assert not any(isinstance(step, ToolUse) for step in steps)
    return "".join(step.content for step in steps if isinstance(step, Text))


def answered(
    name: str, given_input: dict[str, Any], result: str, tools: list[dict[str, Any]], status: str = "success"
) -> str:
    """What the model says when its call was answered."""
    history = [
        {"userInputMessage": {"content": "Please."}},
        {
            "assistantResponseMessage": {
                "content": "",
                "toolUses": [{"toolUseId": "t1", "name": name, "input": given_input}],
            }
        },
    ]
    results = [{"toolUseId": "t1", "status": status, "content": [{"text": result}]}]
    return said(reply("", tools, history=history, results=results))


# ------------------------------------------------------------------------------------------- calls

WRITE = "Write a file named hello.txt with the content: Hello from Kiro"
PATH = "/home/ada/p/hello.txt"
CALLS = {
    "opencode writes": (
        OPENCODE_SYSTEM + WRITE, OPENCODE, "write", {"content": "Hello from Kiro", "filePath": PATH},
    ),
    "opencode's quotes around the prompt": (
        f'{OPENCODE_SYSTEM}"{WRITE}"\n', OPENCODE, "write", {"content": "Hello from Kiro", "filePath": PATH},
    ),
    "claude code writes": (
        f"{CLAUDE_SYSTEM}<system-reminder>\nRead b.txt\n</system-reminder>\n\n{WRITE}",
        CLAUDE_CODE, "Write", {"file_path": PATH, "content": "Hello from Kiro"},
    ),
    "codex writes through its shell": (
        CODEX_SYSTEM + WRITE, CODEX, "exec_command", {"cmd": f"printf '%s\\n' 'Hello from Kiro' > {PATH}"},
    ),
    "in other words": (
        "Please create a file called /tmp/a.md with text `# A`", OPENCODE, "write",
        {"content": "# A", "filePath": "/tmp/a.md"},
    ),
    "several lines": (
        "Create the file a.txt with the contents:\nRead b.txt\nRun `ls`\n\nThanks!", OPENCODE, "write",
        {"content": "Read b.txt\nRun `ls`", "filePath": "a.txt"},
    ),
    "a windows path": (
        r"Write a file named C:\p\a.txt with the content: A", OPENCODE, "write",
        {"content": "A", "filePath": r"C:\p\a.txt"},
    ),
    "opencode reads": (OPENCODE_SYSTEM + "Read hello.txt.", OPENCODE, "read", {"filePath": PATH}),
    "claude code reads": (
        CLAUDE_SYSTEM + "Read the file `./hello.txt` and tell me.", CLAUDE_CODE, "Read", {"file_path": PATH},
    ),
    "codex reads": (CODEX_SYSTEM + "read hello.txt", CODEX, "exec_command", {"cmd": f"cat {PATH}"}),
    "opencode runs": (
        "Run `git status`", OPENCODE, "bash",
        {"command": "git status", "description": "Runs the command"},
    ),
    "claude code runs": (
        "Now run the command: echo hi", CLAUDE_CODE, "Bash",
        {"command": "echo hi", "description": "Runs the command"},
    ),
    "codex runs": ('execute "ls -l"', CODEX, "exec_command", {"cmd": "ls -l"}),
    "a command as a list": (
        "Run `ls`", [tool("shell", command={"type": "array"})], "shell", {"command": ["bash", "-lc", "ls"]},
    ),
    "a list without a shell": ("List the files here.", OPENCODE[1:], "glob", {"pattern": "*"}),
    "claude code lists": (
        "list files", CLAUDE_CODE, "Bash", {"command": "ls", "description": "Runs the command"},
    ),
    "the last instruction counts": ("Read a.txt\n\nRead b.txt", OPENCODE, "read", {"filePath": "b.txt"}),
    "what else is required": (
        "Read a.txt",
        [tool("view", "path", "why", "mode", mode={"type": "string", "enum": ["all", "some"]})],
        "view", {"path": "a.txt", "why": "", "mode": "all"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_an_instruction_becomes_a_call_of_the_client_s_own_tool(name: str) -> None:
    words, tools, tool_name, given_input = CALLS[name]

    made = call(reply(words, tools))

    assert (made.name, dict(made.input)) == (tool_name, given_input)


NO_CALLS = {
    "a greeting": ("Hello there", OPENCODE),
    "no tools": (WRITE, []),
    "no tool for it": (WRITE, [tool("task", "prompt")]),
    "a word that is no file": ("Read on, please.", OPENCODE),
    "a file without name": ("Write a file with the content: A", OPENCODE),
    "instructions that speak of summaries": ("Always give a summary.\n\nHello", []),
    "the tests": ("Run the tests", OPENCODE),
}


@pytest.mark.parametrize("name", NO_CALLS)
def test_where_nothing_can_be_called_the_model_answers(name: str) -> None:
    words, tools = NO_CALLS[name]

    answer = said(reply(words, tools))

    assert answer.startswith("Hello from the simulated model.")
    assert words.split()[-1] in answer


# ----------------------------------------------------------------------------------------- answers

REPORTS = {
    "written": ("write", {"filePath": "/p/a.txt", "content": "A"}, "ok", "success", "I wrote a.txt."),
    "read": ("read", {"filePath": "/p/a.txt"}, "1: A", "success", "a.txt says:\n1: A"),
    "read with a reminder": (
        "read",
        {"filePath": "a.txt"},
        "A\n<system-reminder>\nBe brief.\n</system-reminder>",
        "success",
        "a.txt says:\nA",
    ),
    "run": ("bash", {"command": "ls"}, "a.txt", "success", "The bash call is done. It said:\na.txt"),
    "run in silence": ("bash", {"command": "true"}, "", "success", "The bash call is done."),
    "failed": ("write", {"filePath": "/p/a.txt"}, "read-only", "error", "The write call failed: read-only"),
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_result_is_answered_with_words_and_no_further_call(name: str) -> None:
    tool_name, given_input, result, status, report = REPORTS[name]

    assert answered(tool_name, given_input, result, OPENCODE, status) == report


def test_images_and_documents_are_seen() -> None:
    png = {"format": "png", "source": {"bytes": base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()}}
    pdf = {"name": "report", "format": "pdf", "source": {"bytes": base64.b64encode(b"%PDF").decode()}}

    answer = said(reply("What is this?", images=[png], documents=[pdf]))

    assert answer == "I see an image (png, 16 bytes). I read the document report (pdf, 4 bytes)."


TITLES = {
    "opencode": 'You are a title generator.\n\nGenerate a title for this:\n\n"Fix the login, please."',
    "claude code": "Generate a concise, sentence-case title.\n\nFix the login, please.",
}


@pytest.mark.parametrize("words", TITLES.values(), ids=TITLES)
def test_a_title_is_the_prompt_s_first_words(words: str) -> None:
    assert said(reply(words)) == "Fix the login please"


@pytest.mark.parametrize(
    "words",
    ["Your task is to create a detailed summary of the conversation so far.", "Create a handoff summary."],
)
def test_a_summary_tells_how_much_was_said(words: str) -> None:
    history = [
        {"userInputMessage": {"content": "Fix the login page."}},
        {"assistantResponseMessage": {"content": "Done."}},
    ]

    answer = said(reply(words, OPENCODE, history=history))

    assert answer.startswith("Summary: 2 messages and 0 tool results")
    assert "Fix the login page." in answer


# --------------------------------------------------------------------------------------- reasoning


def test_reasoning_is_native_where_the_request_has_the_field() -> None:
    fields = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}

    first, *others = reply("Hello", fields=fields)

    assert isinstance(first, Reasoning)
    assert first.text
    assert not any(isinstance(step, Reasoning) for step in others)


def test_reasoning_stands_in_tags_where_the_prompt_asks_for_them() -> None:
    asked = "<thinking_mode>enabled</thinking_mode><max_thinking_length>4000</max_thinking_length>\n\nHello"

    answer = said(reply(asked))

    assert answer.startswith("<thinking>")
    assert answer.count("</thinking>\n\n") == 1


def test_thinking_that_is_switched_off_is_off() -> None:
    fields = {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}

    assert not any(isinstance(step, Reasoning) for step in reply("Hello", fields=fields))


@pytest.mark.parametrize("effort", [None, "low", "none"])
def test_what_a_gpt_model_reasons_is_hidden_and_comes_last(effort: str | None) -> None:
    fields = {"reasoning": {"effort": effort}} if effort else None

    steps = reply("Run `ls`", OPENCODE, modelId="gpt-5.6-sol", fields=fields)

    thoughts = [step for step in steps if isinstance(step, Reasoning)]
    assert thoughts == ([] if effort == "none" else [Reasoning("...", sign_hidden())])
    assert not thoughts or steps[-1] == thoughts[0]


def test_without_either_there_is_no_reasoning() -> None:
    assert "<thinking>" not in said(reply("Hello"))


# ---------------------------------------------------------------------------------------- any body


def test_a_body_of_another_shape_is_refused() -> None:
    with pytest.raises(Refusal, match="conversationState"):
        respond({})


@pytest.mark.slow
def test_a_long_prompt_is_answered_as_well() -> None:
    assert call(reply("Vec<u8> " * 100_000 + "\n\nRead a.txt", OPENCODE)).name == "read"


@given(st.text(), st.sampled_from([OPENCODE, CLAUDE_CODE, CODEX, []]))
def test_any_words_get_an_answer(words: str, tools: list[dict[str, Any]]) -> None:
    assert any(isinstance(step, Text) and step.content for step in respond(body(words, tools)))


def test_what_follows_with_then_is_done_turn_by_turn_and_with_also_in_one_turn() -> None:
    words = "Write a file named a.txt with the content: A\n\nAlso run `ls`.\n\nThen read a.txt."
    history: list[Any] = []
    done: list[list[str]] = []
    results: list[Any] = []
    while calls := [
        step
        for step in reply(words if not history else "", OPENCODE, history=history, results=results)
        if isinstance(step, ToolUse)
    ]:
        done.append([call.name for call in calls])
        said = {"content": words} if not history else {
            "content": "", "userInputMessageContext": {"toolResults": results}
        }  # fmt: skip
        made = [
            {"toolUseId": f"t{len(history)}-{n}", "name": call.name, "input": call.input}
            for n, call in enumerate(calls)
        ]
        results = [
            {"toolUseId": use["toolUseId"], "status": "success", "content": [{"text": "ok"}]} for use in made
        ]
        history += [
            {"userInputMessage": said},
            {"assistantResponseMessage": {"content": "", "toolUses": made}},
        ]

    assert done == [["write", "bash"], ["read"]]


def test_after_a_call_that_failed_it_says_so_and_calls_no_more() -> None:
    words = "Run `ls`\n\nThen read a.txt"
    history = [
        {"userInputMessage": {"content": words}},
        {
            "assistantResponseMessage": {
                "content": "",
                "toolUses": [{"toolUseId": "t1", "name": "bash", "input": {}}],
            }
        },
    ]
    results = [{"toolUseId": "t1", "status": "error", "content": [{"text": "no"}]}]

    assert said(reply("", OPENCODE, history=history, results=results)) == "The bash call failed: no"


# ------------------------------------------------------------------------- told in words what is wanted

JSON_MODE = "Answer with one JSON object, and with nothing else."
BY_SCHEMA = "Answer with one JSON value that matches it.\n\nJSON Schema of the answer:\n\n"


def json_of(words: str) -> Any:
    """The JSON of an answer, which stands in a fence."""
    [said] = respond(body(words))
    assert isinstance(said, Text)
    head, _, rest = said.content.partition("\n")
    assert (head, rest[-4:]) == ("```json", "\n```")
    return json.loads(rest[:-4])


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"a": STRING}, "required": ["a"]}, {"a": "words"}),
        (
            {"type": "object", "properties": {"a": STRING, "b": {"type": "boolean"}}},
            {"a": "words", "b": True},
        ),
        ({"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2}, ["x", "x"]),
        ({"$defs": {"A": {"const": 7}}, "properties": {"a": {"$ref": "#/$defs/A"}}}, {"a": 7}),
        ({"anyOf": [{"type": "integer", "minimum": 3}, {"type": "null"}]}, 3),
        ({"type": ["null", "string"]}, None),
        ({"type": "string", "minLength": 7}, "words.."),
        ({"type": "string", "maxLength": 2}, "wo"),
        ({}, "words"),
    ],
)
def test_told_of_a_schema_it_answers_with_a_value_of_it(schema: Any, value: Any) -> None:
    jsonschema.validate(value, schema)

    assert json_of(f"{BY_SCHEMA}{json.dumps(schema)}\n\nGo on.") == value


def test_of_several_schemas_the_last_that_is_json_counts() -> None:
    sketch = "The schema is:\n{ outcome: allow | deny }\n\n"
    schema = {"properties": {"a": {"const": 7}}}

    for words in (sketch + BY_SCHEMA + json.dumps(schema), f"{BY_SCHEMA}{json.dumps(schema)}\n\n{sketch}"):
        assert json_of(words) == {"a": 7}


def test_a_schema_that_holds_itself_ends() -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}}

    assert "next" in json_of(BY_SCHEMA + json.dumps(schema))


def test_told_to_answer_with_json_it_does_and_knows_a_key_that_it_is_told() -> None:
    assert json_of(f"{JSON_MODE}\n\nThe sky?") == {"answer": "The sky?"}
    by_words = 'Respond with a JSON object of this schema:\n\n{"properties": {"a": {"const": 7}}}\n\nNow.'
    assert json_of(by_words) == {"a": 7}
    assert json_of(f"{JSON_MODE} It has the key color.\n\nThe sky?") == {"color": "The sky?"}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Answer this with a call of the tool write, not with words alone.", "write"),
        ("Answer this with a call of one of your tools, not with words alone.", "bash"),
        ("Answer this with a call of one of the tools gone, write, not with words alone.", "write"),
        ("Answer this with a call of the tool gone, not with words alone.", None),
        ("You may call the tool write.", None),
    ],
)
def test_told_to_call_a_tool_it_calls_one_that_there_is(words: str, name: str | None) -> None:
    calls = [step.name for step in respond(body(words, OPENCODE)) if isinstance(step, ToolUse)]

    assert calls == ([name] if name else [])
