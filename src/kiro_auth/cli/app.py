"""The command `kiro-auth`: which verbs there are.  Each lives in a module of its name."""

from __future__ import annotations

import typer

from kiro_auth import __version__
from kiro_auth.cli import (
    accounts,
    config,
    demo,
    doctor,
    install,
    login,
    logout,
    models,
    run,
    serve_command,
    simulate,
    status,
    usage,
)

app = typer.Typer(
    name="kiro-auth",
    help="Use the Claude models of your own AWS Kiro accounts in the coding agent you already have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kiro-auth {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Use the Claude models of your own AWS Kiro accounts in the coding agent you already have."""


app.command("login")(login.login)
app.command("logout")(logout.logout)
app.add_typer(accounts.app, name="accounts")
app.command("models")(models.models)
app.command("usage")(usage.usage)
app.command("serve")(serve_command.serve)
app.command("status")(status.status)
app.command("stop")(status.stop)
app.command("doctor")(doctor.doctor)
app.add_typer(config.app, name="config")
app.command("run", context_settings=run.PASSED_ON)(run.run)
app.command("env")(run.env)
app.command("install")(install.install)
app.command("uninstall")(install.uninstall)
app.command("simulate")(simulate.simulate)
app.command("demo")(demo.demo)
