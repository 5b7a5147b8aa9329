"""`kiro-auth accounts import` and `export`: sign-ins of other programs, and of this one elsewhere."""

from __future__ import annotations

import asyncio
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kiro_auth.cli.models import renew_list
from kiro_auth.cli.output import (
    confirmed,
    is_interactive,
    note_failure,
    print_json,
    print_note,
    print_table,
    say,
    spoken,
)
from kiro_auth.cli.waiting import waiting
from kiro_auth.kinds import KINDS
from kiro_auth.os_errors import reason

if TYPE_CHECKING:
    from kiro_auth.failures import KiroAuthError
    from kiro_auth.gateway.parts import Parts
    from kiro_auth.login.tools.held import Held


def import_(
    wanted: str = typer.Option(
        "auto",
        "--from",
        help="auto, kiro-cli, amazon-q, kiro-ide, original, or a file made by `accounts export`.",
    ),
    yes: bool = typer.Option(False, "--yes", help="Import without asking."),
    json: bool = typer.Option(False, "--json", help="Print JSON; asks nothing, and imports only with --yes."),
) -> None:
    """Take over sign-ins of other programs on this machine.

    It lists what it found, and asks. What kiro-cli and Kiro's IDE hold stays theirs too: both programs use
    one sign-in, and neither signs the other out. A sign-in of your own (kiro-auth login) is independent of
    them.
    """
    sign_ins = find_held(wanted)
    if not json:
        _show(sign_ins)
    if sign_ins and not yes and not json and is_interactive():
        yes = confirmed("Import?", default=False)
    done = run_take_over(sign_ins) if yes else []
    if json:
        print_json({"found": [described_sign_in(held) for held in sign_ins], "imported": done})
        return
    print_taken_over(done)
    if not sign_ins or yes:
        return
    if is_interactive():
        say("Nothing was imported.")
    else:
        raise _nobody_to_ask(wanted)


def find_held(wanted: str) -> list[Held]:
    """The sign-ins that other programs on this machine hold; what cannot be read is told."""
    from kiro_auth.folders import this_machine
    from kiro_auth.login.tools.search import find

    return find(wanted, this_machine(), note_failure)


def export(
    path: Path = typer.Argument(help="The file to write; it must not exist. It will hold your tokens."),
) -> None:
    """Write all accounts, with their secrets, into a file.

    It is for another machine, and has mode 0600. A sign-in lives in one place: use it here or there, not in
    both.
    """
    from kiro_auth.failures import ConfigFailed, Failure
    from kiro_auth.gateway.options import environment_key
    from kiro_auth.gateway.own_store import kept_store
    from kiro_auth.login.tools.export import export as exported
    from kiro_auth.options import KEY_VARIABLE

    found = kept_store().snapshot()
    records = [record for record in found.accounts if record]
    for why in found.unreadable.values():
        note_failure(why)  # it is left out
    if environment_key():
        print_note(f"The key in {KEY_VARIABLE} is left out: it is written down nowhere.")
    if not records:
        raise ConfigFailed(
            Failure(
                code="KA-NO-ACCOUNT",
                message="There is no account to export; no file was written.",
                next_step="Sign in: kiro-auth login",
            )
        )
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(exported(records))
    except OSError as error:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{path} cannot be written: {reason(error)}.",
                next_step="Name a new file in a folder of yours.",
            )
        ) from error
    number = f"{len(records)} accounts are" if len(records) > 1 else "1 account is"
    say(f"{number} in {path}. It holds secrets: move it, then delete it.")


def _nobody_to_ask(wanted: str) -> KiroAuthError:
    from kiro_auth.failures import ConfigFailed, Failure

    source = "" if wanted == "auto" else f" --from {shlex.quote(wanted)}"
    return ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message="Nothing was imported, as there is no terminal to ask in.",
            next_step=f"To import them: kiro-auth accounts import{source} --yes",
        )
    )


def _show(sign_ins: list[Held]) -> None:

    if not sign_ins:
        say("No sign-in of another program was found.")
        return
    rows = []
    for held in sign_ins:
        note = "left alone" if held.left_alone else "incomplete" if held.lacks else ""
        kind = KINDS[held.kind].words + (" (a guess)" if held.kind_unsure else "")
        rows.append((held.source.tool, kind, held.region, _who(held), note, held.source.path))
    print_table(("from", "kind", "region", "account", "note", "where"), rows)
    for held in sign_ins:
        if why := held.left_alone or _incomplete(held):
            say(f"{held.source.tool}: {why}.")


def _incomplete(held: Held) -> str | None:
    """What a sign-in lacks, and what to do about it."""
    if held.lacks is None:
        return None
    return f"{held.lacks}; sign in again with {held.source.tool}, or here: {_sign_in(held)}"


def _sign_in(held: Held) -> str:
    return KINDS[held.kind].sign_in_command(held.start_url, held.region)


def _who(held: Held) -> str:
    """What tells one sign-in of a program from another, without an e-mail in full."""
    from kiro_auth.accounts.names import masked

    return " ".join(filter(None, (masked(held.email), held.start_url, (_id(held) or "")[:8])))


def _id(held: Held) -> str | None:
    """The account's id, where the program has several; the others call their one sign-in by other words."""
    return None if held.source.linked else held.source.key


def described_sign_in(held: Held) -> dict[str, Any]:
    """What is told of a sign-in that was found: never a token."""
    from kiro_auth.accounts.names import masked
    from kiro_auth.times import iso

    return {
        "tool": held.source.tool,
        "path": held.source.path,
        "kind": held.kind,
        "kindUnsure": held.kind_unsure,
        "region": held.region,
        "email": masked(held.email) or None,
        "startUrl": held.start_url,
        "id": _id(held),
        "complete": held.lacks is None,
        "lacks": held.lacks,
        "leftAlone": held.left_alone,
        "tokenExpires": iso(held.expires_at * 1000),
    }


def run_take_over(sign_ins: list[Held]) -> list[dict[str, Any]]:
    """As `take_over`, with a sign of life."""
    with waiting("Asking Kiro about the accounts"):
        return asyncio.run(take_over(sign_ins))


def print_taken_over(done: list[dict[str, Any]]) -> None:
    """What became of each sign-in, a line each."""
    for row in done:
        say(f"{row['change']}: {row['account'] or row['source']}{row['trouble']}")


async def take_over(sign_ins: list[Held]) -> list[dict[str, Any]]:
    """Store each, and ask the service what else there is to know of it; what became of them."""
    from kiro_auth.gateway.parts import open_own_parts

    done = []
    async with open_own_parts() as service:
        for held in sign_ins:
            change, name, trouble = await _taken_over(service, held)
            done.append({"change": change, "account": name, "source": held.source.tool, "trouble": trouble})
    await renew_list()
    return done


async def _taken_over(service: Parts, held: Held) -> tuple[str, str | None, str]:
    """What became of a sign-in, the account's name, and what there is to say of it."""
    from kiro_auth.accounts.registry import admit
    from kiro_auth.failures import KiroAuthError

    if held.left_alone:
        return "left alone", None, f" ({held.left_alone})"
    if why := _incomplete(held):
        return "incomplete", None, f" ({why})"
    try:
        admitted = await admit(service.store, held.signed_in(), service.clock.now())
    except KiroAuthError as error:  # the others are worth trying
        return "failed", None, f" ({spoken(error.failure)})"
    account, trouble = admitted.account, ""
    if admitted.change != "unchanged" or service.assignments.is_open(account):
        try:
            await service.read_usage(account)
            notice = service.assignments.notice(account.id)
            trouble = f" ({notice})" if notice else ""
        except KiroAuthError as error:
            trouble = f" ({spoken(error.failure)})"
            if error.failure.code == "KA-PROFILE":
                await service.store.change(account.id, {"stateReason": error.failure.message})
    name = next((stored.name for stored in service.pool.accounts() if stored.id == account.id), account.name)
    return admitted.change, name, trouble
