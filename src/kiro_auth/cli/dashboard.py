"""`kiro-auth dashboard`: the accounts, their credits and what spends them, as a page in the browser."""

from __future__ import annotations

from typing import Any, Final

import typer

from kiro_auth.cli.output import note_failure, print_note, say
from kiro_auth.cli.waiting import waiting

_SECONDS: Final = 30.0
"""The longest wait for it: what serves the page is imported for the first who asks."""


def dashboard(
    no_browser: bool = typer.Option(False, "--no-browser", help="Open no browser; print the page's address."),
) -> None:
    """Open the gateway's page in your browser: accounts, credits, live turns, failures.

    The address that is opened or printed is good once, for two minutes; the browser that follows it may see
    the page for twelve hours, or until the gateway ends. The gateway is started if none runs.
    """
    if not no_browser and _opened():
        say("The dashboard opens in your browser. If it does not: kiro-auth dashboard --no-browser")
        return
    url, seconds = _new_link()
    print_note(
        f"Open this address in a browser of this machine within {seconds / 60:.0f} minutes; it is good once."
    )
    typer.echo(url)


def _opened() -> bool:
    """Whether a browser was given the page.  Raises KiroAuthError.

    All users of the machine can read what it was given, so that the link is for a browser of this user alone.
    """
    from kiro_auth.login.browser import open_page, shows_them_to_this_user, shows_windows

    if not shows_windows():
        return False
    url, _ = _new_link(for_same_user=shows_them_to_this_user())
    return open_page(url)


def _new_link(*, for_same_user: bool = False) -> tuple[str, float]:
    """The address, and for how many seconds it is good.  Raises KiroAuthError."""
    from kiro_auth.dashboard.addresses import NEW_LINK, SAME_USER
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.calls import answered, reach
    from kiro_auth.gateway.starting import find_or_start
    from kiro_auth.json_values import decoded

    folder = state_folder()
    path = f"{NEW_LINK}?user={SAME_USER}" if for_same_user else NEW_LINK
    with waiting("Asking the gateway"):
        find_or_start(folder, on_news=note_failure)
        reached = reach(folder, "POST", path, _SECONDS)
    gateway, body = answered(reached)
    link: Any = decoded(body)
    return f"{gateway.url}{link['path']}", link["seconds"]
