"""`kiro-auth accounts migrate-secrets`: the tokens moved to where the option `secrets` wants them."""

from __future__ import annotations

import asyncio
from typing import Final

import typer

from kiro_auth.cli.output import confirmed, counted, is_interactive, print_json, print_note, say

_TO_KEYRING: Final = (
    "The tokens leave kiro-accounts.json, and the copies of it beside it, for the system's keyring. "
    "From then on the original plugin, and releases of this program before this one, find the accounts there "
    "without tokens, and cannot use them. And the gateway works only where the keyring opens: not over SSH, "
    "and as a service only once you are signed in to the desktop."
)
_BACK: Final = (
    "The tokens leave the system's keyring for kiro-accounts.json, which this user alone can read, in clear."
)


def migrate_secrets(
    give_up: bool = typer.Option(
        False,
        "--give-up",
        help="Let go of tokens that the keyring does not give. Their accounts must sign in again.",
    ),
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Move all tokens into the system's keyring, or back into the file.

    The option `secrets` says where to, so set it first, in kiro.json: "secrets": "keyring", or "files". New
    sign-ins follow it by themselves. Gateways that run need not be stopped.
    """
    from kiro_auth.config import load
    from kiro_auth.gateway.options import FILES
    from kiro_auth.gateway.own_store import file_store, kept_store

    kept_store()  # refuses what cannot be
    config = load()
    if config.store != FILES:
        raise _in_database()
    store = file_store()
    to_keyring = config.secrets != FILES
    kept = store.kept_secrets()
    if not json and (kept.in_file if to_keyring else kept.in_keyring):
        print_note(_TO_KEYRING if to_keyring else _BACK)
        if not yes and is_interactive() and not confirmed("Move them?", default=False):
            say("Nothing was changed.")
            return
    done = asyncio.run(store.move_secrets(give_up=give_up))
    if json:
        print_json({"to": config.secrets, "moved": done.moved, "givenUp": done.given_up})
        return
    where = "the system's keyring" if to_keyring else "kiro-accounts.json"
    if done.moved:
        say(f"Moved: the tokens of {counted(len(done.moved), 'account')} are in {where} now.")
    elif not done.given_up:
        say(f"Nothing to move: tokens are in {where}, as the option secrets says.")
    if done.given_up:
        given_up = counted(len(done.given_up), "account")
        say(f"Given up: the tokens of {given_up}. Sign in again: kiro-auth login")


def _in_database() -> Exception:
    from kiro_auth.failures import ConfigFailed, Failure

    return ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message="Accounts are in a database, with their tokens; there are none to move.",
            next_step="See where accounts are kept: kiro-auth store check",
        )
    )
