"""`kiro-auth dashboard`: the accounts, their credits and what spends them, as a page in the browser."""

from __future__ import annotations

from typing import Any, Final

import typer

from kiro_auth.cli.output import note_failure, print_note, say
from kiro_auth.cli.waiting import waiting

_LINK: Final = "/kiro/dashboard"
_OK: Final = 200
PAGES_SECONDS: Final = 30.0
"""The first request for a page has the gateway load what serves pages, which takes a slow machine a while."""


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
    from kiro_auth.failures import Failure, KiroAuthError
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.calls import RESTART, Listener, Reached, call, trouble
    from kiro_auth.gateway.starting import find_or_start
    from kiro_auth.json_values import decoded

    with waiting("Asking the gateway"):
        gateway = find_or_start(state_folder(), on_news=note_failure)
        answer = call(gateway, "POST", _LINK, seconds=PAGES_SECONDS)
    if answer.listener is not Listener.OURS and (
        silence := trouble(Reached(gateway, answer, held=True, place=gateway.place))
    ):
        raise KiroAuthError(silence)
    if answer.status != _OK:
        message = "The gateway that runs has no dashboard."
        raise KiroAuthError(Failure(code="KA-INTERNAL", message=message, next_step=RESTART))
    link: Any = decoded(answer.body)
    return f"{gateway.url}{link['path']}", link["seconds"]
