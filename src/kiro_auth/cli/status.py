"""`kiro-auth status` and `kiro-auth stop`: the gateway of this user."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from kiro_auth.cli.output import described, note_failure, print_accounts, print_json, print_note, readable
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.folders import state_folder

if TYPE_CHECKING:
    from kiro_auth.gateway.calls import Reached
    from kiro_auth.gateway.discovery import Address

OTHER_OPTIONS: Final = (
    "It was started with other options than kiro.json and the KIRO_ variables have now; "
    "kiro-auth stop: the next request starts it anew."
)
_END_SECONDS: Final = 15.0


def status(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Say whether and where the gateway runs, and how the accounts are. Exit code 1: no gateway runs."""
    from kiro_auth.gateway.discovery import STATE_FILE
    from kiro_auth.gateway.options import has_other_options
    from kiro_auth.gateway.own_store import own_store

    folder = state_folder()
    reached = looked_up(folder)
    running = reached.ours
    if json:
        accounts = [described(account) for account in readable(own_store())]
        print_json({**_described(reached), "stateFile": str(folder / STATE_FILE), "accounts": accounts})
    elif running:
        typer.echo(f"Running at {running.url}, process {running.pid}, version {running.version}.")
        typer.echo(f"Address and key for other programs: {folder / STATE_FILE}")
        if has_other_options(running):
            print_note(OTHER_OPTIONS)
    else:
        typer.echo(_not_running(reached))
    if not json:
        print_accounts(readable(own_store()))
        _note_unsaved()
    if not running:
        raise typer.Exit(1)


def _note_unsaved() -> None:
    from kiro_auth.accounts.unsaved import unsaved
    from kiro_auth.gateway.own_store import kept_store

    for name in unsaved(kept_store()):
        print_note(f"the new token of {name} could not be saved yet: kiro-auth doctor says more.")


def looked_up(folder: Path, method: str = "GET", path: str = "/health") -> Reached:
    """Call the user's gateway; a stranger who listens in its place is told of on stderr."""
    from kiro_auth.gateway.calls import reach, stranger_in_place

    reached = reach(folder, method, path)
    if stranger := stranger_in_place(reached):
        note_failure(stranger)
    return reached


def _described(reached: Reached) -> dict[str, Any]:
    from kiro_auth.gateway.options import has_other_options

    running = reached.ours
    if running is None:
        return {"running": False, "listener": reached.answer.listener, "listenerUid": reached.answer.uid}
    return {
        "running": True,
        "url": running.url,
        "pid": running.pid,
        "version": running.version,
        "otherOptions": has_other_options(running),
    }


def _not_running(reached: Reached) -> str:
    from kiro_auth.gateway.calls import trouble

    if reached.held and (hung := trouble(reached)):
        return hung.sentence()
    return "Not running. OpenCode starts it when needed; start it yourself with: kiro-auth serve"


def stop() -> None:
    """End the gateway; answers under way are finished first."""
    from kiro_auth.gateway.calls import trouble

    folder = state_folder()
    reached = looked_up(folder, "POST", "/kiro/stop")
    if reached.held and (hung := trouble(reached)):
        raise KiroAuthError(hung)
    if reached.ours is None:
        typer.echo("Not running.")
        return
    if not _has_left(folder, reached.ours):
        raise KiroAuthError(
            Failure(
                code="KA-INTERNAL",
                message=f"Process {reached.ours.pid} does not end.",
                next_step="Look at its log.",
            )
        )
    typer.echo("Stopped.")


def _has_left(folder: Path, gateway: Address) -> bool:
    """Whether the gateway gives up its place in good time."""
    from kiro_auth.gateway.discovery import Seat, find

    end = time.monotonic() + _END_SECONDS
    while time.monotonic() < end:
        # Another one may have begun already.
        if find(folder) not in (gateway, None) or Seat(folder).is_free():
            return True
        time.sleep(0.05)
    return False
