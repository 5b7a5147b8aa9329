"""`kiro-auth install opencode` and `uninstall opencode`, as a person and as a script use them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from kiro_auth.opencode.install import shim_path
from support.foreign import ORIGINAL_1_5, bytes_below, original
from support.programs import Home

ORIGINAL = "@zhafron/opencode-kiro-auth"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def config(home: Home) -> Path:
    """OpenCode's configuration, which names the original plugin."""
    home.config.mkdir(parents=True)
    config = home.config / "opencode.json"
    config.write_text(json.dumps({"plugin": [ORIGINAL]}))
    return config


def test_the_verbs_install_and_remove(home: Home):
    done = home.run("install", "opencode")
    path = shim_path(home.config)
    assert str(path) in done.stdout
    assert "opencode auth login" in done.stdout
    assert not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    assert str(path) in home.run("uninstall", "opencode").stdout
    assert "no plugin" in home.run("uninstall", "opencode").stdout
    assert home.run("install", "emacs", check=False).returncode == 2


def test_where_nobody_can_be_asked_nothing_is_changed(home: Home, config: Path):
    before = bytes_below(home.folder)
    done = home.run("install", "opencode", check=False)
    assert done.returncode == 1
    assert f"{ORIGINAL} goes out of {config}" in done.stdout
    assert "Add --yes to do it." in done.stderr
    assert bytes_below(home.folder) == before


@pytest.mark.parametrize(
    ("answer", "status", "kept"), [("y\r", 0, []), ("n\r", 1, [ORIGINAL]), ("\x03", 130, [ORIGINAL])]
)
def test_a_person_is_asked_first(home: Home, config: Path, answer: str, status: int, kept: list[str]):
    child = home.terminal("install", "opencode")
    child.expect_exact("Do this?")
    child.send(answer)
    said = child.read()
    child.close()
    assert child.exitstatus == status
    assert ("Nothing was changed." in said) == (status != 0)
    assert json.loads(config.read_text()) == {"plugin": kept}
    assert shim_path(home.config).exists() == (status == 0)


def test_sign_ins_alone_keep_no_script_from_installing(home: Home):
    row = {"id": "a", "email": "ada@example.com", "auth_method": "idc", "region": "us-east-1",
           "client_id": "c", "client_secret": "s", "refresh_token": "r", "access_token": "t",
           "expires_at": 1, "is_healthy": 1}  # fmt: skip
    original(home.config / "kiro.db", ORIGINAL_1_5, [row])
    done = home.run("install", "opencode")
    assert shim_path(home.config).exists()
    assert "No sign-in was taken over, as nobody can be asked here; add --yes to do it." in done.stderr
    assert not (home.config / "kiro-accounts.json").exists()


def test_a_file_that_is_not_ours_stops_before_anything_is_changed(home: Home, config: Path):
    path = shim_path(home.config)
    path.parent.mkdir()
    path.write_text("mine")
    before = bytes_below(home.folder)
    done = home.run("install", "opencode", "--yes", check=False)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert bytes_below(home.folder) == before


def test_the_configuration_is_put_back_though_the_plugin_is_not_ours_any_more(home: Home, config: Path):
    before = config.read_text()
    home.run("install", "opencode", "--yes")
    path = shim_path(home.config)
    path.write_text("mine")
    done = home.run("uninstall", "opencode", check=False)
    assert f"As it was before: {config}" in done.stdout
    assert (done.returncode, f"error: {path} was not written by this program" in done.stderr) == (1, True)
    assert (config.read_text(), path.read_text()) == (before, "mine")


def test_what_was_left_alone_on_purpose_stays_so(home: Home, config: Path):
    home.run("install", "opencode", "--yes")
    config.write_text('{"plugin": [], "theme": "new"}')
    home.run("uninstall", "opencode")
    config.write_text('{"plugin": []}')
    home.run("install", "opencode")
    before = bytes_below(home.config)
    home.run("uninstall", "opencode")
    del before["plugin/kiro.js"]
    assert bytes_below(home.config) == before


@pytest.mark.parametrize("place", [".config/opencode/plugins", ".opencode/plugin", "own/plugins"])
def test_another_kiro_plugin_among_the_files_that_are_always_loaded_is_told_of(home: Home, place: str):
    home.environment["OPENCODE_CONFIG_DIR"] = str(home.folder / "own")
    other, theme = (home.folder / place / name for name in ("opencode-kiro-auth.ts", "kiro-theme.ts"))
    other.parent.mkdir(parents=True)
    for file in (other, theme):
        file.write_text("export const Other = async () => ({})\n")
    said = home.run("install", "opencode").stderr
    assert f"note: OpenCode loads {other} as well." in said
    assert (str(theme) in said, str(shim_path(home.config)) in said) == (False, False)
    assert other.exists()
