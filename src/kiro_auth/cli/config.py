"""`kiro-auth config`: the options in force, where they come from, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import typer

from kiro_auth.cli.help import Commands, examples
from kiro_auth.cli.output import note_failure, print_json, print_note, print_table, say, spoken

app = Commands(
    no_args_is_help=True,
    help="Show the options in force, check them, or say where they are.",
    epilog=examples("kiro-auth config show", "kiro-auth config check"),
)
JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command()
def show(json: bool = JSON) -> None:
    """Show every option, its value, and where it comes from."""
    from kiro_auth.cli.status import looked_up
    from kiro_auth.config import load
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.other_options import OTHER_OPTIONS, has_other_options, remedy
    from kiro_auth.options import OPTIONS

    config = load()
    rows = [
        {
            "name": option.name,
            "value": _without_passwords(getattr(config, option.name)),
            "from": config.origins.get(option.name, "default"),
            "default": option.default,
            "allowed": option.kind.allowed,
            "environment": option.variable,
        }
        for option in OPTIONS
    ]
    if json:
        print_json(
            {
                "options": rows,
                "endpoints": {role: urls for role, urls in config.endpoints.items() if urls},
                "problems": [problem.sentence() for problem in config.problems],
            }
        )
        return
    print_table(("option", "value", "from"), [(r["name"], _shown(r["value"]), str(r["from"])) for r in rows])
    for role, urls in config.endpoints.items():
        if urls:
            say(f"endpoints.{role}: {', '.join(map(str, urls))}")
    for problem in config.problems:
        note_failure(problem)
    gateway = looked_up(state_folder()).ours
    if gateway is not None and has_other_options(gateway):
        print_note(f"A gateway runs. {OTHER_OPTIONS} {remedy(gateway)}")


@app.command()
def check(json: bool = JSON) -> None:
    """Say which values cannot be used.

    Exit code 1 when there are some.
    """
    from kiro_auth.config import load, unread_file

    if unread := unread_file(Path()):
        note_failure(unread)
    problems = load().problems
    if json:
        print_json({"problems": [problem.sentence() for problem in problems]})
    elif not problems:
        say("All options can be used.")
    for problem in problems if not json else ():
        say(spoken(problem))
    if problems:
        raise typer.Exit(1)


@app.command()
def path() -> None:
    """Print the path of kiro.json, whether it exists or not."""
    from kiro_auth.config import FILE
    from kiro_auth.folders import config_folder

    typer.echo(config_folder() / FILE)


@app.command()
def schema() -> None:
    """Print the JSON Schema of kiro.json, for editors."""
    from kiro_auth.config_file import published

    typer.echo(published())


def _without_passwords(value: Any) -> Any:
    from kiro_auth.texts import without_passwords

    return without_passwords(value) if isinstance(value, str) else value


def _shown(value: object) -> str:
    """As it is written in kiro.json, but for quotes around a text."""
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()
