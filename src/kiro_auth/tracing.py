"""A span for each turn, sent with OpenTelemetry's own SDK; only where it is installed and told where to send.

    pipx install --force '.[otel]'   # in a clone
    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 kiro-auth serve

All other variables are OpenTelemetry's own too.  A span holds names and figures, no word of a conversation.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from kiro_auth import __version__
from kiro_auth.events import Failed, Listener, TurnEnded

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

log = logging.getLogger("kiro_auth.tracing")

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SECOND: Final = 1_000_000_000
_LONGEST: Final = 120
"""Characters of a name that is the client's."""


class Traces(Listener, Protocol):
    """Hears of turns until it is closed, which sends what is not sent yet."""

    def close(self) -> None:
        """Send the rest; it waits."""


def traces(environment: Mapping[str, str] = os.environ) -> Traces | None:
    """What makes the spans; None where nobody wants them."""
    if not any(environment.get(name) for name in ENDPOINTS) or environment.get("OTEL_SDK_DISABLED") == "true":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("%s is set, but the extra `otel` is not installed; there are no traces", ENDPOINTS[0])
        return None
    own = {"service.name": "kiro-auth", "service.version": __version__}
    named = Resource.create({} if environment.get("OTEL_SERVICE_NAME") else own)
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return _Spans(provider)


class _Spans:
    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer: Tracer = provider.get_tracer("kiro_auth", __version__)

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Make the span; a thread of the SDK sends it."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        end = round(turn.when * _SECOND)
        begun = end - round(turn.seconds * _SECOND)
        span = self._tracer.start_span(
            "turn", kind=SpanKind.SERVER, start_time=begun, attributes=_attributes(turn)
        )
        for number, failure in enumerate(turn.attempts, 1):
            # When an attempt failed is not kept, only in which order.
            fields: dict[str, str | int] = {
                "kiro.attempt": number,
                "kiro.failure": failure.code,
                "kiro.cause": failure.cause.value,
            }
            span.add_event("attempt failed", fields, timestamp=begun)
        if turn.first_byte is not None:
            span.add_event("first byte", timestamp=begun + round(turn.first_byte * _SECOND))
        if isinstance(turn.end, Failed):
            span.set_status(Status(StatusCode.ERROR, turn.end.failure.code))
        span.end(end)

    def close(self) -> None:
        self._provider.shutdown()


def _attributes(turn: TurnEnded) -> dict[str, str | int | float]:
    asked, served, usage = turn.asked, turn.served, turn.usage
    values: dict[str, str | int | float | None] = {
        "http.route": turn.surface,
        "kiro.client": turn.client,
        "kiro.outcome": turn.end.failure.code if isinstance(turn.end, Failed) else _word(turn),
        "gen_ai.request.model": asked.model[:_LONGEST] if asked else None,
        "gen_ai.response.model": served.model[:_LONGEST] if served else None,
        "kiro.account": served.account_name if served else None,
        "kiro.stream": asked.stream if asked else None,
        "gen_ai.usage.input_tokens": usage.input.value if usage else None,
        "gen_ai.usage.output_tokens": usage.output.value if usage else None,
        "kiro.credits": usage.credits if usage else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _word(turn: TurnEnded) -> str:
    return type(turn.end).__name__.lower()
