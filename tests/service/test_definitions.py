"""What each system is told of the service: read back by a reader of that system, or of that format."""

from __future__ import annotations

import os
import plistlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kiro_auth.failures import ConfigFailed
from kiro_auth.folders import Machine
from kiro_auth.service.here import manager_here
from kiro_auth.service.launchd import LABEL, Launchd, plist
from kiro_auth.service.program import Program, gateway_program
from kiro_auth.service.systemd import Systemd, unit
from kiro_auth.service.task_scheduler import TaskScheduler, task

ODD = 'a "quoted" \\ word with %h, $HOME and <&>'
PROGRAM = Program(("/opt/my python/bin/python", "-I", ODD), {"XDG_STATE_HOME": f"/home/me/{ODD}"})


def lines(text: str, name: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}=")]


DATABASE = "postgresql://kiro@db.example.com/kiro"


def test_every_word_of_a_unit_means_itself() -> None:
    (command,), (variable,) = lines(unit(PROGRAM), "ExecStart"), lines(unit(PROGRAM), "Environment")

    assert command[0] == ":", "no $ means a variable"
    words = [word.replace("%%", "%") for word in shlex.split(command[1:])]
    assert words == list(PROGRAM.command)
    assert [word.replace("%%", "%") for word in shlex.split(variable)] == [f"XDG_STATE_HOME=/home/me/{ODD}"]
    assert command.count("%") == 2


@pytest.mark.outside
def test_systemd_itself_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have systemd-analyze")
        pytest.skip("systemd is not installed")
    path = tmp_path / "kiro-auth.service"
    python = tmp_path / "my $python%" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    path.write_text(unit(Program((str(python), "-I", ODD), PROGRAM.variables)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(path)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )
    said = [line for line in done.stderr.splitlines() if "kiro-auth" in line]

    assert (done.returncode, said) == (0, []), done.stderr
    path.write_text(unit(Program(("/nowhere/python",), {})))
    again = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(path)],
        capture_output=True, text=True, timeout=240,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert "/nowhere/python" in again.stderr, "it looks"


def test_an_agent_of_launchd_starts_at_login_and_again_whenever_it_has_ended() -> None:
    read = plistlib.loads(plist(PROGRAM))

    assert read["ProgramArguments"] == list(PROGRAM.command)
    assert read["EnvironmentVariables"] == PROGRAM.variables
    assert (read["Label"], read["RunAtLoad"], read["KeepAlive"], read["Umask"]) == (LABEL, True, True, 0o077)


def test_a_task_of_windows_starts_at_logon_without_a_window_and_without_a_limit() -> None:
    command = ("C:\\Program Files\\Python\\python.exe", "-I", "-m", "kiro_auth", ODD)
    read = ET.fromstring(task(Program(command, {}), "HOME\\me & you").decode("utf-16"))
    name = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"

    def text(path: str) -> str | None:
        return read.findtext("/".join(f"{name}{part}" for part in path.split("/")))

    assert text("Actions/Exec/Command") == "C:\\Program Files\\Python\\pythonw.exe"
    assert text("Actions/Exec/Arguments") == subprocess.list2cmdline(command[1:])
    assert text("Triggers/LogonTrigger/UserId") == "HOME\\me & you"
    assert text("Settings/ExecutionTimeLimit") == "PT0S"
    assert text("Principals/Principal/RunLevel") == "LeastPrivilege"


@pytest.mark.parametrize(
    ("system", "kind"), [("linux", Systemd), ("darwin", Launchd), ("win32", TaskScheduler)]
)
def test_each_system_has_its_own(system: str, kind: type) -> None:
    assert isinstance(manager_here(Machine(system, Path("/home/me"), {})), kind)


def test_the_service_runs_the_gateway_without_an_end_and_in_the_place_of_others() -> None:
    command = gateway_program({"HOME": os.path.expanduser("~")}).command

    assert command[0] == sys.executable
    assert command[-3:] == ("serve", "--quiet", "--replace")


def test_it_sees_the_options_folders_and_the_way_to_aws_that_are_set_now_and_nothing_else() -> None:
    ours = {
        "KIRO_TOAST_LEVEL": "none",
        "KIRO_ENDPOINT_OIDC": "http://127.0.0.1:9/{region}",
        "XDG_STATE_HOME": "/state",
        "https_proxy": "http://proxy.example.com:3128",
        "SSL_CERT_FILE": "/ca.pem",
    }
    others = {"KIRO_CODEX_KEY": "k", "AWS_SECRET_ACCESS_KEY": "s", "PATH": "/bin", "KIRO_TOKENS": "t"}

    assert gateway_program({**ours, **others}).variables == ours
    assert gateway_program({"HOME": "/home/other"}).variables == {"HOME": "/home/other"}


@pytest.mark.parametrize(
    "address", [DATABASE, "postgresql://db:5432,other:5433/kiro?sslmode=require&user=a:b@c"]
)
def test_an_address_without_a_password_is_none_that_holds_one(address: str) -> None:
    assert gateway_program({"KIRO_STORE": address}, store=address).variables == {"KIRO_STORE": address}


def test_it_sees_what_its_store_needs_and_of_no_other_program_s_database_anything() -> None:
    ours = {"KIRO_STORE": DATABASE, "KIRO_STORE_KEY_FILE": "/store.key", "PGSSLROOTCERT": "/ca.pem"}
    assert gateway_program(ours, store=DATABASE).variables == ours
    in_a_file = {"KIRO_STORE": "sqlite", "KIRO_STORE_KEY_FILE": "/store.key"}
    others = {"PGPASSWORD": "secret", "PGSSLROOTCERT": "/ca.pem"}
    assert gateway_program({**in_a_file, **others}, store="sqlite").variables == in_a_file


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("KIRO_GATEWAY_KEY", "secret", "kiro-auth key show"),
        ("KIRO_API_KEY", "secret", "kiro-auth login --api-key"),
        ("HTTPS_PROXY", "http://me:secret@proxy:3128", "kiro-auth accounts set NAME --proxy"),
        ("KIRO_STORE_KEY", "secret", "KIRO_STORE_KEY_FILE"),
        ("PGPASSWORD", "secret", ".pgpass"),
        ("KIRO_STORE", "postgresql://me:secret@db.example.com/kiro", ".pgpass"),
        ("KIRO_STORE", "postgresql://me:se#cr?et@db.example.com/kiro", ".pgpass"),
        ("KIRO_STORE", "postgresql://db.example.com/kiro?user=me&password=secret", ".pgpass"),
        ("KIRO_STORE", "postgresql:///kiro?sslpassword=secret&sslkey=/k", ".pgpass"),
    ],
)
def test_a_secret_in_a_variable_is_refused_by_name(name: str, value: str, remedy: str) -> None:
    with pytest.raises(ConfigFailed) as refused:
        gateway_program({name: value}, store=DATABASE)

    sentence = refused.value.failure.sentence()
    assert name in sentence
    assert remedy in sentence
    assert "secret@" not in sentence
    assert ": secret" not in sentence
