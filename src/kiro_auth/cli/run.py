"""`kiro-auth run` and `kiro-auth env`: another coding agent, with the gateway behind it."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import typer
from msgspec.structs import replace

from kiro_auth.cli.model_choice import prepare_model
from kiro_auth.cli.output import NO_ACCOUNT, note_failure, print_failure, print_json, print_note, readable
from kiro_auth.cli.pick import completions
from kiro_auth.clients.setups import CLIENTS, Endpoint, Name, check_account_of_its_own, setup_of
from kiro_auth.clients.unbinding import unbound
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.os_errors import reason

CLIENT = typer.Argument(help="The program.")
MODEL = typer.Option(
    None,
    help="The model to begin with; `kiro-auth models` lists them. Without it the one that Kiro names, else "
    "the newest Sonnet of your list; what you chose in OpenCode where that has the plugin.",
)
ACCOUNT = typer.Option(
    None,
    autocompletion=completions,
    help="The one account that serves the program, as `kiro-auth accounts` names it; no other ever does.",
)
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""Whatever stands behind the program's name is for the program."""


def run(
    context: typer.Context, client: Name = CLIENT, model: str | None = MODEL, account: str | None = ACCOUNT
) -> None:
    """Start a coding agent on your Kiro accounts; what stands behind its name is passed on to it.

    It gets an address of its own, which nobody else can take while it runs, and a gateway there whenever it
    asks for something. Where there is no other gateway, that one is for all windows.
    """
    from kiro_auth.clients.held_gateway import gateway_of_program
    from kiro_auth.clients.process import started, wait_for
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.own_store import own_store

    headers = {**_project(), **_headers(client, account)}
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
        state_folder(), on_news=note_failure, on_failed_restart=print_failure
    ) as endpoint:
        prepare_model(model)
        setup = setup_of(client, model, replace(endpoint, headers=headers, waits=_waits()))
        if not own_store().snapshot().accounts:
            print_note(NO_ACCOUNT)
        command = [program, *setup.arguments, *context.args]
        try:
            process = started(command, setup.variables)
        except OSError as error:  # damaged, or of another machine
            raise ConfigFailed(
                Failure(
                    code="KA-CONFIG",
                    message=f"{program} cannot be started: {reason(error)}.",
                    next_step=f"Install it anew: npm install -g {CLIENTS[client].package}",
                )
            ) from error
        code = wait_for(process)
    raise typer.Exit(code)


def env(
    client: Name = CLIENT,
    model: str | None = MODEL,
    account: str | None = ACCOUNT,
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Print the settings that a coding agent needs, as lines for your shell.

    The lines stay true: the gateway has the same address and key at every start. It is started if there is
    none, and does not end unused; after kiro-auth stop any start brings it back.
    """
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.starting import find_or_start

    headers = _headers(client, account)
    gateway = find_or_start(state_folder(), on_news=note_failure, stays=True)
    if not gateway.stays:
        print_note("The gateway stays until kiro-auth stop, so that this shell finds it.")
    prepare_model(model)
    before = {} if account else unbound(client, os.environ)
    for name, value in before.items():  # so that it is merged into nothing of ours
        os.environ[name] = value or ""
    setup = setup_of(client, model, Endpoint(gateway.url, gateway.key, headers, _waits()))
    variables = {**before, **setup.variables}
    if json:
        print_json({"variables": variables, "arguments": setup.arguments})
        return
    for name, value in variables.items():
        typer.echo(_line(name, value))
    if not setup.arguments and all(name.lower() == "no_proxy" for name in variables):
        print_note(
            f"There is nothing to set: {client} has the plugin, which finds the gateway. Start it: {client}"
        )
    if setup.arguments:
        print_note(f"Start it with: {shlex.join([client, *setup.arguments])}")


def _project() -> Mapping[str, str]:
    """What the program sends to tell the folder that it works in, where that is wanted."""
    from kiro_auth import config
    from kiro_auth.gateway.project import header_of

    options = config.load()
    return header_of(Path.cwd()) if options.ledger and options.ledger_projects else {}


def _waits() -> int:
    """For how many hours an answer may wait for the reset of a plan."""
    from kiro_auth import config

    return config.load().wait_for_reset


def _headers(client: Name, name: str | None) -> Mapping[str, str]:
    """What the program sends to be served by this account alone.  Raises ConfigFailed."""
    if name is None:
        return {}
    check_account_of_its_own(client)
    from kiro_auth.accounts.find import check_enabled, find
    from kiro_auth.gateway.bound import header_of
    from kiro_auth.gateway.own_store import own_store

    account = find(readable(own_store()), name)
    check_enabled(account)
    return header_of(account)


def _line(name: str, value: str | None) -> str:
    if os.name == "nt":
        quoted = (value or "").replace("'", "''")
        return f"Remove-Item Env:{name}" if value is None else f"$env:{name} = '{quoted}'"
    return f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"
