"""A real keyring of the system for tests: GNOME Keyring on a D-Bus of its own, to be locked and unlocked.

Nobody is there to type a password, so what it would ask in a window fails at once, as if that were closed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import jeepney
import pytest
import secretstorage
from jeepney.io.blocking import DBusConnection, open_dbus_connection

PASSWORD = b"opens-the-keyring"
_BUS = "org.freedesktop.secrets"
_SERVICE = "/org/freedesktop/secrets"
_LOGIN = "/org/freedesktop/secrets/collection/login"


class SecretService:
    """`environment` is what programs need to find it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    def lock(self) -> None:
        with self._connection() as bus:
            secretstorage.Collection(bus, _LOGIN).lock()

    def unlock(self) -> None:
        """As typing the password does: by the door that GNOME Keyring has for its own sign-in."""
        with self._connection() as bus:
            _, session = self._call(
                bus, "org.freedesktop.Secret.Service", "OpenSession", "sv", ("plain", ("s", ""))
            )
            secret = (session, b"", PASSWORD, "text/plain")
            interface = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface"
            self._call(bus, interface, "UnlockWithMasterPassword", "o(oayays)", (_LOGIN, secret))
            assert not secretstorage.Collection(bus, _LOGIN).is_locked()

    def entries(self) -> dict[str, str]:
        """What this program keeps there, by name."""
        with self._connection() as bus:
            found = secretstorage.Collection(bus, _LOGIN).search_items({"service": "kiro-auth"})
            return {item.get_attributes()["username"]: item.get_secret().decode() for item in found}

    @contextlib.contextmanager
    def _connection(self) -> Iterator[DBusConnection]:
        address = self.environment["DBUS_SESSION_BUS_ADDRESS"]
        with closing(open_dbus_connection(address)) as bus:
            yield bus

    def _call(self, bus: DBusConnection, interface: str, method: str, signature: str, body: Any) -> Any:
        address = jeepney.DBusAddress(_SERVICE, _BUS, interface)
        reply = bus.send_and_get_reply(jeepney.new_method_call(address, method, signature, body))
        assert reply.header.message_type is jeepney.MessageType.method_return, reply.body
        return reply.body


@contextlib.contextmanager
def secret_service() -> Iterator[SecretService]:
    """One for as long as the block lasts, unlocked; without it the test is skipped, but never in CI."""
    if not shutil.which("gnome-keyring-daemon") or not shutil.which("dbus-daemon"):
        assert "CI" not in os.environ, "a keyring is missing: apt-get install dbus gnome-keyring"
        pytest.skip("needs gnome-keyring-daemon and dbus-daemon")
    with contextlib.ExitStack() as running:
        for left in (2, 1, 0):  # on a busy machine the keyring's program may fail to begin
            try:
                service = running.enter_context(_in_a_folder())
                break
            except AssertionError:
                if not left:
                    raise
        yield service


@contextlib.contextmanager
def _in_a_folder() -> Iterator[SecretService]:
    # A short path, as sockets need.
    short = tempfile.TemporaryDirectory(prefix="kiro-keyring-", ignore_cleanup_errors=True)
    with short as folder, _running(Path(folder)) as service:
        yield service


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[SecretService]:
    address = f"unix:path={folder / 'bus'}"
    environment = {
        **os.environ,
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "DBUS_SESSION_BUS_ADDRESS": address,
    }
    with contextlib.ExitStack() as running:
        for command, words in (
            (["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}"], b""),
            (["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"], PASSWORD),
        ):
            program = running.enter_context(
                subprocess.Popen(
                    command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )  # fmt: skip
            running.callback(program.terminate)
            assert program.stdin is not None
            program.stdin.write(words)
            program.stdin.close()
            _wait_for(address)
        service = SecretService({
            "DBUS_SESSION_BUS_ADDRESS": address,
            "XDG_RUNTIME_DIR": str(folder),
        })  # fmt: skip
        _wait_until_open(service)
        yield service


def _wait_for(address: str) -> None:
    """Its socket is there before anybody listens at it, and the keyring tries only once."""
    end = time.monotonic() + 30
    while True:
        try:
            open_dbus_connection(address).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.02)
        else:
            return


def _wait_until_open(service: SecretService) -> None:
    end = time.monotonic() + 40
    while True:
        try:
            with service._connection() as bus:
                if not secretstorage.get_default_collection(bus).is_locked():
                    return
        except (secretstorage.exceptions.SecretStorageException, OSError):
            pass
        assert time.monotonic() < end
        time.sleep(0.05)
