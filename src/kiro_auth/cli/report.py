"""`kiro-auth report`: what helps to look into a fault, as a file that is read before it is sent."""

from __future__ import annotations

import getpass
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from kiro_auth.cli.output import confirmed, is_interactive, say
from kiro_auth.failures import ConfigFailed, Failure, StoreFailed
from kiro_auth.os_errors import reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kiro_auth.accounts.account import Account
    from kiro_auth.report.redaction import Redaction

FILE = typer.Argument(None, help="Where to write it; without it kiro-auth-report-DATE.md in this folder.")
_PROGRAMS: Final = ("opencode", "claude", "codex")
_LINES: Final = 20_000  # of the log, more than both its files have
_SHORTEST_NAME: Final = 3


def report(
    file: Path | None = FILE,
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file if it is there."),
) -> None:
    """Write what helps to look into a fault to one file of text, and say what is in it.

    No words of conversations, no secrets, no names of accounts. Nothing is sent: read it, then attach it to
    your report of the fault.
    """
    from kiro_auth.report.page import CONTENTS

    path = file or Path(time.strftime("kiro-auth-report-%Y%m%d-%H%M%S.md"))
    _may_write(path, overwrite)
    typer.echo("Looking at everything, which may take some seconds…", err=True)
    text = _report()
    _write(path, text.encode())
    typer.echo(f"Written: {path.absolute()}\n\nIn it are")
    for content in CONTENTS:
        say(f"- {content}")
    typer.echo("\nNothing was sent. Please read it before you send it to anybody.")


def _report() -> str:
    from kiro_auth.accounts.roster import readable
    from kiro_auth.cli.doctor import looked
    from kiro_auth.config import load
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.log_lines import Tail, record_of
    from kiro_auth.gateway.own_store import kept_store
    from kiro_auth.report.page import Facts, page
    from kiro_auth.report.programs import versions

    accounts, _ = readable(kept_store().snapshot().accounts)
    try:
        lines = Tail(state_folder()).last(_LINES)
    except OSError as error:
        lines = [f"error: {reason(error)} (KA-STORE)"]
    facts = Facts(
        now=time.time(),
        programs=versions(_PROGRAMS),
        config=load(),
        accounts=accounts,
        findings=looked(),
        records=[record_of(line) for line in lines],
    )
    return page(facts, _redaction(accounts))


def _redaction(accounts: Sequence[Account]) -> Redaction:
    """Hides accounts, the home, and how the person and the machine are called."""
    from kiro_auth.folders import this_machine
    from kiro_auth.report.redaction import Redaction

    names = [platform.node()]
    with suppress(KeyError, OSError, ImportError):  # a user without a name
        names.append(getpass.getuser())
    private = [name for name in names if len(name) >= _SHORTEST_NAME]
    return Redaction(accounts, this_machine().home, private)


def _may_write(path: Path, overwrite: bool) -> None:
    """Raises ConfigFailed when the folder is missing, or the file is there and is not to be replaced."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"There is no folder {folder}; nothing was written.",
                next_step="Name a file in a folder where you may write: kiro-auth report FILE",
            )
        )
    if overwrite or not path.exists():
        return
    if is_interactive() and confirmed(f"{path} is there already. Replace it?", default=False):
        return
    raise ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message=f"{path} is there already; nothing was written.",
            next_step="Name another file, or add --overwrite.",
        )
    )


def _write(path: Path, body: bytes) -> None:
    from kiro_auth.atomic import replace_file

    try:
        replace_file(path, body)
    except OSError as error:
        raise StoreFailed(
            Failure(
                code="KA-STORE",
                message=f"{os.path.abspath(path)} cannot be written: {reason(error)}.",
                next_step="Name a file in a folder where you may write: kiro-auth report FILE",
            )
        ) from error
