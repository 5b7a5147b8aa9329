"""A small model that behaves like a coding agent's, so that real clients get sensible conversations.

It reads the newest user's words: asked to write, read, run or list something, it calls the tool that the
client declared for it; with the results in hand it says what came of it.  An instruction that begins with
"Then" is for the turn after the one before it, one that begins with "Also" for the same turn.

Told to answer with JSON it does so, though in a code fence, as models do against all instructions.  Told to
answer with a call it makes one.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from kiro_auth.simulator.instances import instance
from kiro_auth.simulator.request import Assistant, Chat, ToolSpecification, ToolUse, User, parsed
from kiro_auth.simulator.script import Reasoning, Step, Text
from kiro_auth.simulator.script import ToolUse as Call
from kiro_auth.simulator.wire import HIDDEN, sign_hidden

_BEGIN: Final = (
    r"(?im)(?:^|(?<=[.!?:] ))[ \t]*(?P<quote>[\"'`]?)[ \t]*"
    r"(?:please |now |(?P<join>then |also )|can you |could you )*"
)
_FILE: Final = r"[`\"']?(?P<path>[\w~./\\:-]*\w)[`\"']?"
_WRITE: Final = re.compile(
    _BEGIN + r"(?:write|create|make|add|save)\b[^\n]{0,40}?\bfile\s+(?:named\s+|called\s+|at\s+)?"
    r"(?!(?:with|that|and|containing)\b)" + _FILE +
    r"[^\n]{0,20}?\b(?:content|contents|text|containing)\b(?:\s+is\b|\s*[:=])*\s*"
    r"(?P<content>[^\n]+(?:\n[^\n]+)*)"
)  # fmt: skip
_READ: Final = re.compile(_BEGIN + r"read\s+(?:the\s+)?(?:file\s+)?(?:named\s+|called\s+)?" + _FILE)
_RUN: Final = re.compile(
    _BEGIN + r"(?:run|execute)\b\s*(?:(?:the\s+)?(?:shell\s+)?command\b)?\s*:?\s*"
    r"(?P<mark>[`\"'])(?P<command>[^\n]+?)(?P=mark)"
)
_RUN_LINE: Final = re.compile(
    _BEGIN + r"(?:run|execute)\s+(?:(?:the\s+)?(?:shell\s+)?command\b\s*:?\s*|:\s*)(?P<command>[^\n`\"']+)"
)
_SEARCH: Final = re.compile(
    _BEGIN + r"(?:perform an? )?(?:web )?search\b[^\n:]{0,40}?\bfor\b(?: the query)?:?\s*(?P<query>[^\n]+)"
)
_LIST: Final = re.compile(_BEGIN + r"list\b[^\n]{0,20}\bfiles\b")

_FOLDER: Final = re.compile(r"orking directory:[ \t]*([^\n<]+)|<cwd>([^\n<]+)</cwd>")
_ABSOLUTE: Final = re.compile(r"[/~\\]|[A-Za-z]:[\\/]")
_TAGGED: Final = re.compile(r"<([\w-]+)>.*?</\1>", re.DOTALL)
_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_JSON: Final = re.compile(r"\b(?:answer|respond) with (?:a|one) JSON (?:object|value)\b", re.IGNORECASE)
_SCHEMA: Final = re.compile(r"\bschema\b[^{}\n]*:\s*(?=\{)", re.IGNORECASE)
_KEY: Final = re.compile(r"\bthe key [`\"']?(?P<key>\w+)")
_FORCED: Final = re.compile(
    r"\banswer this with a call of (?:the tool (?P<one>[\w-]+)|"
    r"one of (?:your|the) tools(?: (?P<some>[\w-]+(?:, [\w-]+)*))?)",
    re.IGNORECASE,
)
_TITLE: Final = re.compile(r"title generator|generate (?:a|the)\b[^.\n]{0,40}\btitle", re.IGNORECASE)
_SUMMARY: Final = re.compile(r"\bsummar(?:y|i[sz])|handoff|continuing our conversation", re.IGNORECASE)
_COMPACTION: Final = re.compile(r"\bwrite\b[^.]{0,40}\b(?:but|only) (?:the|a) summary\b", re.IGNORECASE)
_THINKING_MODE: Final = re.compile(r"<thinking_mode>(?:enabled|adaptive)")
_LONGEST_PROMPT: Final = 20_000  # characters in which the newest words are looked for
_LONGEST_QUOTE: Final = 2000  # characters of a tool's answer that are repeated

_TOOLS: Final = {
    # what it does: the names that clients give to the tool, in lower case
    "write": ("write", "write_file", "create_file"),
    "read": ("read", "read_file", "view"),
    "run": ("bash", "exec_command", "shell", "run_command"),
    "list": ("glob", "list", "ls", "list_files"),
    "search": ("web_search", "websearch"),
}
_PARAMETERS: Final = {
    # what it means: the names that clients give to the parameter
    "path": ("filePath", "file_path", "path", "filename"),
    "content": ("content", "contents", "text"),
    "command": ("command", "cmd"),
    "description": ("description",),
    "pattern": ("pattern",),
    "query": ("query",),
}
_FILLERS: Final = {"string": "", "boolean": False, "integer": 1, "number": 1, "array": [], "object": {}}


def respond(body: Any) -> list[Step]:
    """The steps of a reply to a body of GenerateAssistantResponse.  Raises Refusal for another shape."""
    return list(_Reply(parsed(body)).steps())


class _Reply:
    def __init__(self, chat: Chat) -> None:
        self._turns: Sequence[User | Assistant] = chat.conversation_state.messages
        self._fields: Mapping[str, Any] = chat.additional_model_request_fields or {}
        current = self._turns[-1]
        self._current = current if isinstance(current, User) else User(content="")
        self._tools = {tool.name.lower(): tool for tool in self._current.tools}
        self._prompt = _prompt(self._current.content)

    def steps(self) -> Iterator[Step]:
        """The reply."""
        yield from self._thinking()
        calls = self._calls() or self._forced()
        yield Text("I will do that." if calls else self._as_json() or self._answer())
        yield from calls
        if self._is_gpt() and _member(self._fields, "reasoning").get("effort") != "none":
            yield Reasoning(HIDDEN, sign_hidden())  # theirs comes last

    def _thinking(self) -> Iterator[Step]:
        off = _member(self._fields, "thinking").get("type") == "disabled"
        if not off and not {"thinking", "output_config"}.isdisjoint(self._fields):
            yield Reasoning(self._thought())
        elif _THINKING_MODE.search(self._turns[0].content) and not self._current.results:
            yield Text(f"<thinking>{self._thought()}</thinking>\n\n")

    def _is_gpt(self) -> bool:
        return (self._current.model_id or "").startswith("gpt-")

    def _thought(self) -> str:
        if self._current.results:
            return "The results are here; let me say what came of it."
        return f"Let me see what is wanted: {_last_words(self._prompt)}"

    # ----------------------------------------------------------------------------------------- calls

    def _calls(self) -> Sequence[Call]:
        """The calls of this turn: the next of those that the newest words ask for, unless one failed."""
        if not self._tools or _COMPACTION.search(self._prompt):
            return ()
        if any(result.status == "error" for result in self._current.results):
            return ()
        asked = next((n for n in range(len(self._turns) - 1, -1, -1) if _asks(self._turns[n])), None)
        if asked is None:
            return ()
        plan = self._plan(_prompt(self._turns[asked].content))
        done = sum(bool(_calls(turn)) for turn in self._turns[asked:])
        return plan[done] if done < len(plan) else ()

    def _plan(self, prompt: str) -> list[list[Call]]:
        """The calls that the last instructions in the prompt ask for, turn by turn, where tools can do it."""
        found = sorted(
            ((match, make) for pattern, make in self._instructions() for match in pattern.finditer(prompt)),
            key=lambda instruction: instruction[0].start(),
        )
        plan: list[list[Call]] = []
        end = 0
        for match, make in found:
            if match.start() < end:  # words of the file that an instruction before wants written
                continue
            end = match.end()
            if call := make(match):
                join = (match["join"] or "").strip().lower()
                if join == "also" and plan:
                    plan[-1].append(call)
                else:
                    plan = [*plan, [call]] if join == "then" else [[call]]
        return plan

    def _forced(self) -> Sequence[Call]:
        """The call that the newest words insist on, of a tool that there is."""
        if (forced := _FORCED.search(self._current.content)) is None:
            return ()
        names = re.findall(r"[\w-]+", forced["one"] or forced["some"] or "")
        found = (tool for tool in self._current.tools if not names or tool.name in names)
        return [Call(tool.name, instance(tool.input_schema.json)) for tool in found][:1]

    def _instructions(self) -> Iterator[tuple[re.Pattern[str], Callable[[re.Match[str]], Call | None]]]:
        yield _WRITE, lambda match: self._write(match["path"], _content(match))
        yield _READ, lambda match: self._read(match["path"])
        yield _RUN, lambda match: self._run(match["command"])
        yield _RUN_LINE, lambda match: self._run(match["command"].strip())
        yield _SEARCH, lambda match: self._use("search", query=match["query"].strip())
        yield _LIST, lambda _: self._run("ls") or self._use("list", pattern="*")

    def _write(self, name: str, content: str) -> Call | None:
        path = self._absolute(name)
        shell = f"printf '%s\\n' {shlex.quote(content)} > {shlex.quote(path)}"
        return self._use("write", path=path, content=content) or self._run(shell)

    def _read(self, name: str) -> Call | None:
        if not re.search(r"[./\\]", name):  # a word, not a file
            return None
        path = self._absolute(name)
        return self._use("read", path=path) or self._run(f"cat {shlex.quote(path)}")

    def _run(self, command: str) -> Call | None:
        return self._use("run", command=command, description="Runs the command")

    def _use(self, action: str, **known: str) -> Call | None:
        tool = next((self._tools[name] for name in _TOOLS[action] if name in self._tools), None)
        return None if tool is None else Call(tool.name, _filled(tool, known))

    def _absolute(self, name: str) -> str:
        """The path as tools want it, below the working directory that the client told."""
        if _ABSOLUTE.match(name):
            return name
        for turn in self._turns:
            if found := _FOLDER.search(turn.content):
                return f"{(found[1] or found[2]).strip().rstrip('/')}/{name.removeprefix('./')}"
        return name

    # ------------------------------------------------------------------------------------------ text

    def _answer(self) -> str:
        if _COMPACTION.search(self._prompt):
            return self._summary()
        if self._current.results:
            return "\n".join([*self._reports(), *self._seen()])
        everything = f"{self._turns[0].content}\n{self._current.content}"
        if not self._tools and _TITLE.search(everything):
            return " ".join(re.findall(r"\w+", self._prompt.rpartition("\n\n")[2])[:6]) or "A conversation"
        # The first message begins with the client's instructions, which may speak of anything.
        asked = self._prompt if len(self._turns) > 1 else _last_words(self._prompt)
        if _SUMMARY.search(asked):
            return self._summary()
        seen = " ".join(self._seen())
        return seen or f"Hello from the simulated model. You said: {_last_words(self._prompt)}"

    def _as_json(self) -> str:
        """The answer as JSON, where the instructions want that."""
        told = self._turns[0].content
        if not _JSON.search(told):
            return ""
        if schemas := [*_schemas(told)]:
            answer = instance(schemas[-1])
        else:
            key = _KEY.search(told)
            answer = {key["key"] if key else "answer": _last_words(self._prompt)}
        return f"```json\n{json.dumps(answer, indent=2)}\n```"

    def _summary(self) -> str:
        users = [turn for turn in self._turns[:-1] if isinstance(turn, User)]
        results = sum(len(user.results) for user in users)
        first = _last_words(_prompt(users[0].content)) if users else _last_words(self._prompt)
        return (
            f"Summary: {len(self._turns) - 1} messages and {results} tool results so far. "
            f"It began with: {first}"
        )

    def _seen(self) -> Iterator[str]:
        for image in self._current.images or []:
            yield f"I see an image ({image.format}, {len(image.source.data)} bytes)."
        for document in self._current.documents or []:
            size = len(document.source.data)
            yield f"I read the document {document.name} ({document.format}, {size} bytes)."

    def _reports(self) -> Iterator[str]:
        calls = {call.tool_use_id: call for turn in self._turns for call in _calls(turn)}
        for result in self._current.results:
            parts = (json.dumps(part.json) if part.text is None else part.text for part in result.content)
            said = _REMINDER.sub("", "\n".join(parts)).strip()[:_LONGEST_QUOTE]
            call = calls.get(result.tool_use_id)
            yield _report(call, said, failed=result.status == "error")


def _member(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = fields.get(name)
    return member if isinstance(member, dict) else {}


def _schemas(told: str) -> Iterator[Any]:
    """The schemas in the instructions; clients also sketch some that are no JSON."""
    for place in _SCHEMA.finditer(told):
        try:
            yield json.JSONDecoder().raw_decode(told, place.end())[0]
        except ValueError:
            continue


def _asks(turn: User | Assistant) -> bool:
    """Whether a person speaks here, and not only tools."""
    return isinstance(turn, User) and not turn.results


def _calls(turn: User | Assistant) -> Sequence[ToolUse]:
    return (turn.tool_uses or []) if isinstance(turn, Assistant) else []


def _report(call: ToolUse | None, said: str, *, failed: bool) -> str:
    name = call.name if call is not None else "tool"
    if failed:
        return f"The {name} call failed: {said}"
    given = call.input if call is not None else {}
    path = next((str(given[key]) for key in _PARAMETERS["path"] if key in given), "")
    file = re.split(r"[\\/]", path)[-1]
    if name.lower() in _TOOLS["write"] and file:
        return f"I wrote {file}."
    if name.lower() in _TOOLS["read"] and file:
        return f"{file} says:\n{said}"
    return f"The {name} call is done. It said:\n{said}" if said else f"The {name} call is done."


def _filled(tool: ToolSpecification, known: Mapping[str, str]) -> dict[str, Any]:
    """The tool's input: what is known under the tool's own names, and something for all else it requires."""
    schema = tool.input_schema.json
    properties, required = schema.get("properties"), schema.get("required")
    given: dict[str, Any] = {}
    for name, property_ in properties.items() if isinstance(properties, dict) else ():
        meaning = next((word for word, names in _PARAMETERS.items() if name in names), "")
        of = property_ if isinstance(property_, dict) else {}
        if meaning in known:
            given[name] = ["bash", "-lc", known[meaning]] if of.get("type") == "array" else known[meaning]
        elif isinstance(required, list) and name in required:
            given[name] = _filler(of)
    return given


def _filler(schema: Mapping[str, Any]) -> Any:
    words = schema.get("enum")
    return words[0] if isinstance(words, list) and words else _FILLERS.get(str(schema.get("type")), "")


def _prompt(words: str) -> str:
    """A person's own words, without what clients put around them in tags and quotes."""
    return _unquoted(_TAGGED.sub("", words[-_LONGEST_PROMPT:]))


def _content(match: re.Match[str]) -> str:
    """What is to be written, without the end of quotes that began before the instruction."""
    content = match["content"].rstrip()
    return _unquoted(content.removesuffix(match["quote"]) if match["quote"] else content)


def _unquoted(words: str) -> str:
    words = words.strip()
    quoted = len(words) > 1 and words[0] == words[-1] and words[0] in "\"'`"
    return words[1:-1] if quoted else words


def _last_words(prompt: str) -> str:
    return " ".join(prompt.rpartition("\n\n")[2].split())[-80:]
