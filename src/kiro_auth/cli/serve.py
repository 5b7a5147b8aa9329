"""`kiro-auth serve`: run the gateway."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import typer

from kiro_auth.cli.output import print_json_line
from kiro_auth.events import noted
from kiro_auth.failures import ConfigFailed, Failure, KiroAuthError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kiro_auth.config import Config
    from kiro_auth.gateway.discovery import Address, Seat
    from kiro_auth.gateway.serve import Settings
    from kiro_auth.surfaces.surface import ModelCard

log = logging.getLogger("kiro_auth.serve")

_TAKE_OVER_SECONDS = 5.0
_HOST = typer.Option(
    None, help="The address to listen at; without it, localhost: 127.0.0.1 and ::1, for this machine alone."
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
    port: int = typer.Option(0, min=0, max=65535, help="The port; 0 takes any free one."),
    idle_minutes: float = typer.Option(0, min=0, help="End after this long without a request; 0 never."),
    allow_public: bool = _ALLOW_PUBLIC,
    allow_host: list[str] = _ALLOW_HOST,
    allow_origin: list[str] = _ALLOW_ORIGIN,
    quiet: bool = typer.Option(False, help="Print nothing; `kiro-auth logs` shows what it does."),
    verbose: bool = typer.Option(False, help="Log more, such as each repair of a history."),
    # The descriptors of the sockets that `kiro-auth run` holds: it serves there in any case, and says when.
    listener: list[int] = typer.Option([], hidden=True),
) -> None:
    """Run the gateway that your coding agents talk to: POST /v1/messages, GET /v1/models, GET /health.

    The key is KIRO_GATEWAY_KEY, or a random one. Without --port there is one gateway per user: when it runs
    already, this command says where and ends, with exit code 1 if that is not the --host asked for.
    """
    from kiro_auth import config as configuration
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway import serve as gateway
    from kiro_auth.gateway.discovery import STATE_FILE
    from kiro_auth.gateway.log_file import log_to
    from kiro_auth.gateway.options import options_in_force
    from kiro_auth.gateway.sockets import HERE

    folder = state_folder()
    hosts = HERE if host in (None, "localhost") else (host,)
    seat, before = _taken_seat(folder)
    if seat is None and not listener:
        if _runs_as_wanted(folder, hosts[0] if host else None, port):
            _say(quiet, f"A gateway runs already; {folder / STATE_FILE} says where.")
            return
        _need_a_key()
    log_to(folder, quiet=quiet, verbose=verbose)
    config = configuration.load()
    _note_beginning(before, config)
    settings = gateway.Settings(
        hosts=hosts,
        port=port,
        key=os.environ.get("KIRO_GATEWAY_KEY") or secrets.token_urlsafe(32),
        options=options_in_force(config),
        listeners=listener,
        idle_minutes=idle_minutes,
        allow_public=allow_public,
        allow_host=_checked("allow_host", allow_host),
        allow_origin=_checked("allow_origin", allow_origin),
    )
    _run(_served(settings, config, seat, quiet), quiet)


def _note_beginning(before: Address | None, config: Config) -> None:
    """Log whose place this gateway took, and what is wrong with its options."""
    if before is not None:
        taken = noted("takeover", version=before.version, process=before.pid)
        log.info("takes over from version %s, process %d", before.version, before.pid, extra=taken)
    for problem in config.problems:
        log.warning("%s", problem.sentence(), extra=noted("option", failure=problem.code))


def _served(settings: Settings, config: Config, seat: Seat | None, quiet: bool) -> Coroutine[Any, Any, None]:
    """The gateway over the user's store, until it ends; `seat` is the place of the user's one gateway."""
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway import serve as gateway
    from kiro_auth.gateway.model_lists import FILE as LISTS_FILE
    from kiro_auth.gateway.own_store import own_store
    from kiro_auth.gateway.request_log import FILE, RequestLog
    from kiro_auth.gateway.turn_lines import TurnLines

    folder, announced = state_folder(), seat is not None
    return gateway.serve(
        settings,
        config,
        own_store(),
        seat,
        on_started=_tell_run(announced) if settings.listeners else _greet(quiet, announced),
        on_models_listed=lambda models, complete: _write_down(folder, models, complete),
        lists_file=folder / LISTS_FILE,
        listeners=[TurnLines(), *([RequestLog(folder / FILE)] if config.enable_log_api_request else [])],
    )


def _checked(name: str, given: Sequence[str]) -> Sequence[str]:
    """What was given on the command line for this option of kiro.json.  Raises ConfigFailed."""
    from kiro_auth.options import OPTIONS

    option = next(option for option in OPTIONS if option.name == name)
    try:
        checked: Sequence[str] = option.kind.check(list(given))
    except ValueError as error:
        flag = f"--{name.replace('_', '-')}"
        raise ConfigFailed(Failure(code="KA-CONFIG", message=f"{flag} must be {error}.")) from error
    return checked


def _taken_seat(folder: Path) -> tuple[Seat | None, Address | None]:
    """The place of the user's one gateway if it could be had, and the older version that gave it up."""
    from kiro_auth.gateway.discovery import Seat

    seat = Seat(folder)
    if seat.take():
        return seat, None
    before = _taken_over(seat, folder)
    return (seat if before else None), before


def _taken_over(seat: Seat, folder: Path) -> Address | None:
    """The older version that gave its place to this one; its answers under way are finished."""
    from kiro_auth import __version__
    from kiro_auth.gateway.calls import Listener, call
    from kiro_auth.gateway.discovery import find, is_older

    running = find(folder)
    if running is None or not is_older(running.version, __version__):
        return None
    if call(running, "POST", "/kiro/retire").listener is not Listener.OURS:
        return None
    end = time.monotonic() + _TAKE_OVER_SECONDS
    while time.monotonic() < end:
        if seat.take():
            return running
        time.sleep(0.05)
    return None


def _runs_as_wanted(folder: Path, host: str | None, port: int) -> bool:
    """Whether the gateway that runs listens where this one should; not so at another port.

    Raises ConfigFailed when it listens at another host: without a port there is one gateway.
    """
    from kiro_auth.gateway.discovery import find

    running = find(folder)
    if running is None:  # it has just begun, and not said yet where
        return not port
    if port not in (0, running.port):
        return False
    if host in (None, running.host):
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


def _greet(quiet: bool, announced: bool) -> Callable[[Address], None]:
    """Says to a person where it listens."""
    from kiro_auth.gateway.turn_lines import LEGEND

    where = "in gateway.json of the state folder (kiro-auth status)" if announced else "the one you gave"

    def greet(address: Address) -> None:
        text = f"Listening at {address.url}; the key is {where}. Stop with Ctrl-C."
        _say(quiet, f"{_wrapped(text)}\n{_wrapped(LEGEND)}" if sys.stdout.isatty() else text)

    return greet


def _wrapped(text: str) -> str:
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _tell_run(announced: bool) -> Callable[[Address], None]:
    """Says to `kiro-auth run` that it serves, and whether other programs find it as well."""
    return lambda _: print_json_line({"announced": announced})


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        typer.echo(text)


def _run(main: Coroutine[Any, Any, None], quiet: bool) -> None:
    try:
        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            runner.run(main)
    except KiroAuthError as error:
        if quiet:  # with nothing printed, the log is where its failure is looked for
            log.error("%s", error.failure.sentence(), extra=noted("failed", failure=error.failure.code))
        raise


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not made for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
