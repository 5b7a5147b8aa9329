"""A small model that behaves like a coding agent's, so that real clients get sensible conversations.

It reads the newest user's words: asked to write, read or run something, it calls the tool that the client
declared for it; with the results in hand it says what happened.  It never calls twice in a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kiro_auth.simulator.script import Pause, Reasoning, Step, Text, ToolUse

_WRITE: Final = re.compile(
    r"\b(?:write|create|make)\b.{0,40}?\bfile\b\s*(?:named|called)?\s*[`\"']?([\w./-]+)[`\"']?"
    r".{0,30}?\b(?:content|text|contents)\b\s*(?:is|of|:)?:?\s*(.+)",
    re.IGNORECASE | re.DOTALL,
)
_READ: Final = re.compile(
    r"\bread\b\s+(?:the\s+)?(?:file\s+)?(?:named\s+)?[`\"']?([\w./-]*\.[\w]+)", re.IGNORECASE
)
_RUN: Final = re.compile(r"\brun\b\s+(?:the\s+command\s+)?[`\"'](.+?)[`\"']", re.IGNORECASE)
_FOLDER: Final = re.compile(r"[Ww]orking directory:\s*(\S+)")
_TITLE: Final = "title generator"
_SUMMARY: Final = re.compile(r"summar", re.IGNORECASE)
_TAGS: Final = "<thinking_mode>enabled"
_PAUSE: Final = Pause(0.02)

_NAMES: Final = {"write": ("write", "write_file", "Write"), "read": ("read", "read_file", "Read"),
                 "run": ("bash", "Bash", "exec_command", "shell")}  # fmt: skip
_PARAMETERS: Final = {
    "path": ("filePath", "file_path", "path", "filename"),
    "content": ("content", "text", "contents"),
    "command": ("command", "cmd"),
    "description": ("description",),
}


def respond(body: Mapping[str, Any]) -> list[Step]:
    """The steps of a reply to a GenerateAssistantResponse body that was checked."""
    return list(_Turn(body["conversationState"], body.get("additionalModelRequestFields") or {}).steps())


class _Turn:
    def __init__(self, state: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        self._message = state["currentMessage"]["userInputMessage"]
        self._history = state.get("history") or []
        self._fields = fields
        context = self._message.get("userInputMessageContext") or {}
        self._results = context.get("toolResults") or []
        self._tools = {
            tool["toolSpecification"]["name"]: tool["toolSpecification"]
            for tool in context.get("tools") or []
            if "toolSpecification" in tool
        }
        first = self._history[0]["userInputMessage"] if self._history else self._message
        self._opening = first["content"]
        self._words = self._message["content"]

    def steps(self) -> Iterator[Step]:
        """The reply."""
        yield _PAUSE
        yield from self._thinking()
        if self._results:
            yield Text(self._report())
            return
        call = self._call()
        if call is not None:
            yield Text("I will do that.")
            yield call
        else:
            yield Text(self._answer())
        yield _PAUSE

    def _thinking(self) -> Iterator[Step]:
        if "thinking" in self._fields or "output_config" in self._fields:
            yield Reasoning("The user wants something; let me see what it is.")
        elif _TAGS in self._opening and not self._results:
            yield Text("<thinking>The user wants something; let me see.</thinking>\n\n")

    # ---------------------------------------------------------------------------------------- calls

    def _call(self) -> ToolUse | None:
        prompt = self._prompt()
        if found := _WRITE.search(prompt):
            name, content = found.groups()
            return self._use("write", path=self._absolute(name), content=content.strip())
        if found := _RUN.search(prompt):
            return self._use("run", command=found[1], description="Runs the command")
        if found := _READ.search(prompt):
            return self._use("read", path=self._absolute(found[1]))
        return None

    def _use(self, action: str, **known: str) -> ToolUse | None:
        name = next((name for name in _NAMES[action] if name in self._tools), None)
        if name is None:
            return None
        properties = self._tools[name]["inputSchema"]["json"].get("properties", {})
        given = {
            parameter: value
            for kind, value in known.items()
            for parameter in _PARAMETERS[kind]
            if parameter in properties
        }
        return ToolUse(name, given)

    def _absolute(self, name: str) -> str:
        folder = _FOLDER.search(self._opening)
        return name if name.startswith("/") or folder is None else f"{folder[1].rstrip('/')}/{name}"

    def _prompt(self) -> str:
        """The person's own words: the last paragraph, without what clients put around it."""
        return re.sub(r"<[\w-]+>.*?</[\w-]+>", "", self._words, flags=re.DOTALL)[-2000:]

    # ------------------------------------------------------------------------------------------ text

    def _report(self) -> str:
        result = self._results[-1]
        said = " ".join(part.get("text", "") for part in result["content"]).strip()[:500]
        if result.get("status") == "error":
            return f"That did not work: {said}"
        return f"Done. The tool said: {said}" if said else "Done."

    def _answer(self) -> str:
        if _TITLE in self._opening:
            return " ".join(re.findall(r"\w+", self._words.rpartition("\n")[2])[:6]) or "A conversation"
        if _SUMMARY.search(self._words[:400]) or _SUMMARY.search(self._words[-400:]):
            return f"Summary: the conversation has {len(self._history)} earlier messages."
        seen = [f"an image ({image['format']})" for image in self._message.get("images") or []]
        seen += [f"the document {d['name']} ({d['format']})" for d in self._message.get("documents") or []]
        if seen:
            return f"I see {' and '.join(seen)}."
        last = " ".join(self._prompt().split())[-80:]
        return f"Hello from the simulated model. You said: {last}"
