"""`kiro-auth install opencode` and `uninstall opencode`, as a person and as a script use them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from kiro_auth.opencode.install import shim_path
from support.foreign import ORIGINAL_1_5, bytes_below, original
from support.opencode import OpenCode
from support.programs import Home

ORIGINAL = "@zhafron/opencode-kiro-auth"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def put_opencode(home: Home, script: str) -> None:
    """A program `opencode` of the test's own, which the PATH finds first."""
    program = home.folder / "bin" / "opencode"
    program.parent.mkdir()
    program.write_text(script)
    program.chmod(0o755)
    home.environment["PATH"] = f"{program.parent}:{home.environment['PATH']}"


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
    assert f"{ORIGINAL} is taken out of {config}" in done.stdout
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
    assert "No sign-in was taken over, as there is no terminal to ask in. Add --yes to do it." in done.stderr
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
    assert f"Restored: {config}" in done.stdout
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
    assert bytes_below(home.config) == {
        name: text for name, text in before.items() if not name.startswith(("plugin/", "plugins/"))
    }


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


def test_a_package_that_only_opencode_2_loads_is_told_of_as_such(home: Home):
    package = home.config / "plugins" / "opencode-kiro-auth"
    package.mkdir(parents=True)
    (package / "package.json").write_text("{}")
    said = home.run("install", "opencode").stderr
    assert f"note: OpenCode 2 loads {package} as well." in said


@pytest.mark.parametrize("key", ["plugin", "plugins"])
def test_both_lists_are_looked_through_and_none_is_written_into(home: Home, key: str):
    home.config.mkdir(parents=True)
    config = home.config / "opencode.jsonc"
    before = f'{{ /* mine */ "{key}": [{{"package": "{ORIGINAL}", "options": {{}}}}, "-other",], }}'
    config.write_text(before)
    said = home.run("install", "opencode", "--yes").stdout
    assert f"{ORIGINAL} is taken out of {config}" in said
    assert config.read_text() == f'{{ /* mine */ "{key}": ["-other",], }}'
    home.run("uninstall", "opencode")
    assert config.read_text() == before


def test_no_configuration_is_made_or_written_where_nothing_has_to_go(home: Home):
    home.config.mkdir(parents=True)
    config = home.config / "opencode.json"
    config.write_text('{"plugins": ["-opencode.lsp", "kiro-auth"], "plugin": ["other"]}')
    before = config.read_bytes()
    put_opencode(home, "#!/bin/sh\necho opencode v2.1.0\n")
    home.run("install", "opencode")
    assert config.read_bytes() == before
    assert [path.name for path in home.config.glob("*.json*")] == ["opencode.json"]


def test_a_2_x_is_named_with_what_its_running_service_needs(home: Home):
    put_opencode(home, "#!/bin/sh\necho opencode v2.0.26\n")
    said = home.run("install", "opencode").stdout
    assert "OpenCode 2.0.26: " in said
    assert "opencode service restart" in said
    assert "opencode service restart" in home.run("uninstall", "opencode").stdout
    assert "service" not in home.run("uninstall", "opencode").stdout  # nothing was removed


@pytest.mark.parametrize("version", ["2.0.0", "2.0.3"])
def test_a_release_that_refuses_the_plugin_is_told_to_be_updated(home: Home, version: str):
    put_opencode(home, f"#!/bin/sh\necho opencode v{version}\n")
    said = home.run("install", "opencode").stderr
    assert f"note: OpenCode {version} cannot load the plugin. Update OpenCode to 2.0.4 or newer." in said
    assert shim_path(home.config).exists()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("#!/bin/sh\necho 1.18.35\n", "note: OpenCode 1.18.35 was not tried with the plugin"),
        ("#!/bin/sh\necho what\n", "/bin/opencode printed no version, so its release is not known."),
        ("#!/bin/sh\nexit 9\n", "/bin/opencode ended with exit code 9, so its release is not known."),
    ],
)
def test_what_is_not_known_of_opencode_is_said_and_stops_nothing(home: Home, script: str, says: str):
    put_opencode(home, script)
    assert says in home.run("install", "opencode").stderr
    assert shim_path(home.config).exists()


def test_in_2_x_the_plugin_goes_into_the_folder_that_is_read_instead_of_the_usual_one(home: Home):
    own = home.folder / "own"
    home.environment["OPENCODE_CONFIG_DIR"] = str(own)
    put_opencode(home, "#!/bin/sh\necho opencode v2.1.0\n")
    assert str(shim_path(own)) in home.run("install", "opencode").stdout
    assert not shim_path(home.config).exists()
    assert str(shim_path(own)) in home.run("uninstall", "opencode").stdout
    assert not shim_path(own).exists()


@pytest.mark.real
@pytest.mark.clients
def test_the_real_opencode_is_named_and_finds_what_was_installed(home: Home):
    opencode = OpenCode("1.18.34", home)
    home.environment["PATH"] = f"{opencode.binary.parent}:{home.environment['PATH']}"
    said = home.run("install", "opencode")
    assert "OpenCode 1.18.34: the plugin was run with this release" in said.stdout
    assert said.stderr == ""
    home.environment["KIRO_API_KEY"] = "ksk_test"
    assert "kiro/claude-sonnet-4-5" in opencode.run("models", "kiro").stdout
