"""The installer: one file written, one file removed, nothing else touched."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kiro_auth.failures import ConfigFailed
from kiro_auth.opencode.install import (
    MARK,
    configuration_files,
    install_shim,
    render,
    shim_path,
    uninstall_shim,
)
from support.npm import NODE

START = ["/usr/bin/python3", "-m", "kiro_auth", "serve"]


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_install_writes_one_file_and_uninstall_leaves_nothing(tmp_path: Path):
    path = install_shim(tmp_path, START)
    assert list(listing(tmp_path)) == ["plugin/kiro.js"]
    assert path.read_text().startswith(MARK)
    assert uninstall_shim(tmp_path) == path
    assert listing(tmp_path) == {}


def test_installing_twice_replaces_the_file(tmp_path: Path):
    install_shim(tmp_path, ["old"])
    install_shim(tmp_path, START)
    assert listing(tmp_path) == {"plugin/kiro.js": render(START).encode()}


def test_no_placeholder_is_left():
    text = render(START)
    for placeholder in ("@VERSION@", "@START@", "@MODELS@"):
        assert placeholder not in text
    assert json.dumps(START, separators=(",", ":")) in text


@pytest.mark.parametrize(
    "start",
    [
        ["C:\\Program Files\\Python\\python.exe", "-m", "kiro_auth"],
        ["/home/o\"neil/it's `here` ${x}/python", "-m", "kiro_auth"],
        ["/home/jürgen/\u2028/python"],
    ],
    ids=["windows", "quotes", "unicode"],
)
def test_any_path_of_python_is_valid_javascript(tmp_path: Path, start: list[str]):
    path = tmp_path / "kiro.mjs"
    path.write_text(render(start) + "\nconsole.log(JSON.stringify(start()))\n", encoding="utf-8")
    done = subprocess.run([NODE, str(path)], capture_output=True, text=True, encoding="utf-8", timeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == start


def test_a_file_of_somebody_else_is_neither_replaced_nor_removed(tmp_path: Path):
    path = shim_path(tmp_path)
    path.parent.mkdir()
    path.write_text("export const Mine = async () => ({})\n")
    before = listing(tmp_path)
    with pytest.raises(ConfigFailed, match=str(path)):
        install_shim(tmp_path, START)
    with pytest.raises(ConfigFailed, match=str(path)):
        uninstall_shim(tmp_path)
    assert listing(tmp_path) == before


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path):
    shim_path(tmp_path).mkdir(parents=True)
    with pytest.raises(ConfigFailed, match="cannot be used"):
        install_shim(tmp_path, START)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path):
    (tmp_path / "plugin").write_text("")
    with pytest.raises(ConfigFailed, match="cannot be used"):
        install_shim(tmp_path, START)


def test_uninstall_without_a_plugin_does_nothing(tmp_path: Path):
    assert uninstall_shim(tmp_path) is None


def test_configuration_is_looked_for_where_opencode_reads_it(tmp_path: Path):
    folder = tmp_path / "opencode"
    named = {"OPENCODE_CONFIG": str(tmp_path / "named.json"), "OPENCODE_CONFIG_DIR": str(tmp_path / "own")}
    found = configuration_files(folder, named)
    assert set(found) == {
        *(folder / name for name in ("config.json", "opencode.json", "opencode.jsonc")),
        *(Path.home() / ".opencode" / name for name in ("opencode.json", "opencode.jsonc")),
        *(tmp_path / "own" / name for name in ("opencode.json", "opencode.jsonc")),
        tmp_path / "named.json",
    }


def test_one_file_by_two_names_is_one(tmp_path: Path):
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "opencode").symlink_to(tmp_path / "dotfiles")
    named = {
        "OPENCODE_CONFIG": str(tmp_path / "dotfiles" / "opencode.json"),
        "OPENCODE_CONFIG_DIR": str(tmp_path / "dotfiles"),
    }
    folder = tmp_path / "opencode"
    assert len(configuration_files(folder, named)) == len(configuration_files(folder, {}))
