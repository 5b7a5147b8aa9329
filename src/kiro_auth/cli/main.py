"""The command `kiro-auth`: how it begins and ends.

Exit codes: 0 done, 1 failed with a message on stderr, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kiro_auth.updates import Check

_OUTPUT_ENDED: Final = (errno.ENOSPC, errno.EPIPE, errno.EIO)
"""A full disk, a reader that has left, a terminal that has gone.  Who writes a file tells of its own."""


def main() -> None:
    """Run the command line; our own failures end it with their sentence and exit code 1."""
    gc.disable()  # nothing that is imported is garbage, and to see that is a twentieth of a start
    try:
        _main()
    finally:
        gc.enable()


def _main() -> None:
    if sys.stdout is None:  # that is how Python shows one that is closed
        if not _is_windowless():
            sys.exit("error: Standard output is closed (KA-STORE).")
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the end)
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.filename is not None:
            from kiro_auth.os_errors import reason

            sys.exit(f"error: {error.filename} cannot be used: {reason(error)}.")
        if error.errno not in _OUTPUT_ENDED:
            raise
        # The interpreter would try to write the rest once more, and fail with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # `| head -1` has what it wanted
            from kiro_auth.os_errors import reason

            print(f"error: The output cannot be written: {reason(error)} (KA-STORE).", file=sys.stderr)
        sys.exit(1)


def _is_windowless() -> bool:
    """Whether this is the Python of Windows that has no output, which a service is started with."""
    return Path(sys.executable).stem.lower() == "pythonw"


def _run() -> None:
    # Imported here, because it takes a while in which Ctrl-C counts too.
    from kiro_auth.cli.output import Notes, print_failure, print_note
    from kiro_auth.cli.straight import straight
    from kiro_auth.failures import KiroAuthError
    from kiro_auth.texts import learn

    learn(os.environ.get("KIRO_GATEWAY_KEY"))
    logging.lastResort = Notes()  # where nobody has set up a log
    check = _update_check()
    try:
        (straight(sys.argv[1:]) or _any_verb)()
    except KiroAuthError as error:
        print_failure(error.failure)
        sys.exit(1)
    finally:
        sys.stdout.flush()
        if check is not None and (notice := check.notice()):
            print_note(notice)


def _any_verb() -> None:
    """Read the command line as a whole, and do what it says."""
    from typer import Abort

    from kiro_auth.cli import completion
    from kiro_auth.cli.app import command
    from kiro_auth.cli.mistakes import Mistake, is_help, sentence
    from kiro_auth.cli.output import INTERRUPTED, print_error

    if completion.VARIABLE in os.environ:
        completion.prepare()
    gc.enable()
    try:
        sys.exit(command.main(sys.argv[1:], completion.PROGRAM, standalone_mode=False))
    except Mistake as mistake:
        if is_help(mistake):
            print(mistake.message)
            sys.exit(0)
        print_error(sentence(mistake, command, sys.argv[1:]))
        sys.exit(mistake.exit_code)
    except Abort:
        print("\nCancelled.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _update_check() -> Check | None:
    """A look for a newer release, where a person is at a terminal."""
    if "CI" in os.environ or not sys.stdout.isatty():  # spares others what follows
        return None
    from kiro_auth import config

    options = config.load()
    if not (options.update_check and options.update_index):
        return None
    from kiro_auth.folders import state_folder
    from kiro_auth.updates import Check, is_wanted

    return Check(options.update_index, state_folder()) if is_wanted(sys.argv[1:]) else None
