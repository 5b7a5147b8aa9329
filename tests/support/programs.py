"""Our own programs, started as a user starts them, each test in a home of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pexpect

from support import in_process
from support.ports import free_port

KIRO_AUTH = [sys.executable, "-P", "-m", "kiro_auth"]
STARTING = ("demo", "env", "run", "serve", "simulate")
"""Verbs that stay, or start programs that outlive them: always processes of their own."""
KEY = "a-test-key-of-thirty-two-characters"
OF_A_TERMINAL = ("COLUMNS", "LINES", "FORCE_COLOR", "CLICOLOR_FORCE")
"""What whoever runs the tests may have set for their own, whose shape no command of the tests is to take."""
SECONDS = 240


_RESTORING = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def as_usual(*command: str) -> list[str]:
    """The command, for which Ctrl-C and a closed terminal mean what they mean in a shell.

    A background job and nohup ignore these signals, and what they start inherits that.
    """
    ignored = signal.SIG_IGN in (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP))
    return [*([sys.executable, "-S", "-c", _RESTORING] if ignored else []), *command]


class Terminal(pexpect.spawn):
    """A program in a terminal of its own.

    pexpect itself gives one that closed its terminal, or that was killed, a tenth of a second to be gone.
    """

    def close(self, force: bool = True) -> None:
        if self.flag_eof and not self.closed:
            self.wait()
        try:
            super().close(force)
        except pexpect.ExceptionPexpect:  # it was killed, and a busy machine has not come to it yet
            self.ptyproc.wait()
            super().close(force)


class Home:
    """A fresh home; `environment` is what programs see there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / ".config" / "opencode"
        self.state = folder / ".local" / "state" / "kiro-auth"
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in OF_A_TERMINAL and not name.startswith(("KIRO_", "XDG_", "OPENCODE_", "COV_"))
        }
        self.environment = {**kept, "HOME": str(folder), "PYTHONUNBUFFERED": "1", "CI": "1", "NO_COLOR": "1"}

    def run(
        self,
        *arguments: str,
        stdin: str = "",
        check: bool = True,
        folder: Path | None = None,
        columns: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """One command of ours, in that folder; with `columns` it takes its output for a terminal so wide.

        It runs inside the test's process if it can, which takes a fortieth of the time.
        """
        if arguments[0] in STARTING:
            return self.process(*arguments, stdin=stdin, check=check, folder=folder)
        done = in_process.run(arguments, self.environment, stdin=stdin, folder=folder, columns=columns)
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def process(
        self, *arguments: str, stdin: str = "", check: bool = True, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """One command of ours as a process of its own, for tests of what only a process has."""
        done = subprocess.run(
            as_usual(*KIRO_AUTH, *arguments),
            cwd=folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def accounts(self) -> list[dict[str, Any]]:
        """What is stored."""
        return json.loads((self.config / "kiro-accounts.json").read_text())["accounts"]

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command of ours that stays; ended with the block."""
        process = subprocess.Popen(
            as_usual(*KIRO_AUTH, *arguments), env=self.environment, stdout=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(90)
            assert process.stdout is not None
            process.stdout.close()

    def terminal(
        self,
        *arguments: str,
        columns: int = 200,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> Terminal:
        """A command of ours in a terminal of its own; `environment` is instead of the home's."""
        program, *words = as_usual(*KIRO_AUTH, *arguments)
        return Terminal(
            program,
            words,
            env=dict(self.environment if environment is None else environment),
            encoding="utf-8",
            timeout=SECONDS,
            dimensions=(40, columns),
            cwd=folder,
        )

    @contextlib.contextmanager
    def simulator(self, *arguments: str) -> Iterator[Simulator]:
        """A simulated AWS that this home's programs ask from now on."""
        with self.started("simulate", "--port", "0", "--json", *arguments) as process:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            self.environment |= said["environment"]
            yield Simulator(said["url"])

    @contextlib.contextmanager
    def gateway(self, **environment: str) -> Iterator[str]:
        """A gateway at a port of its own; its address.  The key is KEY."""
        self.environment |= {"KIRO_GATEWAY_KEY": KEY, **environment}
        with self.started("serve", "--port", str(free_port())) as process:
            assert process.stdout is not None
            yield process.stdout.readline().split()[2].rstrip(";")

    def keep_address(self) -> None:
        """Have its gateways keep a port that no gateway of another test can take between two of them.

        Without that each chooses among ten thousand for its first one, so another may get it.  The port
        behind it stays free as well.
        """
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = self.state / "address.json"
        kept.write_text(json.dumps({"port": free_port(2), "key": secrets.token_urlsafe(32)}))
        kept.chmod(0o600)

    def stop_gateway(self) -> None:
        """End the one that OpenCode started, if there is one."""
        self.run("stop")


class Simulator:
    """The control side of a running simulator."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, body: Any = None) -> Any:
        """One control call."""
        request = urllib.request.Request(
            f"{self.url}/_control/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def calls(self, operation: str = "GenerateAssistantResponse") -> list[dict[str, Any]]:
        """The calls of one operation, oldest first."""
        return [call for call in self.ask("calls")["calls"] if call["operation"] == operation]

    def script(self, *replies: Any) -> None:
        """What the next chat calls are answered with."""
        self.ask("script", list(replies))


class Services:
    """One simulator for the tests of many homes, which come one after the other."""

    def __init__(self, simulator: Simulator, environment: Mapping[str, str]) -> None:
        self._simulator = simulator
        self._environment = environment

    def begin(self, home: Home, *, auto_approve: bool) -> Simulator:
        """The simulator as if it had just begun, which this home's programs ask from now on."""
        simulator, environment = self.fresh(auto_approve=auto_approve)
        home.environment |= environment
        return simulator

    def fresh(self, *, auto_approve: bool) -> tuple[Simulator, Mapping[str, str]]:
        """The same for a home that is still to be made: the variables that it needs.

        It may be asked ten times a second whether a sign-in was confirmed, not once as is usual, and as
        `Home.simulator` has it.
        """
        self._simulator.ask("reset", {})
        self._simulator.ask("settings", {"autoApprove": auto_approve, "deviceInterval": 0.1})
        return self._simulator, self._environment


@contextlib.contextmanager
def services(home: Home) -> Iterator[Services]:
    """Simulated services until the end of the block; they run as a process of that home."""
    before = dict(home.environment)
    with home.simulator() as simulator:
        yield Services(simulator, {k: v for k, v in home.environment.items() if before.get(k) != v})
