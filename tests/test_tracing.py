"""Traces, as an OpenTelemetry collector receives them from the real gateway."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from kiro_auth.tracing import traces
from support.programs import KEY, Home, Services, Simulator

WORDS = "a sentence that nobody may read"


class Collector(HTTPServer):
    """Takes what is sent to /v1/traces."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[bytes] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> list[Any]:
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.received]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        self.server.received.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def simulator(home: Home, services: Services) -> Simulator:
    simulator = services.begin(home, auto_approve=True)
    for _ in range(2):
        home.run("login", "--builder-id", "--no-browser")
    return simulator


def test_a_turn_is_a_span_with_its_attempts_and_none_of_its_words(
    home: Home, simulator: Simulator, collector: Collector
) -> None:
    refusal = {"type": "ThrottlingException", "message": WORDS, "reason": "USER_REQUEST_RATE_EXCEEDED"}
    simulator.script({"refuse": refusal}, {"steps": [{"text": WORDS}]})
    with home.gateway(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint) as url:
        body = {
            "model": "claude-sonnet-4-5",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": WORDS}],
        }
        headers = {"x-api-key": KEY, "user-agent": "claude-cli/2.1"}
        request = urllib.request.Request(f"{url}/v1/messages", json.dumps(body).encode(), headers)
        assert WORDS in urllib.request.urlopen(request, timeout=30).read().decode()

    [span] = collector.spans()
    told = {a.key: a.value for a in span.attributes}
    assert span.name == "turn"
    assert told["http.route"].string_value == "/v1/messages"
    assert told["gen_ai.response.model"].string_value == "claude-sonnet-4.5"
    assert told["kiro.outcome"].string_value == "answered"
    assert told["kiro.credits"].double_value > 0
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9
    assert [event.name for event in span.events] == ["attempt failed", "first byte"]
    [code] = [a.value.string_value for a in span.events[0].attributes if a.key == "kiro.failure"]
    assert code == "KA-THROTTLE"
    assert WORDS.encode() not in b"".join(collector.received)
    assert KEY.encode() not in b"".join(collector.received)


def test_without_an_endpoint_there_is_nothing_and_nothing_of_it_is_imported() -> None:
    assert traces({}) is None
    assert traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}) is None
    code = (
        "import sys; from kiro_auth.tracing import traces; traces({}); "
        "import kiro_auth.gateway.app; "
        "names = ('opentelemetry', 'prometheus_client', 'jinja2'); "
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_extra_that_is_said_and_the_gateway_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    assert traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}) is None
    assert "the extra `otel` is not installed" in caplog.text
