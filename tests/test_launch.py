"""How a gateway process is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kiro_auth
from kiro_auth.folders import in_folder
from kiro_auth.launch import PATHS, kept, start_command
from kiro_auth.options import OPTIONS
from kiro_auth.service.program import gateway_program


def test_only_named_variables_are_kept() -> None:
    given = {
        "HOME": "/home/ada",
        "LC_ALL": "C",
        "KIRO_DEFAULT_REGION": "eu-central-1",
        "https_proxy": "http://proxy",
        "PGPASSWORD": "that of the option store",
        "PYTHONPATH": "/tmp/planted",
        "PYTHONSTARTUP": "/tmp/planted.py",
        "LD_PRELOAD": "/tmp/planted.so",
        "NODE_OPTIONS": "--require /tmp/planted.js",
        "AWS_SECRET_ACCESS_KEY": "another program's",
    }
    assert set(kept(given)) == {"HOME", "LC_ALL", "KIRO_DEFAULT_REGION", "https_proxy", "PGPASSWORD"}


def test_a_relative_path_is_handed_on_whole_and_what_is_none_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    as_it_is = {
        "KIRO_STORE_KEY_FILE": "/etc/store.key",
        "KIRO_DEFAULT_REGION": "eu-central-1",
        "PGSSLROOTCERT": "system",
        "PGSSLKEY": "engine:key",
        "PGHOST": "db",
        "SSL_CERT_FILE": "",
    }
    relative = {name: f"folder/of {name}" for name in PATHS}

    assert kept(as_it_is) == as_it_is
    assert kept(relative) == {
        name: f"{tmp_path}/{value}" for name, value in relative.items() if name in kept(relative)
    }
    assert kept(relative).keys() >= {"KIRO_STORE_KEY_FILE", "PGPASSFILE", "XDG_STATE_HOME"}
    assert gateway_program(relative, store="postgresql://db/kiro").variables["PGSSLCERT"].startswith("/")


def test_a_path_in_a_variable_of_ours_is_taken_without_the_space_around_it_as_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    given = {"KIRO_STORE_KEY_FILE": " /etc/store.key\n", "KIRO_TLS_CERT": "  ", "KIRO_TLS_KEY": " own/key "}

    assert kept(given) == {
        "KIRO_STORE_KEY_FILE": "/etc/store.key",
        "KIRO_TLS_CERT": "",
        "KIRO_TLS_KEY": f"{tmp_path}/own/key",
    }


def test_every_option_that_is_a_path_is_handed_on_whole() -> None:
    paths = {option.variable for option in OPTIONS if option.kind.settled is in_folder}

    assert paths == {name for name in PATHS if name.startswith("KIRO_")} - {"KIRO_STORE_KEY_FILE"}


@pytest.mark.outside
def test_what_lies_in_the_folder_or_in_pythonpath_is_not_run(tmp_path: Path) -> None:
    for folder in ("here", "path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "secrets.py").write_text("raise SystemExit('planted code ran')")
    command = [*start_command()[:-3], "--help"]

    done = subprocess.run(
        command,
        cwd=tmp_path / "here",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "path")},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.outside
def test_a_program_in_the_user_s_own_site_folder_is_found(tmp_path: Path) -> None:
    """As `pip install --user` leaves it: the packages of the machine's Python, ours in the user's folder."""
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    ask = "import site; print(site.getusersitepackages())"
    machine = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    folder = Path(
        subprocess.run([machine, "-c", ask], env=environment, capture_output=True, text=True).stdout.strip()
    )
    folder.mkdir(parents=True)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    (folder / "kiro_auth").symlink_to(Path(kiro_auth.__file__).parent)
    (folder / "packages.pth").write_text(packages + "\n")
    say = "from kiro_auth.launch import start_command; print(*start_command(), sep='\\n')"

    command = subprocess.run(
        [machine, "-c", say], env=environment, capture_output=True, text=True
    ).stdout.split("\n")
    version = [*command[:4], "kiro_auth", "--version"]
    done = subprocess.run(version, env=environment, capture_output=True, text=True)

    assert "-I" not in command
    assert (done.returncode, done.stderr) == (0, "")
