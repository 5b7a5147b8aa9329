"""What a reply used: the service's figures where it sent them, else arithmetic on them, else a guess."""

from __future__ import annotations

from typing import Final

from kiro_auth.conversation import Figure, Usage
from kiro_auth.kiro.reply.payloads import ContextUsage, Metadata, Metering, TokenUsage

_CHARACTERS_OF_A_TOKEN: Final = 4
"""An estimate of ours, for prose in English.  `tokenUsage` came in none of 5,691 turns of one report
(November 2026)."""


class Meter:
    """Collects the figures of one reply.

    `characters` counts what the model wrote.  `heard` is true once the service has said anything about
    usage: it does so only at the end of a reply that is whole.
    """

    __slots__ = ("_context", "_credits", "_input_estimate", "_tokens", "_window", "characters", "heard")

    def __init__(self, *, context_window: int, input_tokens: int) -> None:
        self.characters = 0
        self.heard = False
        self._window = context_window
        self._input_estimate = input_tokens
        self._tokens = TokenUsage()
        self._context: float | None = None
        self._credits: float | None = None

    def add(self, event: Metadata | ContextUsage | Metering) -> None:
        """Note what the service says."""
        self.heard = True
        match event:
            case Metadata():
                self._tokens = event.token_usage or self._tokens
            case ContextUsage():
                self._context = event.context_usage_percentage
            case Metering(usage=float(usage)):
                self._credits = (self._credits or 0.0) + usage

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
        return Figure(-(-self.characters // _CHARACTERS_OF_A_TOKEN), "estimated")

    def _input(self, context: float | None, output: int) -> Figure:
        tokens = self._tokens
        if tokens.uncached_input_tokens is not None:
            cached = (tokens.cache_read_input_tokens or 0) + (tokens.cache_write_input_tokens or 0)
            return Figure(max(1, tokens.uncached_input_tokens + cached), "measured")
        if context and self._window:
            # The percentage counts the whole turn, the reply included.
            return Figure(max(1, round(context / 100 * self._window) - output), "derived")
        return Figure(max(1, self._input_estimate), "estimated")
