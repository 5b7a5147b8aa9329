"""`kiro-auth install opencode` and `kiro-auth uninstall opencode`."""

from __future__ import annotations

from enum import StrEnum

import typer

from kiro_auth.cli.output import print_note


class Client(StrEnum):
    """Programs that a plugin exists for."""

    OPENCODE = "opencode"


CLIENT = typer.Argument(help="The program: opencode.")


def install(client: Client = CLIENT) -> None:
    """Put the plugin into OpenCode's folder; its configuration is not touched."""
    from kiro_auth.cli.gateway import START
    from kiro_auth.opencode.install import install_shim, opencode_folder, other_kiro_plugins

    folder = opencode_folder()
    path = install_shim(folder, START)
    typer.echo(f"Installed for {client}: {path}")
    typer.echo("Sign in: opencode auth login (choose Kiro), or kiro-auth login")
    for config, entry in other_kiro_plugins(folder):
        print_note(f"{config} loads {entry} as well; remove it there, or both are loaded.")


def uninstall(client: Client = CLIENT) -> None:
    """Take the plugin away; accounts stay."""
    from kiro_auth.opencode.install import opencode_folder, uninstall_shim

    path = uninstall_shim(opencode_folder())
    typer.echo(f"Removed from {client}: {path}" if path else f"There is no plugin to remove from {client}.")
