"""What a reply used: the service's figures where it sent them, else arithmetic on them, else a guess."""

from __future__ import annotations

import sys
from typing import Final

import msgspec

from kiro_auth.kiro import checked
from kiro_auth.kiro.reply.payloads import ContextUsage, Metadata, Metering, TokenUsage
from kiro_auth.reply_usage import Figure, Usage

_BYTES_OF_A_TOKEN: Final = 4
"""An estimate of ours, for prose in English; of other scripts a letter has more bytes, and more tokens.
`tokenUsage` came in none of 5,691 turns of one report (November 2026)."""
_LEAST_SHARE: Final = 0.1
"""Of our own estimate: a percentage that says less is not of the window that the list names, as one report
has it (November 2026)."""


class Meter:
    """Collects the figures of one reply.

    `output_limit` is the most tokens that the client takes; `full` says that more came.  `heard` is true once
    the service has said anything about usage: it does so only at the end of a reply that is whole.
    """

    __slots__ = (
        "_context", "_credits", "_input_estimate", "_most", "_tokens", "_window", "_written", "full", "heard",
    )  # fmt: skip

    def __init__(self, *, context_window: int, input_tokens: int, output_limit: int | None = None) -> None:
        self.full = False
        self.heard = False
        self._written = 0  # bytes of what the model wrote
        self._most = sys.maxsize if output_limit is None else output_limit * _BYTES_OF_A_TOKEN
        self._window = context_window
        self._input_estimate = input_tokens
        self._tokens = TokenUsage()
        self._context: float | None = None
        self._credits: float | None = None

    def take(self, text: str) -> str:
        """Count what the model wrote; as much of it as the client takes."""
        written = self._written + (len(text) if text.isascii() else size_of(text))
        if written > self._most:
            self.full = True
            text = text.encode(errors="surrogatepass")[: self._most - self._written].decode(errors="ignore")
            written = self._most
        self._written = written
        return text

    def has_room(self, size: int) -> bool:
        """Whether the client takes so many bytes more."""
        return self._written + size <= self._most

    def on_metadata(self, event: Metadata) -> None:
        """Note the service's own counts, if it gives them."""
        self.heard = True
        if isinstance(event.token_usage, dict) and event.token_usage:
            self._count(msgspec.convert(event.token_usage, TokenUsage))

    def on_context_usage(self, event: ContextUsage) -> None:
        """Note how much of the window is used."""
        self.heard = True
        self._context = checked.percentage(event.context_usage_percentage)

    def on_metering(self, event: Metering) -> None:
        """Add what the service charges."""
        self.heard = True
        charge = checked.credit(event.usage)
        if charge is not None:
            self._credits = (self._credits or 0.0) + charge

    def _count(self, said: TokenUsage) -> None:
        self._tokens = TokenUsage(
            uncached_input_tokens=checked.position(said.uncached_input_tokens),
            output_tokens=checked.position(said.output_tokens),
            cache_read_input_tokens=checked.position(said.cache_read_input_tokens),
            cache_write_input_tokens=checked.position(said.cache_write_input_tokens),
            context_usage_percentage=checked.percentage(said.context_usage_percentage),
        )

    def usage(self) -> Usage:
        """By what is known now.  Never zero input: clients compact by it."""
        tokens = self._tokens
        context = self._context if self._context is not None else tokens.context_usage_percentage
        output = self._output()
        return Usage(
            input=self._input(context, output.value),
            output=output,
            cache_read=tokens.cache_read_input_tokens,
            cache_write=tokens.cache_write_input_tokens,
            credits=self._credits,
        )

    def _output(self) -> Figure:
        counted = self._tokens.output_tokens
        if counted is not None:
            return Figure(max(0, counted), "measured")
        return Figure(-(-self._written // _BYTES_OF_A_TOKEN), "estimated")

    def _input(self, context: float | None, output: int) -> Figure:
        tokens = self._tokens
        if tokens.uncached_input_tokens is not None:
            cached = (tokens.cache_read_input_tokens or 0) + (tokens.cache_write_input_tokens or 0)
            return Figure(max(1, tokens.uncached_input_tokens + cached), "measured")
        if context and self._window:
            # The percentage counts the whole turn, the reply included.
            derived = round(context / 100 * self._window) - output
            if derived >= self._input_estimate * _LEAST_SHARE:
                return Figure(max(1, derived), "derived")
        return Figure(max(1, self._input_estimate), "estimated")


def size_of(text: str) -> int:
    """The bytes of a text, by which its tokens are estimated."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
