"""`kiro-auth service`: the gateway started by the system, for programs that cannot start it themselves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from kiro_auth.cli.help import Commands
from kiro_auth.cli.output import print_json, print_note, say
from kiro_auth.failures import Failure, KiroAuthError

if TYPE_CHECKING:
    from kiro_auth.gateway.discovery import Address

app = Commands(
    help="Have your system start the gateway when you log in: for editors and other programs that cannot.",
)


@app.command()
def install() -> None:
    """Start the gateway now, and whenever you log in; it does not end unused.

    It is a user unit of systemd on Linux, an agent of launchd on macOS, a scheduled task on Windows. What
    KIRO_ variables, proxy and folders are set now is written down with it; after a change install it again.
    """
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.calls import reach
    from kiro_auth.gateway.own_store import where_kept
    from kiro_auth.service.here import manager_here
    from kiro_auth.service.program import gateway_program

    manager, program = manager_here(), gateway_program(store=where_kept())
    before = reach(state_folder()).ours
    manager.install(program)
    gateway = _begun(before)
    say(f"Installed: {manager.place}")
    say(f"The gateway runs at {gateway.url}, now and whenever you log in.")
    say("kiro-auth key show prints its key. To end it: kiro-auth service uninstall")
    if manager.advice:
        print_note(manager.advice)


@app.command()
def uninstall() -> None:
    """End the gateway, and have it started no more; nothing of the service is left."""
    from kiro_auth.service.here import manager_here

    manager = manager_here()
    if not manager.is_installed():
        say("Not installed.")
        return
    manager.uninstall()
    say("Removed. OpenCode and kiro-auth run start the gateway when they need it.")


@app.command()
def status(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Say whether the service is installed, and runs. Exit code 1: it is not installed, or does not run."""
    from kiro_auth.service.here import manager_here

    manager = manager_here()
    installed = manager.is_installed()
    running = installed and manager.is_running()
    if json:
        place = manager.place if installed else None
        print_json({"installed": installed, "running": running, "place": place})
    elif not installed:
        say("Not installed. To have the gateway whenever you log in: kiro-auth service install")
    else:
        say(f"Installed: {manager.place}")
        say("It runs." if running else "It does not run. Start it again: kiro-auth service install")
    if not running:
        raise typer.Exit(1)


def _begun(before: Address | None) -> Address:
    """The gateway of the service, once it answers in the place of the one before."""
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.calls import reach
    from kiro_auth.gateway.log_lines import LOG_FILE
    from kiro_auth.gateway.starting import START_SECONDS

    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        now = reach(state_folder()).ours
        if now is not None and (before is None or now.secret != before.secret):
            return now
        time.sleep(0.1)
    raise KiroAuthError(
        Failure(
            code="KA-GATEWAY",
            message=f"The service is installed, but its gateway does not answer in {START_SECONDS} seconds.",
            next_step=f"See {state_folder() / LOG_FILE}, then: kiro-auth service status",
        )
    )
