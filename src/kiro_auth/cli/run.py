"""`kiro-auth run` and `kiro-auth env`: another coding agent, with the gateway behind it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

import typer

from kiro_auth.cli.clients import CLIENTS, USUAL, Endpoint, Name, Setup
from kiro_auth.cli.output import NO_ACCOUNT, print_json, print_note
from kiro_auth.failures import ConfigFailed, Failure

CLIENT = typer.Argument(help="The program.")
MODEL = typer.Option(
    None,
    help=f"The model to begin with; `kiro-auth models` lists them. Without it {USUAL}, and what you chose in "
    "OpenCode where that has the plugin.",
)
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
"""Whatever stands behind the program's name is for the program."""
_PROXIES: Final = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_PASSED_ON_SIGNALS: Final = () if sys.platform == "win32" else (signal.SIGTERM, signal.SIGHUP)
"""What a supervisor or a closing terminal sends to this process, meant for the program."""


def run(context: typer.Context, client: Name = CLIENT, model: str | None = MODEL) -> None:
    """Start a coding agent on your Kiro accounts; what stands behind its name is passed on to it.

    It gets an address of its own, which nobody else can take while it runs, and a gateway there whenever it
    asks for something. Where there is no other gateway, that one is for all windows.
    """
    from kiro_auth.cli.client_gateway import gateway_of_program
    from kiro_auth.cli.store import file_store
    from kiro_auth.folders import state_folder

    program = shutil.which(client)
    if program is None:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{client} is not on your PATH.",
                next_step=f"npm install -g {CLIENTS[client].package}",
            )
        )
    with gateway_of_program(state_folder()) as endpoint:
        setup = _setup(client, model, endpoint)
        if not file_store().snapshot().accounts:
            print_note(NO_ACCOUNT)
        command = [program, *setup.arguments, *context.args]
        try:
            started = subprocess.Popen(command, env=_with(setup.variables))  # noqa: S603 (what the user named)
        except OSError as error:  # damaged, or of another machine
            raise ConfigFailed(
                Failure(
                    code="KA-CONFIG",
                    message=f"{program} cannot be started: {error.strerror}.",
                    next_step=f"Install it anew: npm install -g {CLIENTS[client].package}",
                )
            ) from error
        code = _wait_for(started)
    raise typer.Exit(code)


def env(
    client: Name = CLIENT,
    model: str | None = MODEL,
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Print what a coding agent must be told to use your Kiro accounts, as lines for your shell.

    The gateway is started if there is none; it ends after half an hour without a request.
    """
    from kiro_auth.cli.gateway import find_or_start
    from kiro_auth.folders import state_folder

    gateway = find_or_start(state_folder())
    setup = _setup(client, model, Endpoint(gateway.url, gateway.key))
    if json:
        print_json({"variables": setup.variables, "arguments": setup.arguments})
        return
    for name, value in setup.variables.items():
        typer.echo(_line(name, value))
    if setup.arguments:
        print_note(f"Start it so: {shlex.join([client, *setup.arguments])}")


def _setup(client: Name, model: str | None, endpoint: Endpoint) -> Setup:
    from kiro_auth.folders import state_folder
    from kiro_auth.opencode.models import FILE, read_models

    setup = CLIENTS[client].setup(endpoint, model, read_models(state_folder() / FILE).opencode1)
    return Setup({**setup.variables, **_no_proxy(os.environ)}, setup.arguments)


def _no_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Where a proxy is set, the way to this machine must not lead through it: it would see the key."""
    if not any(environment.get(name) for name in _PROXIES):
        return {}
    hosts = ("127.0.0.1", "localhost", "::1")
    known = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    without = ",".join(dict.fromkeys([*filter(None, known.split(",")), *hosts]))
    return {"NO_PROXY": without, "no_proxy": without}


def _with(variables: Mapping[str, str | None]) -> dict[str, str]:
    wanted = {**os.environ, **variables}
    return {name: value for name, value in wanted.items() if value is not None}


def _wait_for(program: subprocess.Popen[bytes]) -> int:
    """The program's exit code.  This process stays meanwhile, as it holds the program's gateway."""
    # Ctrl-C is for the program, which gets it from the terminal.
    signal.signal(signal.SIGINT, lambda *_: None)
    for name in _PASSED_ON_SIGNALS:
        signal.signal(name, lambda number, _: program.send_signal(number))
    code = program.wait()
    return code if code >= 0 else 128 - code


def _line(name: str, value: str | None) -> str:
    if os.name == "nt":
        quoted = (value or "").replace("'", "''")
        return f"Remove-Item Env:{name}" if value is None else f"$env:{name} = '{quoted}'"
    return f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"
