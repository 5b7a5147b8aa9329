"""`python -m kiro_auth` is `kiro-auth`."""

from kiro_auth.cli.main import main

main()
