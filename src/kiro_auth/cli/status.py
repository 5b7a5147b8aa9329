"""`kiro-auth status` and `kiro-auth stop`: the gateway of this user."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from kiro_auth.cli.output import (
    described,
    note_failure,
    print_accounts,
    print_json,
    print_note,
    readable,
    say,
    spoken,
)
from kiro_auth.cli.waiting import waiting
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.folders import state_folder
from kiro_auth.times import when

if TYPE_CHECKING:
    from kiro_auth.gateway.calls import Reached
    from kiro_auth.gateway.discovery import Address

_END_SECONDS: Final = 15.0


def status(
    json: bool = typer.Option(False, "--json", help="Print JSON."),
    health: bool = typer.Option(
        False, "--health", help="Only whether the gateway answers: for the health checks of a container."
    ),
) -> None:
    """Say whether the gateway runs, and how the accounts are.

    Exit code 1: no gateway runs.
    """
    if health:
        _say_health(json)
        return
    from kiro_auth.gateway.discovery import STATE_FILE
    from kiro_auth.gateway.other_options import OTHER_OPTIONS, has_other_options, remedy
    from kiro_auth.gateway.own_store import own_store

    folder = state_folder()
    reached = looked_up(folder)
    running = reached.ours
    if json:
        accounts = [described(account) for account in readable(own_store())]
        facts = {**_described(reached), "stateFile": str(folder / STATE_FILE), "accounts": accounts}
        print_json({**facts, "waiting": _waiting(running)})
    elif running:
        say(f"Running at {running.url}, process {running.pid}, version {running.version}.")
        say("Address and key stay. The key: kiro-auth key show")
        for waits in _waiting(running):
            say(_in_words(waits))
        if has_other_options(running):
            print_note(f"{OTHER_OPTIONS} {remedy(running)}")
        if news := _news(folder):
            note_failure(news)
    else:
        say(_not_running(reached))
    if not json:
        print()
        print_accounts(readable(own_store()))
        _note_unsaved()
    if not running:
        raise typer.Exit(1)


def _say_health(json: bool) -> None:
    """What is at the address where this machine's programs are served, under TLS for others or not.

    Nothing is asked of the store: a gateway is well that cannot reach it.
    """
    reached = looked_up(state_folder())
    if json:
        print_json(_described(reached))
    else:
        say(f"Running at {reached.ours.url}." if reached.ours else _not_running(reached))
    if reached.ours is None:
        sys.exit(1)  # Typer may not be there to take an Exit of its own


def _waiting(running: Address | None) -> list[dict[str, str]]:
    """The requests that wait for the reset of a plan: whose, and until when."""
    from kiro_auth.gateway.calls import Listener, call
    from kiro_auth.json_values import NotJson, as_list, as_object, decoded

    if running is None:
        return []
    answer = call(running, "GET", "/kiro/waiting")
    if answer.listener is not Listener.OURS:
        print_note("Whether requests wait for the reset of a plan the gateway does not say in time.")
        return []
    try:
        return as_list(as_object(decoded(answer.body)).get("waiting"))
    except NotJson:  # it is of an older version
        return []


def _in_words(waits: dict[str, str]) -> str:
    from datetime import datetime

    until = datetime.fromisoformat(waits["until"]).timestamp()
    return f"A request waits for the reset of {waits['account']}, {when(until, time.time())}."


def _note_unsaved() -> None:
    from kiro_auth.accounts.unsaved import unsaved
    from kiro_auth.gateway.own_store import kept_store

    for name in unsaved(kept_store()):
        message = f"The new token of {name} could not be saved yet."
        note_failure(Failure(code="KA-STORE", message=message, next_step="See why: kiro-auth doctor"))


def looked_up(folder: Path, method: str = "GET", path: str = "/health") -> Reached:
    """Call the user's gateway; a stranger who listens in its place is told of on stderr."""
    from kiro_auth.gateway.calls import reach, stranger_in_place

    with waiting("Asking the gateway"):
        reached = reach(folder, method, path)
    if stranger := stranger_in_place(reached):
        note_failure(stranger)
    return reached


def _described(reached: Reached) -> dict[str, Any]:
    from kiro_auth.gateway.other_options import has_other_options

    running = reached.ours
    if running is None:
        answer = reached.answer
        last = {"lastUrl": f"http://{reached.place}" if reached.place else None}
        return {"running": False, **last, "listener": answer.listener, "listenerUid": answer.uid}
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
        return spoken(hung)
    where = f" It will be at http://{reached.place} again." if _is_free(reached) else ""
    starts = "OpenCode and kiro-auth run start it when needed; for other programs: kiro-auth serve"
    return f"Not running.{where} {starts}"


def _is_free(reached: Reached) -> bool:
    from kiro_auth.gateway.calls import Listener

    return reached.place is not None and reached.answer.listener is Listener.NOBODY


def _news(folder: Path) -> Failure | None:
    """What there is to say of a change of the address."""
    from kiro_auth.gateway.kept_address import read

    kept = read(folder)
    return kept.news(time.time()) if kept else None


def stop() -> None:
    """End the gateway, after the answers that are under way."""
    from kiro_auth.gateway.calls import answered

    folder = state_folder()
    reached = looked_up(folder, "POST", "/kiro/stop")
    if reached.ours is None and not reached.held:
        say("Not running.")
        return
    gateway, _ = answered(reached)
    with waiting("Waiting for answers that are under way"):
        left = _has_left(folder, gateway)
    if not left:
        raise KiroAuthError(
            Failure(
                code="KA-GATEWAY",
                message=f"The gateway, process {gateway.pid}, does not end.",
                next_step=f"Look at {folder / 'gateway.log'}.",
            )
        )
    say("Stopped.")
    if _service_starts_it_again():
        print_note("The service starts it again in a few seconds. To end it: kiro-auth service uninstall")


def _service_starts_it_again() -> bool:
    from kiro_auth.service.here import manager_here

    manager = manager_here()
    return manager.starts_again and manager.is_installed() and manager.is_running()


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
