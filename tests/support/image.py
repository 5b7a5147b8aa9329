"""The image of deploy/Containerfile, built by a real builder; what runs in it is confined as a container is.

The base that the file names is in a registry; in its place stands Debian's own Python, in a system made of
Debian's packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from filelock import FileLock

from support.npm import CACHE as NPM_CACHE

ROOT: Final = Path(__file__).parents[2]
USER: Final = 10001
_SUITE: Final = "bookworm"
_CACHE: Final = NPM_CACHE.parent / "debian"
_SECONDS: Final = 900
# What the machine's own pip needs to know here, if it does.
_PIP: Final = ("/etc/pip.conf", "/etc/ssl/certs", os.environ.get("PIP_FIND_LINKS", ""))
_CONFINED: Final = """
set -e
ip link set lo up
mount --bind "$ROOT" "$ROOT"
mount -t tmpfs -o size=16m,mode=1777 tmpfs "$ROOT/tmp"
mount --bind "$STATE" "$ROOT/var/lib/kiro-auth"
mount -t proc proc "$ROOT/proc"
mount --bind /dev "$ROOT/dev"
mount -o remount,bind,ro "$ROOT"
exec chroot "$ROOT" setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups --no-new-privs \\
    --inh-caps=-all --bounding-set=-all /usr/bin/env -i "$@"
"""


class Image:
    """The image: its root file system at `root`, and what it says of itself in `config`."""

    def __init__(self, root: Path, config: Mapping[str, Any]) -> None:
        self.root = root
        self.config = config

    def command(
        self, *arguments: str, state: Path, environment: Mapping[str, str], own_network: bool = False
    ) -> list[str]:
        """How to run `arguments` in it: as its user, nothing writable but `state` and /tmp, no capability.

        It has this machine's network, or one `own_network` with nobody else in it.
        """
        values = dict(each.split("=", 1) for each in self.config["Env"]) | environment
        return [
            "env", f"ROOT={self.root}", f"STATE={state}", f"USER_ID={USER}",
            "unshare", "--mount", "--pid", "--fork", "--kill-child", *(["--net"] if own_network else []),
            "sh", "-c", _CONFINED, "sh",
            *(f"{name}={value}" for name, value in values.items()), *arguments,
        ]  # fmt: skip


@contextmanager
def built(folder: Path) -> Iterator[Image]:
    """The image, built in this folder for as long as the block lasts.

    Skips the test where it cannot be built, but fails in CI.
    """
    missing = [
        name for name in ("buildah", "debootstrap", "unshare", "setpriv", "ip") if shutil.which(name) is None
    ]
    if missing or os.getuid():
        reason = (
            f"needs root, and of Debian's packages buildah, debootstrap and iproute2 (missing: {missing})"
        )
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    call = _Builder(folder)
    base = folder / "Containerfile"
    base.write_text("FROM scratch\nADD . /\n")
    call("build", "--isolation", "chroot", "--file", str(base), "--tag", "localhost/base", str(_debian()))
    volumes = [f"--volume={path}:{path}:ro" for path in _PIP if path and Path(path).exists()]
    call(
        "build", "--isolation", "chroot", "--format", "docker", *volumes,
        "--build-arg", "BASE=localhost/base", "--file", str(ROOT / "deploy/Containerfile"),
        "--tag", "localhost/kiro-auth", str(ROOT),
    )  # fmt: skip
    container = call("from", "localhost/kiro-auth")
    try:
        described = json.loads(call("inspect", "--type", "image", "localhost/kiro-auth"))
        yield Image(Path(call("mount", container)), described["Docker"]["config"])
    finally:
        call("rm", container)


class _Builder:
    """buildah, with all that it keeps in a folder."""

    def __init__(self, folder: Path) -> None:
        self._places = (
            "--storage-driver",
            "vfs",
            "--root",
            str(folder / "store"),
            "--runroot",
            str(folder / "run"),
        )

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            ["buildah", *self._places, *arguments], capture_output=True, text=True, timeout=_SECONDS
        )
        assert done.returncode == 0, f"buildah {arguments[0]}: {done.stderr[-2000:]}"
        return done.stdout.strip()


def _debian() -> Path:
    """A small Debian with Python, made anew each month."""
    home = _CACHE / f"{_SUITE}-{time.strftime('%Y-%m')}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not (home / ".complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run(
                ["debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates",
                 _SUITE, str(home / "root")],
                check=True,
                capture_output=True,
                timeout=_SECONDS,
            )  # fmt: skip
            (home / ".complete").touch()
    return home / "root"
