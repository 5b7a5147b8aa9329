"""What the service runs: the gateway without an end, with the variables of ours that are set now.

A definition of a service is no place for secrets, so one that stands in a variable is refused by name.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.launch import python_command, whole
from kiro_auth.options import OPTIONS, ROLES

SECRETS: Final[Mapping[str, str]] = {
    "KIRO_GATEWAY_KEY": "The service has the kept key: kiro-auth key show",
    "KIRO_API_KEY": "Store it as an account: kiro-auth login --api-key",
    "KIRO_STORE_KEY": "Put it into a file that only you can read, and name that in KIRO_STORE_KEY_FILE",
}
"""Variables that hold a secret, and what there is in their place."""
_HOLDS_A_PASSWORD: Final = re.compile(r"://[^@/]*:[^@/]+@|[?&](?:ssl)?password=[^&]")
"""Of a database's address as libpq reads it, which takes `#` and `?` in a password as they are."""
_IN_PGPASS: Final = "Put the database's password into ~/.pgpass, and leave it out here"
_FOLDERS: Final = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_NETWORK: Final = (*_PROXIES, "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
NAMES: Final = frozenset(
    (
        *_FOLDERS,
        *_NETWORK,
        "KIRO_STORE_KEY_FILE",
        *(option.variable for option in OPTIONS),
        *(f"KIRO_ENDPOINT_{role.upper()}" for role in ROLES),
    )
)
"""The variables that the service sees, in any case."""


class Program(Struct, frozen=True):
    """A command, program and arguments, and the variables it sees beside those of every service."""

    command: tuple[str, ...]
    variables: Mapping[str, str]


def gateway_program(environment: Mapping[str, str] = os.environ, *, store: str = "files") -> Program:
    """What the service shall run, with the option `store` as it counts now.

    For a database it sees libpq's variables as well.  Raises ConfigFailed for a variable that holds a secret.
    """
    for name, instead in SECRETS.items():
        if environment.get(name):
            raise _refused(f"{name} is set", f"Unset it here. {instead}")
    variables = dict(_of_ours(environment))
    if "://" in store:
        variables |= {name: value for name, value in environment.items() if name.startswith("PG") and value}
        if "PGPASSWORD" in variables:
            raise _refused("PGPASSWORD is set", _IN_PGPASS)
        if _HOLDS_A_PASSWORD.search(variables.get("KIRO_STORE", "")):
            raise _refused("KIRO_STORE holds a password", _IN_PGPASS)
    for name, value in variables.items():
        if name.upper() in _PROXIES and urlsplit(value).password:
            step = "Unset it here, and set the proxy for each account: kiro-auth accounts set NAME --proxy"
            raise _refused(f"{name} holds a password", step)
    variables = {name: whole(name, value) for name, value in variables.items()}
    # It takes the place of one that OpenCode has started meanwhile, which would end unused.
    return Program((*python_command(), "serve", "--quiet", "--replace"), variables)


def _of_ours(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in sorted(environment.items()):
        if name.upper() in NAMES and value:
            yield name, value
    if sys.platform != "win32" and (home := environment.get("HOME")):
        import pwd

        if home != pwd.getpwuid(os.geteuid()).pw_dir:
            yield "HOME", home


def _refused(what: str, step: str) -> ConfigFailed:
    message = f"{what}, and the file of a service is no place for a secret."
    return ConfigFailed(Failure(code="KA-CONFIG", message=message, next_step=step))
