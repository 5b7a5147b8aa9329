"""`kiro-auth logs`: what the gateway did."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import typer

from kiro_auth.cli.output import print_json_line, print_note
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.folders import state_folder
from kiro_auth.os_errors import reason

if TYPE_CHECKING:
    from pathlib import Path

_LOOK_SECONDS: Final = 0.25


def logs(
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on with what is added, until Ctrl-C."),
    lines: int = typer.Option(50, "--lines", "-n", min=0, help="How many of the last lines to begin with."),
    json: bool = typer.Option(False, "--json", help="Print JSON, one object a line."),
) -> None:
    """Show what the gateway did: its turns, starts and ends, states of accounts, renewals of tokens.

    A turn has how it ended, the client, the model, the account, the seconds to its first word and to its
    end, and its credits. It goes on with -f when the gateway ends and another begins.
    """
    from kiro_auth.gateway.log_lines import Tail

    folder = state_folder()
    tail, printer = Tail(folder), _Printer(json=json)
    try:
        last = tail.last(lines)
        printer.show(last)
        if not (last or follow or not lines):
            print_note("No gateway has written anything yet.")
        while follow:
            time.sleep(_LOOK_SECONDS)
            printer.show(tail.new())
    except KeyboardInterrupt:
        return
    except OSError as error:
        if error.filename is None:  # the output's
            raise
        raise _unreadable(folder, error) from error


class _Printer:
    """In a terminal the day stands above its lines, which are wrapped; a pipe gets a line for each record."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._day = ""

    def show(self, lines: Iterable[str]) -> None:
        """Print these lines of the log."""
        from kiro_auth.gateway.log_lines import in_words, local_time, record_of

        for record in map(record_of, lines):
            if self._json:
                print_json_line(record)
            elif not sys.stdout.isatty():
                print(in_words(record, dated=True), flush=True)
            else:
                day = local_time(record, "%A, %b %d") or self._day
                if day != self._day:
                    print(day)
                self._day = day
                width = shutil.get_terminal_size().columns
                print(in_words(record, dated=False, width=width), flush=True)


def _unreadable(folder: Path, error: OSError) -> StoreFailed:
    return StoreFailed(
        Failure(
            code="KA-STORE",
            message=f"The gateway's log {error.filename} cannot be read: {reason(error)}.",
            next_step=f"Make it a file in {folder} that you may read.",
        )
    )
