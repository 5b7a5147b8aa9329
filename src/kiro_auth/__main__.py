"""`python -m kiro_auth` is `kiro-auth`.  An old Python can read this file, and none of the others."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (pip asks for it, but a clone can be started with any Python)
    sys.exit(
        f"error: kiro-auth needs Python 3.11 or newer; this is {sys.version_info[0]}.{sys.version_info[1]}, "
        f"at {sys.executable}. Start it with a newer one, such as: python3.12 -m kiro_auth"
    )

from kiro_auth.cli.main import main

main()
