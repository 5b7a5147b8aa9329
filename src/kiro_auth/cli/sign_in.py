"""One sign-in by code, as the terminal and the page on this machine show it: both are told the same."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import typer
from msgspec import Struct

from kiro_auth.cli.output import is_interactive, print_json_line, print_note
from kiro_auth.cli.questions import ask, choice_of
from kiro_auth.texts import in_one_line

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.config import Config
    from kiro_auth.failures import Failure
    from kiro_auth.login.device_flow import DeviceSignIn, Prompt
    from kiro_auth.login.page import SignInPage
    from kiro_auth.login.profiles import Profile


class Wanted(Struct, frozen=True):
    """Which sign-in to do; absent values come from the configuration."""

    kind: str
    start_url: str | None = None
    region: str | None = None


class Shown(Struct, frozen=True):
    """How to show it.  `page`: on a page of this machine too; None: where a person can see one.

    `terms` is what there is to say of Kiro's terms.  `json`: in values for programs, and nothing is asked.
    """

    page: bool | None
    json: bool
    terms: str | None

    def say_terms(self) -> None:
        """What there is to say of Kiro's terms, before the person does anything."""
        if self.terms:
            print_note(self.terms)


async def signed_in(config: Config, wanted: Wanted, shown: Shown) -> Account:
    """The account of a sign-in that was begun, shown and confirmed.  Raises SignInFailed."""
    from kiro_auth.gateway.parts import open_own_parts

    async with open_own_parts() as service:
        view = _View(shown)
        sign_in = service.new_sign_in(view.choose if is_interactive() and not shown.json else None)
        prompt = await sign_in.start(wanted.kind, wanted.start_url, wanted.region)
        view.notice(prompt)
        shown.say_terms()
        view.prompt(prompt)
        async with view.page(prompt, config):
            account = await _finished(sign_in, wanted, view)
    for notice in sign_in.notices:
        print_note(notice)
    return account


async def _finished(sign_in: DeviceSignIn, wanted: Wanted, view: _View) -> Account:
    from kiro_auth.failures import KiroAuthError

    try:
        account = await _confirmed(sign_in, wanted, view)
    except KiroAuthError as error:
        view.failed(error.failure)
        raise
    view.done(account)
    return account


async def _confirmed(sign_in: DeviceSignIn, wanted: Wanted, view: _View) -> Account:
    """The account, with as many codes as are asked for."""
    from kiro_auth.failures import SignInFailed
    from kiro_auth.login.confirmation import EXPIRED

    while True:
        try:
            return await sign_in.finish(view.trouble)
        except SignInFailed as error:
            if error.failure.reason != EXPIRED or not await view.wants_new_code():
                raise
        view.renewed(await sign_in.start(wanted.kind, wanted.start_url, wanted.region))


class _View:
    """The terminal, and the page where there is one."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._page: SignInPage | None = None
        self._until = 0.0
        self._was_renewed = False

    @asynccontextmanager
    async def page(self, prompt: Prompt, config: Config) -> AsyncIterator[None]:
        """The page, while the block lasts, if it is wanted and there is a port for it."""
        from kiro_auth.login.browser import open_page, shows_them_to_this_user, shows_windows
        from kiro_auth.login.page import served

        wanted = shows_windows() if self._shown.page is None else self._shown.page
        if not wanted:
            yield
            return
        ports = config.auth_server_port_start, config.auth_server_port_range
        async with served(prompt, *ports, self._shown.terms) as self._page:
            if self._page is None:
                last = ports[0] + ports[1] - 1
                print_note(
                    f"There is no page on this machine, as no port from {ports[0]} to {last} is free. The "
                    "terminal is enough; others: auth_server_port_start in kiro.json."
                )
            elif not self._shown.json:
                self._say_where(self._page)
            # All users of the machine can read the address that a browser is given.
            if self._page is not None and shows_windows() and shows_them_to_this_user():
                self._page.keep_to_this_user(on_refused=_say_refused)
            await asyncio.to_thread(open_page, prompt.url if self._page is None else self._page.url)
            yield

    def notice(self, prompt: Prompt) -> None:
        """What became of what was typed, beside it: before anything else is said."""
        if prompt.notice:
            print_note(prompt.notice)

    def prompt(self, prompt: Prompt) -> None:
        """The page of AWS and the code, out at once, before anything else is tried."""
        self._until = prompt.expires_at
        if self._shown.json:
            ends = round(prompt.expires_at)
            print_json_line({"event": "prompt", "url": prompt.url, "code": prompt.code, "expiresAt": ends})
            return
        print(f"Open this page in any browser, on any machine:\n\n  {in_one_line(prompt.url)}\n")
        print(f"and confirm this code:\n\n  {in_one_line(prompt.code)}\n")
        print("Waiting for the confirmation… (Ctrl-C to cancel)", flush=True)

    def renewed(self, prompt: Prompt) -> None:
        """A new code in place of one that has expired."""
        self.prompt(prompt)
        if self._page is not None:
            self._page.renewed(prompt)

    async def wants_new_code(self) -> bool:
        """Whether to go on after a code has expired: once in any case, then if a person asks on the page."""
        if not self._was_renewed:
            self._was_renewed = True
            print_note("The code has expired before it was confirmed; here is a new one.")
            return True
        if self._page is None or not self._page.is_open:
            return False
        print_note("The code has expired. Get a new one on the page in your browser, or end with Ctrl-C.")
        return await self._page.expired()

    def trouble(self, failure: Failure | None) -> None:
        """The service cannot be asked for now, or, with None, it answers again."""
        until = time.strftime("%H:%M", time.localtime(self._until))
        if failure is None:
            print_note("AWS answers again; still waiting for the confirmation.")
        else:
            print_note(f"{failure.message} Still waiting, as the code is good until {until}.")
        if self._page is not None:
            self._page.waiting(failure.message if failure else None)

    def choose(self, profiles: Sequence[Profile]) -> Profile:
        """The one of several profiles that the person in the terminal picks; runs in a thread."""
        if self._page is not None:
            self._page.confirmed("The code is confirmed. Choose a Kiro profile in the terminal.")
        typer.echo("Your organisation gave you several Kiro profiles:")
        for number, profile in enumerate(profiles, 1):
            typer.echo(f"  {number}  {profile.name or profile.arn} in {profile.region}")
        return profiles[ask("Which one", choice_of(len(profiles)), default="1") - 1]

    def failed(self, failure: Failure) -> None:
        """It failed; the terminal hears of it as of every failure."""
        if self._page is not None:
            self._page.failed(failure.sentence())

    def done(self, account: Account) -> None:
        """It is complete; the terminal gets the last line later."""
        if self._page is not None:
            self._page.done(account.name)

    def _say_where(self, page: SignInPage) -> None:
        print(f"This machine shows it too: {page.url}", flush=True)
        if connection := os.environ.get("SSH_CONNECTION"):
            place = f"127.0.0.1:{page.port}"
            there = connection.split()[-2:][0]
            print(f"To see that from where you sit: ssh -N -L {page.port}:{place} {there}", flush=True)


def _say_refused(program: str) -> None:
    print_note(f"The page of this sign-in was asked for by {program}, and did not show itself there.")
