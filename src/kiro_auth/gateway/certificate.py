"""The certificate that the gateway shows, of files that may be replaced while it runs."""

from __future__ import annotations

import logging
import os
import ssl
import time
from pathlib import Path
from typing import Final

from kiro_auth.config import Config
from kiro_auth.events import noted
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import open_to_read

log = logging.getLogger("kiro_auth.gateway")

_LOOK_SECONDS: Final = 5.0
"""Between two looks whether the files are others; connections that come meanwhile get what was there."""


class Certificate:
    """What `tls_cert` and `tls_key` name; both must be set.  Raises ConfigFailed when they cannot be used."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._context = context_of(config)
        self._stamp = _stamp(config)
        self._looked = time.monotonic()

    def context(self) -> ssl.SSLContext:
        """What a new connection is secured with."""
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self.look()
        return self._context

    def look(self) -> None:
        """Take the files as they are now; while they cannot be used, what they held before counts."""
        self._looked = time.monotonic()
        stamp = _stamp(self._config)
        if stamp == self._stamp:
            return
        self._stamp = stamp  # one file of the two may be new already: the other one changes it again
        try:
            self._context = context_of(self._config)
        except ConfigFailed as error:
            log.warning("the certificate stays: %s", error, extra=noted("certificate", state="refused"))
        else:
            log.info("there is a new certificate", extra=noted("certificate", state="taken"))


def context_of(config: Config) -> ssl.SSLContext:
    """TLS 1.2 and newer, with the certificate that the options name.  Raises ConfigFailed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    certificate, key = config.tls_cert or "", config.tls_key or ""
    try:
        for path in (certificate, key):
            os.close(open_to_read(Path(path)))  # else a named pipe is waited for without an end
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        raise _unusable(certificate, key, error) from error
    except OSError as error:
        name = "tls_cert" if error.filename == certificate else "tls_key"
        message = f"The file {error.filename} that {name} names cannot be read: {reason(error)}."
        raise ConfigFailed(
            Failure(code="KA-CONFIG", message=message, next_step=f"Correct {name}, or make it readable.")
        ) from error
    return context


def _unusable(certificate: str, key: str, error: ssl.SSLError) -> ConfigFailed:
    if error.reason == "KEY_VALUES_MISMATCH":
        message = f"The key in {key} is not the one of the certificate in {certificate}."
    else:
        message = f"{certificate} and {key} are no certificate and its private key without a password (PEM)."
    return ConfigFailed(
        Failure(code="KA-CONFIG", message=message, next_step="Correct tls_cert or tls_key, or the files.")
    )


def _no_password() -> str:
    """In place of a question in the terminal."""
    return ""


def _stamp(config: Config) -> tuple[object, ...]:
    """What is another when one of the files is."""
    return tuple(_stamp_of(path) for path in (config.tls_cert, config.tls_key))


def _stamp_of(path: str | None) -> tuple[object, ...]:
    try:
        status = os.stat(path or "")
    except OSError:
        return (path,)
    return path, status.st_mtime_ns, status.st_size, status.st_ino
