"""The request of GenerateAssistantResponse, as the published model describes it: names, types, limits.

What the model says of a member's shape is here; what the service enforces beyond it is in `validator`.
Members that are not listed are ignored, as the service does.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from kiro_auth.simulator.refusals import invalid

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}\Z")]
Content: TypeAlias = Annotated[str, Meta(max_length=10_000_000)]
Uuid: TypeAlias = Annotated[str, Meta(min_length=36, max_length=36)]
Origin: TypeAlias = Literal[
    "AI_EDITOR", "CHATBOT", "CLI", "CONSOLE", "DOCUMENTATION", "GITLAB", "IDE", "INLINE_CHAT", "KIRO_CLI",
    "KIRO_WEB", "MARKETING", "MD", "MD_CE", "MD_IDE", "MOBILE", "OPENSEARCH_DASHBOARD", "Q_DEV_BEXT",
    "SAGE_MAKER", "SERVICE_INTERNAL", "SM_AI_STUDIO_IDE", "UNIFIED_SEARCH", "UNKNOWN",
]  # fmt: skip
UserIntent: TypeAlias = Literal[
    "APPLY_COMMON_BEST_PRACTICES", "CITE_SOURCES", "CODE_GENERATION", "EXPLAIN_CODE_SELECTION",
    "EXPLAIN_LINE_BY_LINE", "GENERATE_CLOUDFORMATION_TEMPLATE", "GENERATE_UNIT_TESTS", "IMPROVE_CODE",
    "SHOW_EXAMPLES", "SUGGEST_ALTERNATE_IMPLEMENTATION",
]  # fmt: skip


class _Shape(Struct, frozen=True, rename="camel"):
    pass


class _Union(_Shape, frozen=True):
    """A shape of which exactly one member is given."""

    def __post_init__(self) -> None:
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(self.__struct_encode_fields__)} must be given")


class CachePoint(_Shape, frozen=True):
    """A place up to which the service may cache."""

    type: Literal["default"]


class ClientCacheConfig(_Shape, frozen=True):
    """Whether only the client's own cache points count."""

    use_client_caching_only: bool | None = None


class Source(_Shape, frozen=True):
    """The bytes of an image or a document; base64 in JSON."""

    data: Annotated[bytes, Meta(min_length=1)] = msgspec.field(name="bytes")


class Image(_Shape, frozen=True):
    """An image.  The format is checked with the rules, which have reasons of their own."""

    format: str
    source: Source


class Document(_Shape, frozen=True):
    """A document."""

    name: Annotated[str, Meta(min_length=1)]
    format: Literal["csv", "doc", "docx", "html", "md", "pdf", "txt", "xls", "xlsx"]
    source: Source


class InputSchema(_Shape, frozen=True):
    """The JSON Schema of a tool's input."""

    json: dict[str, Any]


class ToolSpecification(_Shape, frozen=True):
    """A tool that the model may call."""

    name: Name
    input_schema: InputSchema
    description: Annotated[str, Meta(min_length=1)] | None = None


class Tool(_Union, frozen=True):
    """A tool, or a cache point between tools."""

    tool_specification: ToolSpecification | None = None
    cache_point: CachePoint | None = None


class ResultContent(_Union, frozen=True):
    """A part of a tool's result."""

    text: Content | None = None
    json: dict[str, Any] | None = None


class ToolResult(_Shape, frozen=True):
    """What a tool answered."""

    tool_use_id: Name
    content: list[ResultContent]
    status: Literal["success", "error"] | None = None


class EnvironmentVariable(_Shape, frozen=True):
    """One variable of the client's environment."""

    key: Annotated[str, Meta(min_length=1, max_length=256)]
    value: Annotated[str, Meta(min_length=1, max_length=1024)]


class EnvState(_Shape, frozen=True):
    """Where the client runs."""

    operating_system: Literal["macos", "linux", "windows"] | None = None
    current_working_directory: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    environment_variables: Annotated[list[EnvironmentVariable], Meta(max_length=100)] | None = None
    timezone_offset: Annotated[int, Meta(ge=-1440, le=1440)] | None = None


class AdditionalContext(_Shape, frozen=True):
    """A named piece of context."""

    name: Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"^[a-z]+(?:-[a-z0-9]+)*\Z")]
    description: Annotated[str, Meta(min_length=1, max_length=1024)]
    inner_context: Annotated[str, Meta(min_length=1, max_length=8192)]


class Context(_Shape, frozen=True):
    """What goes with a user's words."""

    tools: list[Tool] | None = None
    tool_results: list[ToolResult] | None = None
    env_state: EnvState | None = None
    additional_context: Annotated[list[AdditionalContext], Meta(max_length=20)] | None = None


class User(_Shape, frozen=True):
    """A user's message."""

    content: Content
    user_input_message_context: Context | None = None
    origin: Origin | None = None
    model_id: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    images: list[Image] | None = None
    documents: list[Document] | None = None
    user_intent: UserIntent | None = None
    cache_point: CachePoint | None = None
    client_cache_config: ClientCacheConfig | None = None

    @property
    def tools(self) -> list[ToolSpecification]:
        """The tools declared here, without cache points."""
        context = self.user_input_message_context
        offered = (context and context.tools) or []
        return [tool.tool_specification for tool in offered if tool.tool_specification is not None]

    @property
    def results(self) -> list[ToolResult]:
        """The results of the calls before."""
        context = self.user_input_message_context
        return (context and context.tool_results) or []


class ToolUse(_Shape, frozen=True):
    """A call that the model made."""

    tool_use_id: Name
    name: Name
    input: dict[str, Any]


class ReasoningText(_Shape, frozen=True):
    """Reasoning with its signature."""

    text: str
    signature: str | None = None


class Reasoning(_Union, frozen=True):
    """Reasoning, readable or not."""

    reasoning_text: ReasoningText | None = None
    redacted_content: bytes | None = None


class Assistant(_Shape, frozen=True):
    """A message of the model."""

    content: str
    message_id: Annotated[str, Meta(max_length=128)] | None = None
    tool_uses: list[ToolUse] | None = None
    reasoning_content: Reasoning | None = None
    cache_point: CachePoint | None = None


class ChatMessage(_Union, frozen=True):
    """A message of either side."""

    user_input_message: User | None = None
    assistant_response_message: Assistant | None = None

    @property
    def side(self) -> User | Assistant:
        """The one that is given."""
        message = self.user_input_message or self.assistant_response_message
        assert message is not None  # __post_init__ saw to it
        return message


class ConversationState(_Shape, frozen=True):
    """The conversation.  `conversation_id` is checked with the rules, where it has a reason of its own."""

    current_message: ChatMessage
    chat_trigger_type: Literal["MANUAL", "DIAGNOSTIC", "INLINE_CHAT"]
    conversation_id: str | None = None
    history: list[ChatMessage] | None = None
    workspace_id: Uuid | None = None
    customization_arn: Annotated[str, Meta(max_length=950)] | None = None
    agent_continuation_id: Uuid | None = None
    agent_task_type: Literal["vibe", "spectask"] | None = None

    @property
    def messages(self) -> list[User | Assistant]:
        """History and current message, oldest first."""
        return [message.side for message in [*(self.history or []), self.current_message]]


class Chat(_Shape, frozen=True):
    """The whole body."""

    conversation_state: ConversationState
    profile_arn: (
        Annotated[
            str,
            Meta(
                max_length=950,
                pattern=r"^arn:aws(?:-us-gov)?:(codewhisperer|transform):[-a-z0-9]+:\d{12}:profile/[a-zA-Z0-9]{12}\Z",
            ),
        ]
        | None
    ) = None
    agent_mode: str | None = None
    additional_model_request_fields: dict[str, Any] | None = None


def parsed(body: Any) -> Chat:
    """The request in a decoded JSON value.  Raises Refusal naming the member that is not of its shape."""
    try:
        return msgspec.convert(body, Chat)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise invalid(message=f"Improperly formed request. {error}") from error
