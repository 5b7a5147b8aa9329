"""`kiro-auth dashboard`: the accounts, their credits and what spends them, as a page in the browser."""

from __future__ import annotations

from typing import Any, Final

import typer

from kiro_auth.cli.output import note_failure, print_note, say
from kiro_auth.cli.waiting import waiting

_LINK: Final = "/kiro/dashboard"
_SECONDS: Final = 30.0
"""The longest wait for it: what serves the page is imported for the first who asks."""


def dashboard(
    no_browser: bool = typer.Option(False, "--no-browser", help="Open no browser; print the page's address."),
) -> None:
    """Open the gateway's page in your browser: accounts, credits, live turns, failures.

    The address that is opened or printed is good once, for two minutes; the browser that follows it may see
    the page for twelve hours, or until the gateway ends. The gateway is started if none runs.
    """
    url, seconds = _new_link()
    from kiro_auth.login.browser import open_page

    if not no_browser and open_page(url):
        say("The dashboard opens in your browser. If it does not: kiro-auth dashboard --no-browser")
        return
    print_note(
        f"Open this address in a browser of this machine within {seconds / 60:.0f} minutes; it is good once."
    )
    typer.echo(url)


def _new_link() -> tuple[str, float]:
    """The address, and for how many seconds it is good.  Raises KiroAuthError."""
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.calls import answered, reach
    from kiro_auth.gateway.starting import find_or_start
    from kiro_auth.json_values import decoded

    folder = state_folder()
    with waiting("Asking the gateway"):
        find_or_start(folder, on_news=note_failure)
        reached = reach(folder, "POST", _LINK, _SECONDS)
    gateway, body = answered(reached)
    link: Any = decoded(body)
    return f"{gateway.url}{link['path']}", link["seconds"]
