"""`kiro-auth simulate`: run a simulated AWS on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kiro_auth.cli.output import print_json, print_json_line
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.os_errors import reason

if TYPE_CHECKING:
    from kiro_auth.simulator.scenario import Scenario


def simulate(
    port: int = typer.Option(9000, min=0, max=65535, help="The port; 0 takes any free one."),
    scenario: Path | None = typer.Option(None, help="A JSON file with people, settings, replies, faults."),
    auto_approve: bool = typer.Option(
        False, "--auto-approve", help="Confirm every sign-in by itself, as the next person in turn."
    ),
    print_config: bool = typer.Option(
        False, "--print-config", help="Print what to write into kiro.json, instead of variables to set."
    ),
    json: bool = typer.Option(False, "--json", help="Print one line of JSON: url, environment, config."),
) -> None:
    """Run a simulated AWS on this machine, to try things with.

    It has a sign-in service, Kiro, and people with plans, and ends with Ctrl-C. It listens on this machine
    only and asks nobody else. What it knows is gone when it ends.
    """
    import asyncio

    from kiro_auth.simulator import app
    from kiro_auth.simulator.world import World

    beginning = _scenario(scenario)
    beginning.settings.auto_approve |= auto_approve

    def greet(url: str) -> None:
        template = f"{url}/{{region}}"
        environment = {f"KIRO_ENDPOINT_{role.upper()}": template for role in app.ROLES}
        config = {"endpoints": dict.fromkeys(app.ROLES, template)}
        if json:
            print_json_line({"url": url, "environment": environment, "config": config})
            return
        typer.echo(f"Listening at {url}. Stop with Ctrl-C.")
        if print_config:
            print_json(config)
            return
        for name, value in environment.items():
            typer.echo(f"export {name}='{value}'")  # quoted: some shells expand braces

    try:
        asyncio.run(app.serve(World(beginning), port, greet))
    except OSError as error:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{app.HOST} port {port} cannot be used: {reason(error)}.",
                next_step="Choose another port with --port, or 0 for any free one.",
            )
        ) from error


def _scenario(path: Path | None) -> Scenario:
    from kiro_auth.simulator.scenario import ScenarioInvalid, default_scenario, load

    if path is None:
        return default_scenario()
    try:
        return load(path)
    except (OSError, ScenarioInvalid) as error:
        why = reason(error)
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"The scenario {path} cannot be used: {why}.",
                next_step="Change the named place of the file; docs/simulator.md has the form.",
            )
        ) from error
