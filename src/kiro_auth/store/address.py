"""Where a database is: its address as libpq reads it, and which of several servers in it is asked first."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.texts import learn

_OF_EACH_SERVER: Final = ("host", "hostaddr", "port")
"""The parameters that may be lists, with a value for each server."""
_PATHS: Final = ("sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir", "passfile")
"""The parameters that name a file or folder; libpq takes `system`, and keys in devices, in its place."""
_SERVERS: Final = "target_session_attrs", "PGTARGETSESSIONATTRS"
"""The parameter, and the variable, that says which servers will do."""
_ALIVE: Final = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}
"""Seconds, and how often: the connection that hears notices says nothing itself, and what stands between two
machines forgets such a one in silence after some minutes."""


class Address:
    """An address `postgresql://user@host:port/name`.  Raises ConfigFailed when it cannot be read.

    Unless it says otherwise a server that takes no changes, as a standby, counts as one that cannot be
    reached.
    """

    def __init__(self, url: str) -> None:
        try:
            parts: dict[str, Any] = conninfo_to_dict(url, application_name="kiro-auth")
        except psycopg.Error:
            raise _wrong() from None  # the error's text quotes the address
        _check_paths(parts)
        learn(str(parts.get("password") or "") or None)
        self.name = _named(parts)
        """What the database is called in messages: without its user and password."""
        parameter, variable = _SERVERS
        if not os.environ.get(variable):
            parts.setdefault(parameter, "read-write")
        self._parts = _ALIVE | parts
        self._first = 0

    def __str__(self) -> str:
        """For libpq, which asks the servers in order."""
        there = {name: str(self._parts[name]) for name in _OF_EACH_SERVER if name in self._parts}
        turned = {name: self._in_turn(values.split(",")) for name, values in there.items()}
        return make_conninfo(**(self._parts | turned))

    def on_failed(self) -> None:
        """Begin with the next server: the time for all may have gone to one that does not answer."""
        self._first += 1

    def _in_turn(self, values: list[str]) -> str:
        first = self._first % len(values)
        return ",".join(values[first:] + values[:first])


def _check_paths(parts: Mapping[str, Any]) -> None:
    """Raises ConfigFailed for a relative path: gateways run in another folder than the commands."""
    for name in _PATHS:
        value = str(parts.get(name) or "/")
        if not (os.path.isabs(value) or re.fullmatch(r"system|\w+:.*", value)):
            raise ConfigFailed(
                Failure(
                    code="KA-CONFIG",
                    message=f"{name} in the address of the database is a relative path.",
                    next_step="Give it whole, from / on.",
                )
            )


def _named(parts: Mapping[str, Any]) -> str:
    host, port = parts.get("host") or "this machine", parts.get("port")
    where = f"{host}:{port}" if port else str(host)
    return f"{parts.get('dbname') or 'of the user'} at {where}"


def _wrong() -> ConfigFailed:
    message = "KIRO_STORE, or store in kiro.json, is no address of a database."
    next_step = "It should be as postgresql://user@host:port/name."
    return ConfigFailed(Failure(code="KA-CONFIG", message=message, next_step=next_step))
