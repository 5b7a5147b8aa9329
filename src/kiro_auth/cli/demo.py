"""`kiro-auth demo`: everything at work against a simulated AWS, with the same commands a user types."""

from __future__ import annotations

import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from kiro_auth.cli.next_steps import print_next_steps
from kiro_auth.cli.output import INTERRUPTED
from kiro_auth.cli.terminal import fitted
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.os_errors import reason

if TYPE_CHECKING:
    from kiro_auth.demo.client import Gateway
    from kiro_auth.demo.stage import Stage

_CLEAR_LINE: Final = "\x1b[K"
_COLUMNS: Final = re.compile(r"\S {2,}\S")
"""A row of a table, whose columns wrapping at words would take out of line."""


def demo(
    keep: bool = typer.Option(False, "--keep", help="Stay up for playing until Ctrl-C."),
    no_opencode: bool = typer.Option(False, "--no-opencode", help="Leave out the OpenCode on your PATH."),
) -> None:
    """Show it at work against a simulated AWS: sign-in, streaming, tools, rotation, usage, OpenCode.

    Runs in a temporary folder with a home of its own: your accounts, your files and the folder you are in are
    neither read nor changed, and nothing leaves this machine.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for terminals that lack a character of these words
    _write("kiro-auth, against a simulated AWS. Nothing of yours is read or changed.\n")
    from kiro_auth.demo.stage import Stage
    from kiro_auth.demo.steps import run_all

    begun = time.monotonic()
    for number in (signal.SIGTERM, *(() if sys.platform == "win32" else (signal.SIGHUP,))):
        signal.signal(number, _end)
    try:
        with _folder() as folder:
            stage = Stage(folder, _show, _tick)
            with ExitStack() as running:
                gateway = run_all(stage, running, opencode=not no_opencode)
                _write(f"\nAll of it worked, in {time.monotonic() - begun:.0f} seconds.\n")
                if keep:
                    _stay(stage, gateway)
    except KeyboardInterrupt:
        print("\nInterrupted; what it had started and written is gone.", file=sys.stderr, flush=True)
        raise typer.Exit(INTERRUPTED) from None
    print_next_steps(signed_in=False)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is removed with the block.  Raises ConfigFailed."""
    try:
        kept = tempfile.TemporaryDirectory(prefix="kiro-auth-demo-", ignore_cleanup_errors=True)
    except OSError as error:
        message = f"No temporary folder can be made: {reason(error)}."
        step = "Name a folder that can be written in the variable TMPDIR."
        raise ConfigFailed(Failure(code="KA-CONFIG", message=message, next_step=step)) from error
    with kept as folder:
        yield Path(folder).resolve()


def _write(text: str) -> None:
    typer.echo(f"{_CLEAR_LINE if sys.stdout.isatty() else ''}{text}", nl=False)
    sys.stdout.flush()


def _show(text: str) -> None:
    """What a step says, wrapped at words."""
    _write(text if _COLUMNS.search(text) else fitted(text, sys.stdout))


def _tick(seconds: int) -> None:
    """How long the program that runs has taken already, where a person looks."""
    if sys.stdout.isatty():
        _write(f"  {seconds} s\r")


def _end(number: int, _: Any) -> None:
    raise SystemExit(128 + number)


def _stay(stage: Stage, gateway: Gateway) -> None:
    with suppress(KeyboardInterrupt):  # also while it still speaks
        _write("\nIt stays up until Ctrl-C. In another terminal:\n\n")
        for name, value in stage.environment.items():
            if name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME") or name.startswith("KIRO_ENDPOINT_"):
                _write(f"  export {name}='{value}'\n")
        _write(
            "  kiro-auth accounts; kiro-auth usage   # against the simulated AWS\n"
            f"\n  curl {gateway.url}/v1/messages -H 'x-api-key: {gateway.key}' "
            "-H 'content-type: application/json' \\\n"
            f"""    -d '{{"model": "{gateway.model}", "max_tokens": 500, "stream": true, """
            """"messages": [{"role": "user", "content": "Hello"}]}'\n"""
        )
        while True:
            time.sleep(3600)
