"""`kiro-auth serve` as the command line knows it: its options, and its help."""

from __future__ import annotations

from pathlib import Path

import typer

from kiro_auth.cli import serve as command

_HOST = typer.Option(
    None, help="The address to listen at; without it, localhost: 127.0.0.1 and ::1, for this machine alone."
)
_PORT = typer.Option(
    None, min=0, max=65535, help="The port, kept from now on; 0 a new one. Without it, the one that is kept."
)
_DRAIN = typer.Option(
    None,
    min=0,
    max=600,
    help="On SIGTERM, serve on for so many seconds while /ready says 503; in place of drain_seconds.",
)
_TLS_CERT = typer.Option(
    None, help="The file with the certificate (PEM): --host and --port, else 8443, speak TLS; with --tls-key."
)
_TLS_KEY = typer.Option(None, help="The file with the certificate's private key (PEM).")
_UNIX = typer.Option(None, help="A Unix socket to serve as well, in a folder that only you may write into.")
_ALLOW_PUBLIC = typer.Option(
    False, help="Accept a --host that other machines can reach; needs a long KIRO_GATEWAY_KEY."
)
_ALLOW_HOST = typer.Option(
    [], help="A further name for this machine in the Host header, such as host.docker.internal. Repeatable."
)
_ALLOW_ORIGIN = typer.Option(
    [], help="An Origin to let in, exactly as it is sent, such as app://obsidian.md. Repeatable."
)


def serve(
    host: str | None = _HOST,
    port: int | None = _PORT,
    idle_minutes: float = typer.Option(0, min=0, help="End after this long without a request; 0 never."),
    replace: bool = typer.Option(False, help="Take the place of one that runs; it finishes its answers."),
    drain: int | None = _DRAIN,
    tls_cert: str | None = _TLS_CERT,
    tls_key: str | None = _TLS_KEY,
    unix: Path | None = _UNIX,
    allow_public: bool = _ALLOW_PUBLIC,
    allow_host: list[str] = _ALLOW_HOST,
    allow_origin: list[str] = _ALLOW_ORIGIN,
    quiet: bool = typer.Option(False, help="Print nothing; `kiro-auth logs` shows what it does."),
    verbose: bool = typer.Option(False, help="Log more, such as each repair of a history."),
    # The descriptors of the sockets that `kiro-auth run` holds: it serves there in any case, and says when.
    listener: list[int] = typer.Option([], hidden=True),
) -> None:
    """Run the gateway that your coding agents talk to.

    It has the same address and key at every start; kiro-auth key show prints the key, and KIRO_GATEWAY_KEY
    counts as well. Without --port there is one gateway per user: when it runs already, this command says
    where and ends, with exit code 1 if that is not the --host asked for.
    """
    options = {"drain_seconds": drain, "tls_cert": tls_cert, "tls_key": tls_key}
    command.serve(
        host=host,
        port=port,
        idle_minutes=idle_minutes,
        replace=replace,
        given={name: value for name, value in options.items() if value is not None},
        unix=unix,
        allow_public=allow_public,
        allow_host=allow_host,
        allow_origin=allow_origin,
        quiet=quiet,
        verbose=verbose,
        listener=listener,
    )
