"""Write the answer to a request for compaction: the model's summary as one sealed item, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kiro_auth.conversation import Conversation, Failed, Finished, ReplyEvent, StopReason, TextDelta
from kiro_auth.failures import Failure
from kiro_auth.reply_usage import Usage
from kiro_auth.surfaces.openai.responses_compaction import sealed_summary
from kiro_auth.surfaces.openai.responses_reply import INCOMPLETE, ResponsesStream, ResponsesWhole

_NO_SUMMARY: Final = Failure(
    code="KA-CUT",
    message="The model was asked for a summary of the conversation and wrote none.",
    next_step="Repeat the request.",
)
_CUT_SUMMARY: Final = Failure(
    code="KA-CUT",
    message="The model's summary of the conversation was cut off.",
    next_step="Repeat the request, without a limit of output tokens if it has one.",
)
"""Half a summary is worse than none: it would take the place of the history."""


class CompactionStream(ResponsesStream):
    """Writes one stream with the item; the words of the summary go out in it alone."""

    def __init__(self, conversation: Conversation, reply_id: str, created: int) -> None:
        super().__init__(conversation, reply_id, created)
        self._summary: list[str] = []

    def encode(self, events: Sequence[ReplyEvent]) -> bytes:
        """The bytes for these events, which are none before the end."""
        self._summary += [event.text for event in events if isinstance(event, TextDelta)]
        return super().encode([self._ending(e) for e in events if isinstance(e, Finished | Failed)])

    def _ending(self, event: Finished | Failed) -> Finished | Failed:
        if isinstance(event, Failed):
            return event
        if not "".join(self._summary).strip():
            return Failed(_NO_SUMMARY, event.usage)
        return Failed(_CUT_SUMMARY, event.usage) if event.reason in INCOMPLETE else event

    def _finish(self, out: list[bytes], reason: StopReason, usage: Usage) -> None:
        item = {"type": "compaction", "encrypted_content": sealed_summary("".join(self._summary).strip())}
        self._begin(out, "compaction", "cmp", item)
        self._close(out)
        super()._finish(out, reason, usage)


class CompactionWhole(CompactionStream, ResponsesWhole):
    """Writes one whole response with the item."""


class CompactedWhole(CompactionWhole):
    """Writes what the address for compaction answers: the item in an object of another name."""

    def __init__(self, conversation: Conversation, reply_id: str, created: int) -> None:
        super().__init__(conversation, reply_id, created)
        self.response["object"] = "response.compaction"
