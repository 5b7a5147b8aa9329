"""The examples in deploy/ are read by the programs that they are for, and say the same of the same things."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from kiro_auth.options import OPTIONS

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
        [needed("nginx"), "-t", "-c", str(file)], capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"server (kiro\d):8787", text)) == set(REPLICAS)
    assert "non_idempotent" not in text


def test_systemd_takes_the_unit_and_calls_it_confined(tmp_path: Path) -> None:
    program = needed("systemd-analyze")
    unit = tmp_path / "kiro-auth.service"
    unit.write_text(
        (DEPLOY / "kiro-auth.service").read_text().replace("/opt/kiro-auth/bin/kiro-auth", "/bin/true")
    )

    verified = subprocess.run(
        [program, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    judged = subprocess.run(
        [program, "security", "--offline=true", "--threshold=25", str(unit)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (verified.returncode, verified.stderr) == (0, "")
    assert judged.returncode == 0, judged.stdout[-500:]
