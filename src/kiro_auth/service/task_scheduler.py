"""The service as a scheduled task at logon, on Windows.

Format: the Task Scheduler Schema, https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema.
A task has no variables of its own; it sees those of the user's account.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path, PureWindowsPath
from typing import Final
from xml.sax.saxutils import escape

from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.folders import Machine
from kiro_auth.service.manager import outcome, told
from kiro_auth.service.program import Program

NAME: Final = "kiro-auth"
_UNAVAILABLE: Final = "The task scheduler does not take the service"
_REMEDY: Final = "Start kiro-auth serve in a window that stays."
_TASK: Final = """\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>The gateway of kiro-auth</Description></RegistrationInfo>
  <Triggers><LogonTrigger><UserId>{user}</UserId></LogonTrigger></Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{user}</UserId>
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>99</Count></RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec><Command>{program}</Command><Arguments>{arguments}</Arguments></Exec>
  </Actions>
</Task>
"""


def task(program: Program, user: str) -> bytes:
    """The task's definition; `user` has the domain before it."""
    python, *arguments = program.command
    # The Python that opens no window.
    quiet = str(PureWindowsPath(python).with_name("pythonw.exe"))
    words = subprocess.list2cmdline(arguments)
    text = _TASK.format(user=escape(user), program=escape(quiet), arguments=escape(words))
    return text.encode("utf-16")


class TaskScheduler:
    """The user's tasks."""

    starts_again = False
    advice: str | None = None

    def __init__(self, machine: Machine) -> None:
        environment = machine.environment
        self._user = f"{environment.get('USERDOMAIN', '.')}\\{environment.get('USERNAME', '')}"

    @property
    def place(self) -> str:
        """The task's name."""
        return f"the scheduled task {NAME}"

    def is_installed(self) -> bool:
        """Whether there is such a task."""
        done = outcome(("schtasks", "/Query", "/TN", NAME))
        return done is not None and done.returncode == 0

    def is_running(self) -> bool:
        """Whether it runs."""
        done = outcome(("schtasks", "/Query", "/TN", NAME, "/FO", "CSV", "/NH"))
        return done is not None and "Running" in done.stdout

    def install(self, program: Program) -> None:
        """Make the task, in place of one that is there, and run it."""
        if program.variables:
            names = ", ".join(program.variables)
            raise ConfigFailed(
                Failure(
                    code="KA-CONFIG",
                    message=f"A scheduled task does not see the variables of this window: {names}.",
                    next_step="Unset them here, and set them for your account (setx) or in kiro.json.",
                )
            )
        with tempfile.TemporaryDirectory() as folder:
            definition = Path(folder) / "task.xml"
            definition.write_bytes(task(program, self._user))
            create = ("schtasks", "/Create", "/TN", NAME, "/XML", str(definition), "/F")
            told(create, _UNAVAILABLE, _REMEDY)
        outcome(("schtasks", "/End", "/TN", NAME))
        told(("schtasks", "/Run", "/TN", NAME), _UNAVAILABLE, _REMEDY)

    def uninstall(self) -> None:
        """End it, and delete the task."""
        outcome(("schtasks", "/End", "/TN", NAME))
        outcome(("schtasks", "/Delete", "/TN", NAME, "/F"))
