"""The image builds, and works as it is meant to run: not as root, and nothing writable but its own folder."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from support.image import USER, Image, built
from support.postgres import cluster
from support.programs import KEY, Home

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1200)]

STORE_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    with built(tmp_path_factory.mktemp("image")) as image:
        yield image


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    os.chown(folder, USER, USER)
    return folder


def run(image: Image, state: Path, *arguments: str, own_network: bool = False, **environment: str) -> str:
    command = image.command(*arguments, state=state, environment=environment, own_network=own_network)
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    return done.stdout + done.stderr


@contextlib.contextmanager
def replica(image: Image, state: Path, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A gateway in it that this machine alone can reach: its address, and its process."""
    command = ["kiro-auth", "serve", "--port", "0"]
    process = subprocess.Popen(
        image.command(*command, state=state, environment=environment), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[2].rstrip(";"), process
    finally:
        process.kill()  # what runs in it ends with it
        process.wait(30)
        process.stdout.close()


def asked(url: str, body: Any = None) -> int:
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        answer.read()
        return int(answer.status)


def test_it_is_no_root_has_no_capability_and_can_write_its_own_folder_alone(
    image: Image, state: Path
) -> None:
    said = run(
        image, state, "sh", "-c",
        "id -u; grep CapEff /proc/self/status; touch /x; touch /opt/kiro-auth/x; touch /etc/x; "
        "touch /tmp/x /var/lib/kiro-auth/x && echo written",
    )  # fmt: skip

    assert image.config["User"] == f"{USER}:{USER}"
    assert said.splitlines()[:2] == [str(USER), "CapEff:\t0000000000000000"]
    assert said.count("Read-only file system") == 3
    assert "written" in said


def test_what_a_team_can_set_needs_nothing_more_installed(image: Image, state: Path) -> None:
    parts = "kiro_auth.store.postgres, kiro_auth.dashboard.oidc.protocol"

    assert run(image, state, "python3", "-c", f"import {parts}; print('there')") == "there\n"


def test_as_it_is_it_refuses_to_be_reached_in_clear(image: Image, state: Path) -> None:
    said = run(image, state, *image.config["Entrypoint"], *image.config["Cmd"])

    assert "KA-CONFIG" in said
    assert "--allow-public" in said


@pytest.mark.parametrize("speaks", ["in clear", "TLS"])
def test_the_probe_of_its_health_knows_a_gateway_that_runs_from_none(
    image: Image, state: Path, speaks: str
) -> None:
    more = ["--allow-public"] if speaks == "in clear" else certificate(state)
    test = image.config["Healthcheck"]["Test"]
    assert test[0] == "CMD"
    probe = shlex.join(test[1:])
    serve = shlex.join([*image.config["Entrypoint"], *image.config["Cmd"], *more])
    until_healthy = f"for _ in $(seq 100); do {probe} 2>/dev/null && break; done"
    script = f"{probe} || echo none; {serve} & {until_healthy}; echo $?"

    said = run(image, state, "sh", "-c", script, own_network=True, KIRO_GATEWAY_KEY=KEY)

    assert said.splitlines()[1] == "none"
    assert "Running at http://" in said
    assert said.splitlines()[-1] == "0"


def certificate(state: Path) -> list[str]:
    """One for the image's own user; the options that name it."""
    authority = trustme.CA()
    issued = authority.issue_cert("box.example")
    issued.private_key_and_cert_chain_pem.write_to_path(state / "tls.pem")
    os.chown(state / "tls.pem", USER, USER)
    path = "/var/lib/kiro-auth/tls.pem"
    return ["--tls-cert", path, "--tls-key", path]


def test_a_replica_of_it_answers_over_a_database_and_ends_when_it_is_told(
    image: Image, state: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    before = dict(home.environment)
    with home.simulator("--auto-approve"), cluster() as server:
        settings = {name: value for name, value in home.environment.items() if before.get(name) != value}
        settings |= {"KIRO_STORE": server.url(), "KIRO_STORE_KEY": STORE_KEY, "KIRO_GATEWAY_KEY": KEY}
        said = run(image, state, "kiro-auth", "store", "migrate", **settings)
        said += run(image, state, "kiro-auth", "login", "--builder-id", "--no-browser", **settings)
        with replica(image, state, **settings, KIRO_DRAIN_SECONDS="0") as (url, process):
            message = {"role": "user", "content": "Hi"}
            body = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [message]}
            assert asked(f"{url}/v1/messages", body) == 200, said
            assert asked(f"{url}/ready") == 200
            inside = subprocess.check_output(["pgrep", "--parent", str(process.pid)], text=True)
            os.kill(int(inside.split()[0]), getattr(signal, image.config["StopSignal"]))
            process.wait(30)
        written = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert b"refreshToken" not in written
