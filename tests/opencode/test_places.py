"""Where the two generations of OpenCode look for configuration and plugins."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_auth.opencode.install import install_shim
from kiro_auth.opencode.places import (
    configuration_files,
    loader,
    other_kiro_files,
    plugin_folder,
    plugin_folders,
)

CONFIGURATION = ("opencode.json", "opencode.jsonc")


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which every place is one of the test's own."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    return {"XDG_CONFIG_HOME": str(tmp_path), "OPENCODE_CONFIG_DIR": str(tmp_path / "own")}


@pytest.mark.parametrize(("generation", "folder"), [(1, "opencode"), (None, "opencode"), (2, "own")])
def test_the_plugin_goes_where_the_generation_reads_it(
    tmp_path: Path, named: dict[str, str], generation: int | None, folder: str
):
    assert plugin_folder(generation, named) == tmp_path / folder
    assert plugin_folder(generation, named) in plugin_folders(named)
    del named["OPENCODE_CONFIG_DIR"]
    assert plugin_folder(generation, named) == tmp_path / "opencode"


@pytest.mark.parametrize("generation", [1, None])
def test_configuration_is_looked_for_where_1_x_reads_it(
    tmp_path: Path, named: dict[str, str], generation: int | None
):
    named["OPENCODE_CONFIG"] = str(tmp_path / "named.json")
    assert set(configuration_files(generation, named)) == {
        *(tmp_path / "opencode" / name for name in ("config.json", *CONFIGURATION)),
        *(tmp_path / "home" / ".opencode" / name for name in CONFIGURATION),
        *(tmp_path / "own" / name for name in CONFIGURATION),
        tmp_path / "named.json",
    }


def test_in_2_x_the_named_folder_stands_instead_of_the_usual_one(tmp_path: Path, named: dict[str, str]):
    assert set(configuration_files(2, named)) == {
        *(tmp_path / "home" / ".opencode" / name for name in CONFIGURATION),
        *(tmp_path / "own" / name for name in CONFIGURATION),
    }
    del named["OPENCODE_CONFIG_DIR"]
    assert set(configuration_files(2, named)) == set(configuration_files(1, named))


def test_one_file_by_two_names_is_one(tmp_path: Path):
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "opencode").symlink_to(tmp_path / "dotfiles")
    usual = {"XDG_CONFIG_HOME": str(tmp_path)}
    named = {
        "OPENCODE_CONFIG": str(tmp_path / "dotfiles" / "opencode.json"),
        "OPENCODE_CONFIG_DIR": str(tmp_path / "dotfiles"),
    }
    assert len(configuration_files(1, usual | named)) == len(configuration_files(1, usual))


def written(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("export default {}")
    return path


def test_another_kiro_plugin_is_seen_as_a_file_and_as_a_package_that_only_2_x_loads(
    tmp_path: Path, named: dict[str, str]
):
    files = [written(tmp_path / place) for place in ("opencode/plugin/kiro-auth.ts", "own/plugins/kiro.js")]
    packages = [
        written(tmp_path / place).parent
        for place in ("opencode/plugins/opencode-kiro-auth/package.json", "own/plugin/kiro/index.js")
    ]
    for other in (
        "plugin/theme.js",
        "plugins/theme/index.js",
        "plugins/kiro-plugin/readme.md",
        "plugin/kiro.md",
    ):
        written(tmp_path / "opencode" / other)
    assert set(other_kiro_files(1, named)) == {*files, *packages}
    assert {loader(path) for path in files} == {"OpenCode"}
    assert {loader(path) for path in packages} == {"OpenCode 2"}
    assert set(other_kiro_files(2, named)) == {files[1], packages[1]}


def test_what_is_ours_is_not_another_one(tmp_path: Path, named: dict[str, str]):
    for generation in (1, 2):
        folder = plugin_folder(generation, named)
        mark = install_shim(folder, ["python"]).read_text().splitlines()[0]
        package = folder / "plugins" / "kiro-auth"
        package.mkdir(parents=True, exist_ok=True)
        (package / "index.js").write_text(f"{mark}\nexport default {{}}\n")
    assert other_kiro_files(2, named) == []


def test_a_second_copy_of_ours_that_1_x_would_load_as_well_is_told_of(tmp_path: Path, named: dict[str, str]):
    for generation in (1, 2):
        install_shim(plugin_folder(generation, named), ["python"])
    assert other_kiro_files(1, named) == [tmp_path / "own" / "plugin" / "kiro.js"]
