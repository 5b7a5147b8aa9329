"""A `systemctl --user` that does with a unit what systemd does, as far as `kiro-auth service` needs it.

systemd itself runs only where it was started first.  The words of the unit are read by the rules of POSIX
shells, which are those of systemd.syntax(7) for what stands in double quotes.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["HOME"]) / ".config" / "systemd" / "user"
NAME = "kiro-auth.service"
PID = Path(os.environ["HOME"]) / "systemd.pid"


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (FOLDER / NAME).read_text().splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def supervise() -> None:
    """Start the program, and again whenever it has ended, until told to end."""
    unit = settings()
    (line,) = unit["ExecStart"]
    assert line[0] == ":", "else systemd would look for variables in the words"
    command = [word.replace("%%", "%") for word in shlex.split(line[1:])]
    given = [word for line in unit.get("Environment", []) for word in shlex.split(line)]
    manager = {"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin", "USER": "root", "LANG": "C.UTF-8"}
    environment = {**manager, **dict(word.replace("%%", "%").partition("=")[::2] for word in given)}
    running: list[subprocess.Popen[bytes]] = []
    told: list[int] = []

    def end(number: int, _: object) -> None:
        told.append(number)
        for process in running:
            process.terminate()

    signal.signal(signal.SIGTERM, end)
    assert unit["Restart"] == ["always"]
    while not told:
        running[:] = [subprocess.Popen(command, env=environment, cwd="/", stdin=subprocess.DEVNULL)]
        if told:  # between the start and its being known
            running[0].terminate()
        running[0].wait()
        running.clear()
        for _ in range(10 * int(unit["RestartSec"][0])):
            if told:
                break
            time.sleep(0.1)


def stop() -> None:
    if not PID.exists():
        return
    pid = int(PID.read_text())
    PID.unlink()
    os.kill(pid, signal.SIGTERM)
    while _runs(pid):
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether it has not ended, be it that nobody has taken notice of that yet."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def main(verb: str, *words: str) -> int:
    wanted = FOLDER / "default.target.wants" / NAME
    if verb == "enable":
        wanted.parent.mkdir(exist_ok=True)
        wanted.unlink(missing_ok=True)
        wanted.symlink_to(FOLDER / NAME)
    elif verb == "restart":
        stop()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                PID.write_text(str(os.getpid()))
                null = os.open(os.devnull, os.O_RDWR)
                for descriptor in (0, 1, 2):
                    os.dup2(null, descriptor)
                supervise()
            os._exit(0)
        os.wait()
    elif verb == "disable":
        assert "--now" in words
        stop()
        wanted.unlink(missing_ok=True)
    elif verb == "is-active":
        return 0 if PID.exists() else 3
    else:
        assert verb in ("show-environment", "daemon-reload", "reset-failed"), verb
    return 0


if __name__ == "__main__":
    assert sys.argv[1] == "--user"
    sys.exit(main(*sys.argv[2:]))
