"""The command `kiro-auth`: how it begins and ends.

Exit codes: 0 done, 1 failed with a message on stderr, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

_OUTPUT_ENDED: Final = (errno.ENOSPC, errno.EPIPE, errno.EIO)
"""A full disk, a reader that has left, a terminal that has gone.  Who writes a file tells of its own."""


def main() -> None:
    """Run the command line; our own failures end it with their sentence and exit code 1."""
    if sys.stdout is None:  # that is how Python shows one that is closed
        sys.exit("error: Standard output is closed.")
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno not in _OUTPUT_ENDED or error.filename is not None:
            raise
        # The interpreter would try to write the rest once more, and fail with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # `| head -1` has what it wanted
            print(f"error: The output cannot be written: {error.strerror}.", file=sys.stderr)
        sys.exit(1)


def _run() -> None:
    # Imported here, because it takes a while in which Ctrl-C counts too.
    from kiro_auth.cli.output import print_failure
    from kiro_auth.cli.straight import straight
    from kiro_auth.failures import KiroAuthError

    try:
        if serve := straight(sys.argv[1:]):
            serve()
        else:
            from kiro_auth.cli.app import app

            app()
    except KiroAuthError as error:
        print_failure(error.failure)
        sys.exit(1)
    finally:
        sys.stdout.flush()
