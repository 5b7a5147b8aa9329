"""A wheel whose hot modules are compiled by mypyc, which hatchling makes where this hook is switched on.

    HATCH_BUILD_HOOK_ENABLE_CUSTOM=true python -m hatchling build --target wheel

`modules` of the hook's table in pyproject.toml says which; they are the very files that run without it, and
they stay in the wheel.  Without the switch the wheel is pure, for every system.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledWheel(BuildHookInterface[Any]):
    """Compiles outside of the tree, and has the wheel take what came of it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hatchling begins a wheel.  Raises what setuptools does when a module cannot be compiled."""
        if version == "editable":  # the tree is to run as it is edited
            return
        self._folder = Path(tempfile.mkdtemp(prefix="compiled-wheel-"))
        built = self._compiled(Path(self.root), self.config["modules"])
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update(
            {str(path): path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
        )

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel is written."""
        del build_data, artifact_path
        if version != "editable":
            shutil.rmtree(self._folder)

    def _compiled(self, root: Path, modules: list[str]) -> Path:
        """The folder with what was compiled, as the wheel is to have it."""
        from mypyc.build import mypycify  # a pure wheel is built without them
        from setuptools import setup

        built = self._folder / "built"
        types = [f"--config-file={root / 'pyproject.toml'}", f"--cache-dir={self._folder / 'types'}"]
        with contextlib.chdir(root / "src"):  # setuptools reads no pyproject.toml there
            extensions = mypycify(
                [*types, *modules], opt_level="3", debug_level="0", target_dir=str(self._folder / "c")
            )
            folders = [f"--build-lib={built}", f"--build-temp={self._folder / 'objects'}"]
            setup(name="compiled", packages=[], ext_modules=extensions, script_args=["build_ext", *folders])
        return built
