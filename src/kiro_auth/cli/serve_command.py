"""`kiro-auth serve` as the command line knows it: its options, and its help."""

from __future__ import annotations

import typer

from kiro_auth.cli import serve as command

_HOST = typer.Option(
    None, help="The address to listen at; without it, localhost: 127.0.0.1 and ::1, for this machine alone."
)
_PORT = typer.Option(
    None, min=0, max=65535, help="The port, kept from now on; 0 a new one. Without it, the one that is kept."
)
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
    command.serve(
        host=host,
        port=port,
        idle_minutes=idle_minutes,
        replace=replace,
        allow_public=allow_public,
        allow_host=allow_host,
        allow_origin=allow_origin,
        quiet=quiet,
        verbose=verbose,
        listener=listener,
    )
