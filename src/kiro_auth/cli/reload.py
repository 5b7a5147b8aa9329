"""`kiro-auth reload`: the gateway that runs reads kiro.json anew."""

from __future__ import annotations

import typer

from kiro_auth.cli.output import print_json, print_note, say
from kiro_auth.failures import ConfigFailed, Failure


def reload(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Have the gateway that runs go by kiro.json as it is now. No answer is cut.

    With a mistake in it nothing changes. Exit code 1 then, and when no gateway runs.
    """
    from kiro_auth.cli.status import looked_up
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.calls import RESTART, answered
    from kiro_auth.gateway.options import RELOAD
    from kiro_auth.json_values import as_list, as_object, decoded

    reached = looked_up(state_folder(), "POST", RELOAD)
    if reached.ours is None and not reached.held:
        say("Not running: the next gateway begins with kiro.json as it is then.")
        raise typer.Exit(1)
    if reached.answer.status == _REFUSED:
        problems = as_list(as_object(decoded(reached.answer.body)).get("problems"))
        told = " ".join(map(str, problems))
        raise ConfigFailed(Failure(code="KA-CONFIG", message=f"Nothing has changed. {told}"))
    answer = as_object(decoded(answered(reached)[1]))
    if json:
        print_json(answer)
        return
    changed, later = as_list(answer.get("changed")), as_list(answer.get("needsRestart"))
    say(f"Changed: {', '.join(changed)}." if changed else "No option has changed.")
    if later:
        print_note(f"Of those that count from a start on: {', '.join(later)}. {RESTART}")


_REFUSED = 400
