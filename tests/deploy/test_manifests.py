"""The examples in deploy/ are read by the programs that they are for, and say the same of the same things."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp
import kubernetes_validate
import pytest
import yaml

from kiro_auth.options import OPTIONS
from support.ports import free_port
from support.programs import Home
from system.test_drain import gateway

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
REPLICAS = ("kiro1", "kiro2", "kiro3")


def needed(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        assert "CI" not in os.environ, f"CI must have {program}"
        pytest.skip(f"needs {program}")
    return found


@pytest.mark.parametrize(
    "manifest", KUBERNETES, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
def test_kubernetes_knows_every_field(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_pods_run_as_the_image_s_user_and_can_write_their_state_alone() -> None:
    (replicas,) = [each for each in KUBERNETES if each["kind"] == "StatefulSet"]
    pod = replicas["spec"]["template"]["spec"]
    image = (DEPLOY / "Containerfile").read_text()

    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" in image
    for container in [*pod["initContainers"], *pod["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        paths = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert paths == {"/tmp", *re.findall(r"^VOLUME (\S+)$", image, re.MULTILINE)}
    (gateway,) = pod["containers"]
    assert gateway["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert gateway["livenessProbe"]["httpGet"]["path"] == "/health"


def test_a_replica_is_given_the_time_that_it_may_take_to_end() -> None:
    def needed_by(file: str) -> int:
        text = (DEPLOY / file).read_text()
        return sum(int(seconds) for seconds in re.findall(r"KIRO_(?:DRAIN|GRACE)_SECONDS=(\d+)", text))

    (replicas,) = [each for each in KUBERNETES if each["kind"] == "StatefulSet"]
    (stop,) = map(int, re.findall(r"TimeoutStopSec=(\d+)", (DEPLOY / "kiro-auth.service").read_text()))

    assert needed_by("Containerfile") > 600
    assert replicas["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > needed_by("Containerfile")
    assert int(COMPOSE["services"]["kiro1"]["stop_grace_period"].removesuffix("m")) * 60 > needed_by(
        "Containerfile"
    )
    assert stop > needed_by("kiro-auth.service") > 600


def test_each_replica_of_compose_has_a_state_of_its_own_and_nobody_reaches_the_database_from_outside() -> (
    None
):
    services, networks = COMPOSE["services"], COMPOSE["networks"]
    volumes = [services[name]["volumes"] for name in REPLICAS]

    assert volumes == [[f"{name}:/var/lib/kiro-auth"] for name in REPLICAS]
    for name in REPLICAS:
        assert (services[name]["read_only"], services[name]["cap_drop"]) == (True, ["ALL"])
        assert "ports" not in services[name]
    assert [networks[name].get("internal") for name in services["postgres"]["networks"]] == [True]
    assert services["balancer"]["ports"] == ["127.0.0.1:8080:8080"]


def test_every_variable_in_the_examples_is_one_that_the_program_reads() -> None:
    written = "".join(path.read_text() for path in DEPLOY.iterdir())
    known = {option.variable for option in OPTIONS} | {
        "KIRO_STORE_KEY",
        "KIRO_STORE_KEY_FILE",
        "KIRO_GATEWAY_KEY",
    }

    assert set(re.findall(r"\bKIRO_[A-Z_]+", written)) <= known


def test_nginx_takes_the_balancer_s_configuration(tmp_path: Path) -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    file = tmp_path / "nginx.conf"
    file.write_text(re.sub(r"server kiro\d:", "server 127.0.0.1:", text).replace("/tmp/", f"{tmp_path}/"))

    done = subprocess.run(
        [needed("nginx"), "-t", "-c", str(file)], capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"server (kiro\d):8787", text)) == set(REPLICAS)
    assert "non_idempotent" not in text


async def test_the_holder_of_a_key_opens_its_page_through_the_balancer(tmp_path: Path) -> None:
    home, port = Home(tmp_path), free_port()
    secret = home.json("keys", "create", "ann")["key"]
    with gateway(home) as first, gateway(home, port=free_port()) as second:
        text = (DEPLOY / "nginx.conf").read_text().replace("/tmp/", f"{tmp_path}/")
        for name, replica in zip(REPLICAS, (first, second, first), strict=True):
            text = text.replace(f"{name}:8787", f"127.0.0.1:{replica.place[1]}")
        file = tmp_path / "nginx.conf"
        file.write_text(text.replace("listen 8080", f"listen 127.0.0.1:{port}"))
        command = [needed("nginx"), "-c", str(file), "-e", str(tmp_path / "errors"), "-g", "daemon off;"]
        with subprocess.Popen(command) as nginx:
            try:
                await until_it_listens(port)
                pages = await pages_of_a_browser(f"http://127.0.0.1:{port}", secret)
            finally:
                nginx.terminate()
    assert [(status, "The key ann" in text) for status, text in pages] == [(200, True)] * 6


async def until_it_listens(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)
        else:
            return
    raise TimeoutError


async def pages_of_a_browser(url: str, secret: str) -> list[tuple[int, str]]:
    """What it shows when the key was typed in, and when that is loaded again, and again."""
    jar, headers = aiohttp.CookieJar(unsafe=True), {"Accept": "text/html", "Origin": url}
    pages = []
    async with aiohttp.ClientSession(cookie_jar=jar, headers=headers) as browser:
        for number in range(6):
            asking = (
                browser.get(url) if number else browser.post(f"{url}/dashboard/open", data={"key": secret})
            )
            async with asking as answer:
                pages.append((answer.status, await answer.text()))
    return pages


def test_systemd_takes_the_unit_and_calls_it_confined(tmp_path: Path) -> None:
    program = needed("systemd-analyze")
    unit = tmp_path / "kiro-auth.service"
    unit.write_text(
        (DEPLOY / "kiro-auth.service").read_text().replace("/opt/kiro-auth/bin/kiro-auth", "/bin/true")
    )

    verified = subprocess.run(
        [program, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=240
    )
    judged = subprocess.run(
        [program, "security", "--offline=true", "--threshold=25", str(unit)],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip

    assert (verified.returncode, verified.stderr) == (0, "")
    assert judged.returncode == 0, judged.stdout[-500:]
