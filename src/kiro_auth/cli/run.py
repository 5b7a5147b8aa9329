"""`kiro-auth run` and `kiro-auth env`: another coding agent, with the gateway behind it."""

from __future__ import annotations

import os
import shlex
import shutil

import typer

from kiro_auth.cli.output import NO_ACCOUNT, note_failure, print_failure, print_json, print_note
from kiro_auth.clients.setups import CLIENTS, Endpoint, Name, setup_of
from kiro_auth.failures import ConfigFailed, Failure

CLIENT = typer.Argument(help="The program.")
MODEL = typer.Option(
    None,
    help="The model to begin with; `kiro-auth models` lists them. Without it the one that Kiro names, else "
    "the newest Sonnet of your list; what you chose in OpenCode where that has the plugin.",
)
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""Whatever stands behind the program's name is for the program."""


def run(context: typer.Context, client: Name = CLIENT, model: str | None = MODEL) -> None:
    """Start a coding agent on your Kiro accounts; what stands behind its name is passed on to it.

    It gets an address of its own, which nobody else can take while it runs, and a gateway there whenever it
    asks for something. Where there is no other gateway, that one is for all windows.
    """
    from kiro_auth.clients.held_gateway import gateway_of_program
    from kiro_auth.clients.process import started, wait_for
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.own_store import own_store

    program = shutil.which(client)
    if program is None:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{client} is not on your PATH.",
                next_step=f"Install it: npm install -g {CLIENTS[client].package}",
            )
        )
    with gateway_of_program(
        state_folder(), on_stranger=note_failure, on_failed_restart=print_failure
    ) as endpoint:
        setup = setup_of(client, model, endpoint)
        if not own_store().snapshot().accounts:
            print_note(NO_ACCOUNT)
        command = [program, *setup.arguments, *context.args]
        try:
            process = started(command, setup.variables)
        except OSError as error:  # damaged, or of another machine
            raise ConfigFailed(
                Failure(
                    code="KA-CONFIG",
                    message=f"{program} cannot be started: {error.strerror}.",
                    next_step=f"Install it anew: npm install -g {CLIENTS[client].package}",
                )
            ) from error
        code = wait_for(process)
    raise typer.Exit(code)


def env(
    client: Name = CLIENT,
    model: str | None = MODEL,
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Print the settings that a coding agent needs, as lines for your shell.

    The gateway is started if there is none; it ends after half an hour without a request.
    """
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.starting import find_or_start

    gateway = find_or_start(state_folder(), on_stranger=note_failure)
    setup = setup_of(client, model, Endpoint(gateway.url, gateway.key))
    if json:
        print_json({"variables": setup.variables, "arguments": setup.arguments})
        return
    for name, value in setup.variables.items():
        typer.echo(_line(name, value))
    if not setup.variables and not setup.arguments:
        print_note(
            f"There is nothing to set: {client} has the plugin, which finds the gateway. Start it: {client}"
        )
    if setup.arguments:
        print_note(f"Start it with: {shlex.join([client, *setup.arguments])}")


def _line(name: str, value: str | None) -> str:
    if os.name == "nt":
        quoted = (value or "").replace("'", "''")
        return f"Remove-Item Env:{name}" if value is None else f"$env:{name} = '{quoted}'"
    return f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"
