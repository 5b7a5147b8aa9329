"""`kiro-auth serve`: run the gateway."""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import secrets
import time
import urllib.request
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import typer

from kiro_auth.failures import ConfigFailed, Failure, KiroAuthError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kiro_auth.gateway.discovery import Address, Seat
    from kiro_auth.surfaces.surface import ModelCard

log = logging.getLogger("kiro_auth.serve")

_TAKE_OVER_SECONDS = 5.0


def serve(
    host: str | None = typer.Option(
        None, help="The address to listen at; without it, 127.0.0.1, for this machine alone."
    ),
    port: int = typer.Option(0, min=0, max=65535, help="The port; 0 takes any free one."),
    idle_minutes: float = typer.Option(0, min=0, help="End after this long without a request; 0 never."),
    allow_public: bool = typer.Option(
        False,
        help="Accept a --host that other machines can reach; needs a long KIRO_GATEWAY_KEY.",
    ),
    quiet: bool = typer.Option(False, help="Print nothing; log to gateway.log in the state folder."),
    verbose: bool = typer.Option(False, help="Log more, such as each repair of a history."),
) -> None:
    """Run the gateway that your coding agents talk to: POST /v1/messages, GET /v1/models, GET /health.

    The key is KIRO_GATEWAY_KEY, or a random one. Without --port there is one gateway per user: when it runs
    already, this command says where and ends, with exit code 1 if that is not the --host asked for.
    """
    from kiro_auth import config as configuration
    from kiro_auth.cli.store import file_store, options_in_force
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway import discovery
    from kiro_auth.gateway import serve as gateway
    from kiro_auth.gateway.request_log import FILE, RequestLog

    folder = state_folder()
    seat: discovery.Seat | None = discovery.Seat(folder)
    assert seat is not None
    if not seat.take() and not _taken_over(seat, folder):
        if _is_wanted(discovery.find(folder), host, port):
            _say(quiet, f"A gateway runs already; {folder / discovery.STATE_FILE} says where.")
            return
        seat = None
        _need_a_key()
    gateway.log_to(folder / "gateway.log" if quiet else None, verbose=verbose)
    config = configuration.load()
    for problem in config.problems:
        log.warning(problem.sentence())
    settings = gateway.Settings(
        host=host or "127.0.0.1",
        port=port,
        key=os.environ.get("KIRO_GATEWAY_KEY") or secrets.token_urlsafe(32),
        options=options_in_force(config),
        idle_minutes=idle_minutes,
        allow_public=allow_public,
    )
    store = file_store()
    try:
        _run(
            gateway.serve(
                settings,
                config,
                store,
                seat,
                started=lambda address: _greet(quiet, address, seat is not None),
                listed=lambda models, complete: _write_down(folder, models, complete),
                noted=RequestLog(folder / FILE).write if config.enable_log_api_request else lambda _: None,
            )
        )
    except KiroAuthError as error:
        if quiet:  # whoever started it so looks into the log
            log.error(error.failure.sentence())
        raise


def _taken_over(seat: Seat, folder: Path) -> bool:
    """Whether an older version gave its place to this one; its answers under way are finished."""
    from kiro_auth import __version__
    from kiro_auth.gateway.discovery import find, is_older

    running = find(folder)
    if running is None or not is_older(running.version, __version__):
        return False
    url = f"{running.url}/kiro/retire"
    request = urllib.request.Request(url, b"", {"x-api-key": running.key})  # noqa: S310 (our own address)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(request, timeout=2).close()
    except (OSError, http.client.HTTPException):
        return False  # it is too old to know how
    end = time.monotonic() + _TAKE_OVER_SECONDS
    while time.monotonic() < end:
        if seat.take():
            return True
        time.sleep(0.05)
    return False


def _is_wanted(running: Address | None, host: str | None, port: int) -> bool:
    """Whether the gateway that runs listens where this one should; not so at another port.

    Raises ConfigFailed when it listens at another host: without a port there is one gateway.
    """
    if running is None:  # it has just begun, and not said yet where
        return not port
    if port not in (0, running.port):
        return False
    if host in (None, running.host) or {host, running.host} == {"localhost", "127.0.0.1"}:
        return True
    raise ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message=f"A gateway runs already, at {running.url}, not at the host {host}.",
            next_step="Stop it first: kiro-auth stop",
        )
    )


def _write_down(folder: Path, models: Sequence[ModelCard], complete: bool) -> None:
    """What OpenCode shows, and, for people who use Kiro, a first `kiro.json`."""
    from kiro_auth.config_file import write_template
    from kiro_auth.folders import config_folder
    from kiro_auth.opencode.models import FILE, write_models

    write_models(folder / FILE, models, complete=complete)
    write_template(config_folder())


def _need_a_key() -> None:
    """Beside the user's one gateway another is only of use with a key that somebody knows."""
    if not os.environ.get("KIRO_GATEWAY_KEY"):
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message="A gateway runs already; a second one needs a key of its own.",
                next_step="Set KIRO_GATEWAY_KEY, or stop the first one: kiro-auth stop",
            )
        )


def _greet(quiet: bool, address: Address, announced: bool) -> None:
    where = "in gateway.json of the state folder (kiro-auth status)" if announced else "the one you gave"
    _say(quiet, f"Listening at {address.url}; the key is {where}. Stop with Ctrl-C.")


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        typer.echo(text)


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        runner.run(main)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not made for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
