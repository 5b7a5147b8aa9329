"""`kiro-auth status` and `kiro-auth stop`: the gateway of this user."""

from __future__ import annotations

import http.client
import os
import signal
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from kiro_auth.cli.output import print_json, print_note
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.folders import state_folder

if TYPE_CHECKING:
    from kiro_auth.gateway.discovery import Address

OTHER_OPTIONS: Final = (
    "It was started with other options than kiro.json and the KIRO_ variables have now; "
    "kiro-auth stop: the next request starts it anew."
)


def status(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Say whether and where the gateway runs, and how the accounts are. Exit code 1: no gateway runs."""
    from kiro_auth.cli.facts import described, print_accounts
    from kiro_auth.cli.store import accounts_in, file_store
    from kiro_auth.gateway.discovery import STATE_FILE, find

    folder = state_folder()
    address = find(folder)
    running = address is not None and alive(address.url, address.key)
    if json:
        where = (
            {
                "url": address.url,
                "pid": address.pid,
                "version": address.version,
                "otherOptions": has_other_options(address),
            }
            if address and running
            else {}
        )
        accounts = [described(account) for account in accounts_in(file_store())]
        print_json({"running": running, "stateFile": str(folder / STATE_FILE), **where, "accounts": accounts})
    elif address and running:
        typer.echo(f"Running at {address.url}, process {address.pid}, version {address.version}.")
        typer.echo(f"Address and key for other programs: {folder / STATE_FILE}")
        if has_other_options(address):
            print_note(OTHER_OPTIONS)
    else:
        typer.echo("Not running. OpenCode starts it when needed; start it yourself with: kiro-auth serve")
    if not json:
        print_accounts(accounts_in(file_store()))
    if not running:
        raise typer.Exit(1)


def has_other_options(gateway: Address) -> bool:
    """Whether the gateway was started with other options than those that count here now."""
    from kiro_auth.cli.store import options_in_force
    from kiro_auth.config import load

    return gateway.options is not None and gateway.options != options_in_force(load())


def stop() -> None:
    """End the gateway; answers under way are finished first."""
    from kiro_auth.gateway.discovery import STATE_FILE, find

    folder = state_folder()
    address = find(folder)
    # Only a process that answers with the key of the state file is ours to end.
    if address is None or not alive(address.url, address.key):
        typer.echo("Not running.")
        return
    os.kill(address.pid, signal.SIGTERM)
    if not _gone(folder / STATE_FILE):
        raise KiroAuthError(
            Failure(
                code="KA-INTERNAL",
                message=f"Process {address.pid} does not end.",
                next_step="Look at its log.",
            )
        )
    typer.echo("Stopped.")


def alive(url: str, key: str) -> bool:
    """Whether a gateway answers at `url` and accepts `key`."""
    request = urllib.request.Request(f"{url}/health", headers={"x-api-key": key})  # noqa: S310 (our own address)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def _gone(path: Path, seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not path.exists():
            return True
        time.sleep(0.05)
    return False
