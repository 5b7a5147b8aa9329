"""`kiro-auth key`: the key that programs send to the gateway."""

from __future__ import annotations

import os
import sys
from typing import Final

import typer

from kiro_auth.cli.help import Commands
from kiro_auth.cli.output import print_note, say

_TAKEN: Final = 204
app = Commands(help="Show the gateway's key, or make a new one.")


@app.command()
def show() -> None:
    """Print the key alone, for programs that you set up by hand."""
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.kept_address import read_or_make

    typer.echo(read_or_make(state_folder()).key)


@app.command()
def rotate() -> None:
    """Make a new key. The gateway takes it at once, and answers to the old one no more."""
    from kiro_auth.cli.status import looked_up
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.calls import RESTART
    from kiro_auth.gateway.kept_address import rotate as new_key

    folder = state_folder()
    new_key(folder)
    reached = looked_up(folder, "POST", "/kiro/new-key")
    say("The gateway has a new key; kiro-auth key show prints it.")
    say("Run kiro-auth env again in shells that have its lines, and tell the key to what you set up by hand.")
    if sys.platform == "win32":
        say("Start again what kiro-auth run has started; OpenCode with the plugin needs nothing.")
    else:
        say("OpenCode with the plugin and what kiro-auth run has started need nothing.")
    if reached.held or reached.answer.status not in (None, _TAKEN):
        print_note(f"The gateway that runs has the old key still. {RESTART}")
    if os.environ.get("KIRO_GATEWAY_KEY"):
        print_note("KIRO_GATEWAY_KEY is set here: gateways that are started with it take that key, too.")
