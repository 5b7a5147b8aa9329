"""The neutral model: what every API and the service talk about, in none of their words.

A request becomes a `Conversation`; a reply is a sequence of reply events that ends with exactly one
`Finished` or `Failed`.  All values are immutable; binary content stays base64 text from end to end,
because both sides carry it as base64 inside JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from kiro_auth.failures import Failure
from kiro_auth.json_values import WrittenText
from kiro_auth.reply_usage import Usage

# ---------------------------------------------------------------------------------------- requests

Role: TypeAlias = Literal["user", "assistant", "system"]
"""`system` is an instruction that stands between turns; the leading ones are `Conversation.system`."""


class Text(Struct, frozen=True, tag=True, gc=False):
    """Plain text; may be empty."""

    text: str


class Image(Struct, frozen=True, tag=True, gc=False):
    """A picture.  `format` is `png`, `jpeg`, `gif`, `webp` or what the client called it; `data` is base64."""

    format: str
    data: str


class Document(Struct, frozen=True, tag=True, gc=False):
    """A file.  `format` is a short lower-case name such as `pdf` or `txt`; `data` is base64."""

    name: str
    format: str
    data: str


class Reasoning(Struct, frozen=True, tag=True, gc=False):
    """Reasoning of an earlier reply.  Without a signature the service refuses it."""

    text: str
    signature: str = ""


class RedactedReasoning(Struct, frozen=True, tag=True, gc=False):
    """Reasoning that only the model can read; `data` is base64."""

    data: str


class ToolCall(Struct, frozen=True, tag=True, gc=False):
    """A call the model made earlier; `input` is the decoded JSON object, `id` is empty if it has none."""

    id: str
    name: str
    input: Mapping[str, Any]


class ToolResult(Struct, frozen=True, tag=True, gc=False):
    """What a call gave back.  `call_id` names the `ToolCall`; it is empty if the client has none."""

    call_id: str
    content: tuple[Text | WrittenText | Image | Document, ...]
    is_error: bool = False


Block: TypeAlias = Text | Image | Document | Reasoning | RedactedReasoning | ToolCall | ToolResult


class Message(Struct, frozen=True):
    """One turn of one side, its blocks in the order the client gave."""

    role: Role
    content: tuple[Block, ...]


class Tool(Struct, frozen=True):
    """A function the model may call; `schema` is the JSON Schema of its input, as the client sent it.

    `kind` is the client's own word for tools whose calls do not have the shape of a function's, `custom` or
    `shell` for instance; only the API that read it needs to know.  `namespace` is what `name` begins with,
    for a client that wants the two apart.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    kind: str = "function"
    namespace: str = ""


class WebSearch(Struct, frozen=True, kw_only=True):
    """A search of the web that the gateway runs for the model, under the tool of that `name`.

    `max_uses` bounds the searches of one answer; None: the client set no bound.  With `allowed_domains` only
    pages of those are given, of `blocked_domains` none.  `forced`: the client wants it done whatever the
    model thinks.
    """

    name: str
    max_uses: int | None = None
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    forced: bool = False


class ToolChoice(Struct, frozen=True):
    """Whether the model may call tools, or must call one, and which; no `names` are all of them."""

    mode: Literal["auto", "none", "required"] = "auto"
    names: tuple[str, ...] = ()


class AnswerFormat(Struct, frozen=True):
    """The client reads the answer as JSON: as a value of `schema`, or as any object where that is None.

    `schema` is JSON Schema as the client sent it; `name` and `description` may say what the answer is.
    """

    schema: Any = None
    name: str = ""
    description: str = ""


class Thinking(Struct, frozen=True):
    """What the client asked about reasoning.

    `enabled` false asks for none.  `budget` is in tokens; `effort` is the client's own word
    (`low`, `high`, …).  Both may be absent: the model decides.  `visible` false: do not send the text.
    """

    enabled: bool = True
    budget: int | None = None
    effort: str | None = None
    visible: bool = True


Kind: TypeAlias = Literal["primary", "compaction", "title", "generate"]
"""What a reply is for, in OpenCode's words: a turn of the talk, or one of the agent's own errands."""


class Conversation(Struct, frozen=True):
    """One request for one reply.

    `session` is the client's own name for the conversation, stable over its turns, or None.  `kind` is None
    when the client does not say it.
    `answer_format` is None where plain text will do.  `one_call`: an answer may call one tool at most.
    `thinking` is None when the client said nothing about it.  `max_output` is the most tokens that it takes
    of a reply, reasoning and calls included; None: all.  `usage_in_stream` matters to the API whose streams
    say what they used only when asked to.  `web_search` is one of the `tools`, and run here.
    `sealed`: the answer is a summary that the client keeps without reading it, and sends back in place of the
    history.  `not_offered` are tools that the client asked for and that cannot be had here.
    """

    model: str
    messages: tuple[Message, ...]
    system: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    one_call: bool = False
    answer_format: AnswerFormat | None = None
    thinking: Thinking | None = None
    max_output: int | None = None
    stop_sequences: tuple[str, ...] = ()
    session: str | None = None
    kind: Kind | None = None
    stream: bool = False
    usage_in_stream: bool = False
    web_search: WebSearch | None = None
    sealed: bool = False
    not_offered: tuple[str, ...] = ()


# ----------------------------------------------------------------------------------------- replies

StopReason: TypeAlias = Literal["end", "tool_calls", "length", "stop_sequence", "content_filter"]


class TextDelta(Struct, frozen=True, gc=False):
    """More answer text; never empty."""

    text: str


class ReasoningDelta(Struct, frozen=True, gc=False):
    """More reasoning text; never empty."""

    text: str


class ReasoningSigned(Struct, frozen=True, gc=False):
    """The signature that closes the reasoning sent so far."""

    signature: str


class ReasoningRedacted(Struct, frozen=True, gc=False):
    """A block of reasoning that only the model can read, whole; `data` is base64."""

    data: str


class CallReady(Struct, frozen=True, gc=False):
    """A tool call, complete.  `arguments` is the JSON text of an object; `name` is the client's own."""

    id: str
    name: str
    arguments: str


class Citation(Struct, frozen=True, gc=False):
    """A source of the answer's text; of its characters from `start` to `end`, if that is known.

    They are counted from where the text begins that is being written.  `quote` is what the source says.
    """

    url: str
    title: str
    start: int | None = None
    end: int | None = None
    quote: str = ""


class WebPage(Struct, frozen=True):
    """A page that a search found.  `text` is what it says, `age` its date in words, if that is known."""

    url: str
    title: str
    text: str = ""
    age: str | None = None


SearchFault: TypeAlias = Literal[
    "invalid_tool_input", "unavailable", "max_uses_exceeded", "too_many_requests", "query_too_long"
]
"""Why a search gave nothing, in the words of the one API that has words for it."""


class SearchBegun(Struct, frozen=True, gc=False):
    """The model asked for a search of the web, which the gateway runs; `id` is that of the model's call."""

    id: str
    query: str


class SearchEnded(Struct, frozen=True):
    """What came of it: pages, maybe none, or the fault for which it was not done."""

    id: str
    query: str
    pages: tuple[WebPage, ...] = ()
    fault: SearchFault | None = None


class Finished(Struct, frozen=True):
    """The reply ended.  `stop_sequence` is the text that ended it, with reason `stop_sequence`."""

    reason: StopReason
    usage: Usage
    stop_sequence: str | None = None


class Failed(Struct, frozen=True):
    """The reply broke off, before or after output.  `usage` is what was known by then."""

    failure: Failure
    usage: Usage


ReplyEvent: TypeAlias = (
    TextDelta
    | ReasoningDelta
    | ReasoningSigned
    | ReasoningRedacted
    | CallReady
    | Citation
    | SearchBegun
    | SearchEnded
    | Finished
    | Failed
)
