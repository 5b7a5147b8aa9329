"""Which browser is tried where, and that a page is only ever shown, never run."""

import time
from pathlib import Path

import pytest

from kiro_auth.login import browser
from kiro_auth.login.browser import open_page, openers

URL = "https://device.example/?user_code=ABCD-EFGH&next=$(id)"
LINUX = "6.8.0-45-generic"
WSL = "5.15.153.1-microsoft-standard-WSL2"
SCREEN = {"DISPLAY": ":0"}


@pytest.mark.parametrize(
    ("environment", "system", "kernel", "in_container", "programs"),
    [
        pytest.param(SCREEN, "linux", LINUX, False, ["xdg-open"], id="X11"),
        pytest.param({"WAYLAND_DISPLAY": "wayland-0"}, "linux", LINUX, False, ["xdg-open"], id="Wayland"),
        pytest.param({}, "linux", LINUX, False, [], id="Linux without a screen"),
        pytest.param({}, "linux", WSL, False, ["wslview", "explorer.exe"], id="WSL 2"),
        pytest.param({}, "linux", "4.4.0-19041-Microsoft", False, ["wslview", "explorer.exe"], id="WSL 1"),
        pytest.param({}, "darwin", "23.6.0", False, ["open"], id="macOS"),
        pytest.param({}, "win32", "10", False, ["rundll32"], id="Windows"),
        pytest.param({}, "freebsd14", "14.1", False, [], id="another system without a screen"),
        pytest.param(SCREEN | {"SSH_CONNECTION": "a 1 b 2"}, "linux", LINUX, False, [], id="SSH with X11"),
        pytest.param({"SSH_TTY": "/dev/pts/1"}, "darwin", "23.6.0", False, [], id="SSH to a Mac"),
        pytest.param({"SSH_CLIENT": "a 1 2"}, "linux", WSL, False, [], id="SSH into WSL"),
        pytest.param(SCREEN | {"CI": "true"}, "linux", LINUX, False, [], id="CI"),
        pytest.param(SCREEN | {"CODESPACES": "true"}, "linux", LINUX, False, [], id="Codespaces"),
        pytest.param(SCREEN | {"REMOTE_CONTAINERS": "1"}, "linux", LINUX, False, [], id="Dev Containers"),
        pytest.param(SCREEN | {"container": "podman"}, "linux", LINUX, False, [], id="Podman"),
        pytest.param(SCREEN, "linux", LINUX, True, [], id="a container by its files"),
        pytest.param(SCREEN | {"CI": ""}, "linux", LINUX, False, ["xdg-open"], id="an empty variable"),
    ],
)
def test_a_browser_is_tried_only_where_the_user_sees_it(environment, system, kernel, in_container, programs):
    commands = openers(URL, environment, system, kernel, in_container=in_container)
    assert [command[0] for command in commands] == programs
    assert all(command[-1] == URL for command in commands)  # one whole argument, no shell text


@pytest.fixture
def desktop(monkeypatch, tmp_path: Path) -> Path:
    """A Linux desktop with no program but those that a test puts into the folder."""
    for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT", "CI", "CODESPACES", "REMOTE_CONTAINERS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("KUBERNETES_SERVICE_HOST", "container"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(browser, "_CONTAINER_FILES", ())
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.release", lambda: LINUX)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # it outlives us
@pytest.mark.outside
def test_the_page_reaches_the_program_as_one_argument(desktop):
    opener, seen = desktop / "xdg-open", desktop / "seen"
    opener.write_text(f'#!/bin/sh\nprintf "%s|%s" "$#" "$1" > {seen}.part && /bin/mv {seen}.part {seen}\n')
    opener.chmod(0o755)
    assert open_page(URL)
    for _ in range(6000):
        if seen.exists():
            break
        time.sleep(0.01)
    assert seen.read_text() == f"1|{URL}"


@pytest.mark.outside
def test_a_missing_program_is_no_error(desktop):
    assert not open_page(URL)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://device.example/", id="not secure"),
        pytest.param("file:///etc/passwd", id="a file"),
        pytest.param("javascript:alert(1)", id="a script"),
        pytest.param("--help", id="an option"),
        pytest.param("https://a:b@device.example/", id="a password"),
        pytest.param("https://device.example/\nrm", id="a line break"),
        pytest.param("https://[broken/", id="no URL"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_is_no_safe_page_is_not_opened(desktop, url):
    opener = desktop / "xdg-open"
    opener.write_text(f"#!/bin/sh\n: > {desktop}/ran\n")
    opener.chmod(0o755)
    assert not open_page(url)
    assert not (desktop / "ran").exists()
