"""Wheel and sdist: the same bytes each time, and in them what the tree holds and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from kiro_auth import __version__

ROOT = Path(__file__).parents[1]
NAME = f"opencode_kiro_auth-{__version__}"
WHEEL, SDIST = f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"

pytestmark = pytest.mark.outside


def tracked() -> set[str]:
    """What the repository holds, with what is not committed yet."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name for name in listed if (ROOT / name).is_file()}


def built(folder: Path, *, mask: int, touched: float) -> Path:
    """The folder of what is built of a copy of the tree, whose files have those rights and that age."""
    tree = folder / "a tree"
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
        (tree / name).chmod((0o777 if os.access(ROOT / name, os.X_OK) else 0o666) & ~mask)
        os.utime(tree / name, (touched, touched))
    made = folder / "made"
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(made)],
        cwd=tree, env=environment, umask=mask, check=True, capture_output=True, timeout=400,
    )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return (
        built(tmp_path_factory.mktemp("one"), mask=0o022, touched=1_600_000_000),
        built(tmp_path_factory.mktemp("another-place"), mask=0o027, touched=1_700_000_000),
    )


@pytest.mark.parametrize("name", [WHEEL, SDIST])
def test_built_twice_it_is_the_same_byte_for_byte(both: tuple[Path, Path], name: str) -> None:
    one, other = both
    assert (one / name).read_bytes() == (other / name).read_bytes()


def test_the_wheel_holds_the_package_and_nothing_else(both: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(both[0] / WHEEL) as files:
        held = {name for name in files.namelist() if not name.startswith(f"{NAME}.dist-info/")}
    assert held == {name.removeprefix("src/") for name in tracked() if name.startswith("src/kiro_auth/")}


def test_the_sdist_holds_what_the_repository_holds(both: tuple[Path, Path]) -> None:
    with tarfile.open(both[0] / SDIST) as files:
        held = {member.name.removeprefix(f"{NAME}/") for member in files if member.isfile()}
    assert held == {*tracked(), "PKG-INFO"}
