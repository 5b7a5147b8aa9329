"""A real Prometheus reads the real gateway, and answers every query of the dashboard for Grafana."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.ports import free_port
from support.programs import KEY, Home, Services, Simulator

pytestmark = [pytest.mark.real, pytest.mark.clients, pytest.mark.timeout(300)]

BOARD = Path(__file__).parents[2] / "docs" / "grafana.json"
SECONDS = 40
BEGINNING = 503
"""The status while Prometheus reads what it has stored."""


def prometheus() -> str:
    """Its path.  In CI it is installed when it is missing; elsewhere the test is skipped."""
    found = shutil.which("prometheus")
    if found is None and os.environ.get("CI"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "prometheus"], check=True, timeout=600)
        found = shutil.which("prometheus")
    if found is None:
        pytest.skip("Prometheus is not installed")
    return found


@contextmanager
def scraping(folder: Path, gateway: str, key: str | None) -> Iterator[str]:
    """A Prometheus that asks the gateway each second; its address."""
    target = gateway.removeprefix("http://")
    authorization = f"\n    authorization: {{credentials: {key}}}" if key else ""
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - job_name: kiro-auth{authorization}\n"
        f"    static_configs: [{{targets: ['{target}']}}]\n"
    )
    url = f"127.0.0.1:{free_port()}"
    command = [
        prometheus(),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={url}",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"http://{url}"
        finally:
            process.terminate()


def asked(prometheus_url: str, query: str) -> list[Any]:
    """What Prometheus answers; nothing while it begins."""
    address = f"{prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            body = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != BEGINNING:
                pytest.fail(f"{query}: {error.read().decode()}")
        return []
    except OSError:
        return []
    assert body["status"] == "success"
    return list(body["data"]["result"])


def awaited(prometheus_url: str, query: str) -> list[Any]:
    """The answer, once there is one."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if result := asked(prometheus_url, query):
            return result
        time.sleep(0.2)
    return []


def turn(gateway: str) -> None:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi."}]}
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    request = urllib.request.Request(f"{gateway}/v1/messages", json.dumps(body).encode(), headers)
    try:
        urllib.request.urlopen(request, timeout=30).read()
    except urllib.error.HTTPError as error:
        error.close()


def queries() -> list[str]:
    board = json.loads(BOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def test_a_real_prometheus_answers_every_query_of_the_dashboard(tmp_path: Path, services: Services) -> None:
    """After turns that were answered, failed, and were tried again, with tokens that were renewed."""
    home = Home(tmp_path)
    simulator: Simulator = services.begin(home, auto_approve=True)
    simulator.ask("settings", {"tokenSeconds": 60})
    home.run("login", "--builder-id", "--no-browser")
    slow_down = {"type": "ThrottlingException", "message": "Slow down."}
    malformed = {"type": "ValidationException", "message": "Improperly formed request."}
    with (
        home.gateway(KIRO_RATE_LIMIT_RETRY_DELAY_MS="1000") as gateway,
        scraping(tmp_path, gateway, KEY) as there,
    ):
        turn(gateway)
        assert awaited(there, 'kiro_turns_total{outcome="answered"}')
        simulator.script({"refuse": slow_down}, {"steps": [{"text": "Yes."}]}, {"refuse": malformed})
        for _ in range(3):
            turn(gateway)
        assert awaited(there, "sum(kiro_turns_total) == 4")
        for query in queries():
            assert awaited(there, query.replace("$__rate_interval", "1m")), query
        assert awaited(there, 'kiro_turns_total{outcome="KA-BODY"} == 1')
        assert awaited(there, 'kiro_retries_total{cause="account"} == 1')
        assert awaited(there, 'kiro_token_refreshes_total{outcome="renewed"} >= 1')
        assert awaited(there, "up == 1")  # now and then one look takes longer than the second that it may


def test_without_the_key_nothing_is_read_unless_the_option_lets_everybody(
    tmp_path: Path, services: Services
) -> None:
    home = Home(tmp_path)
    services.begin(home, auto_approve=True)
    with home.gateway() as gateway, scraping(tmp_path, gateway, None) as there:
        assert [r["value"][1] for r in awaited(there, "up")] == ["0"]
    shutil.rmtree(tmp_path / "data")
    with (
        home.gateway(KIRO_METRICS_ACCESS="open") as gateway,
        scraping(tmp_path, gateway, None) as there,
    ):
        assert awaited(there, "up == 1")
