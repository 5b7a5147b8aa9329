"""The installer: its files written, its files removed, nothing else touched."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kiro_auth.failures import ConfigFailed
from kiro_auth.opencode.install import (
    MARK,
    install_shim,
    render,
    shim_path,
    uninstall_shim,
)
from support.npm import NODE

START = ["/usr/bin/python3", "-m", "kiro_auth", "serve"]


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


FILES = {"plugin/kiro.js", "plugins/kiro-auth/index.js", "plugins/kiro-auth/tui.js"}
"""The plugin, and the two that OpenCode 2.x looks for when it opens a window."""


def test_install_writes_its_files_and_uninstall_leaves_nothing(tmp_path: Path):
    path = install_shim(tmp_path, START)
    written = listing(tmp_path)
    assert set(written) == FILES
    assert all(text.startswith(MARK.encode()) for text in written.values())
    assert uninstall_shim(tmp_path) == path
    assert listing(tmp_path) == {}
    assert not (tmp_path / "plugins" / "kiro-auth").exists()


def test_installing_twice_replaces_the_files(tmp_path: Path):
    install_shim(tmp_path, ["old"])
    install_shim(tmp_path, START)
    assert set(listing(tmp_path)) == FILES
    assert listing(tmp_path)["plugin/kiro.js"] == render(START).encode()


def test_what_somebody_else_put_into_the_folder_stays(tmp_path: Path):
    install_shim(tmp_path, START)
    mine = tmp_path / "plugins" / "kiro-auth" / "mine.js"
    mine.write_text("mine")
    uninstall_shim(tmp_path)
    assert listing(tmp_path) == {"plugins/kiro-auth/mine.js": b"mine"}


@pytest.mark.parametrize("file", sorted(FILES))
def test_a_file_of_somebody_else_in_any_place_of_ours_stops_the_whole(tmp_path: Path, file: str):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text("export default {}")
    with pytest.raises(ConfigFailed, match=str(path)):
        install_shim(tmp_path, START)
    assert listing(tmp_path) == {file: b"export default {}"}


def test_no_placeholder_is_left():
    text = render(START)
    assert "@VERSION@" not in text
    assert "@VARIABLES@" not in text
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
    path.write_text(render(start) + "\nconsole.log(JSON.stringify(START))\n", encoding="utf-8")
    done = subprocess.run([NODE, str(path)], capture_output=True, text=True, encoding="utf-8", timeout=120)
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
