"""Which of them this machine has."""

from __future__ import annotations

from kiro_auth.folders import Machine, this_machine
from kiro_auth.service.launchd import Launchd
from kiro_auth.service.manager import Manager
from kiro_auth.service.systemd import Systemd
from kiro_auth.service.task_scheduler import TaskScheduler


def manager_here(machine: Machine | None = None) -> Manager:
    """What starts the user's services on this machine."""
    machine = machine or this_machine()
    if machine.system == "win32":
        return TaskScheduler(machine)
    return Launchd(machine) if machine.system == "darwin" else Systemd(machine)
