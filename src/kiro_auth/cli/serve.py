"""`kiro-auth serve`: run the gateway."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kiro_auth.cli.output import print_json_line, say
from kiro_auth.events import noted
from kiro_auth.failures import ConfigFailed, Failure, KiroAuthError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from kiro_auth.config import Config
    from kiro_auth.events import Listener
    from kiro_auth.gateway.certificate import Certificate
    from kiro_auth.gateway.discovery import Address, Seat
    from kiro_auth.gateway.doors import Settings
    from kiro_auth.gateway.entrance import Entrance
    from kiro_auth.surfaces.surface import ModelCard
    from kiro_auth.tracing import Traces

log = logging.getLogger("kiro_auth.serve")

_ONE_RUNS = (
    "A gateway runs already; kiro-auth status says where. To take its place: kiro-auth serve --replace"
)


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    idle_minutes: float = 0,
    replace: bool = False,
    given: Mapping[str, Any] = MappingProxyType({}),
    unix: Path | None = None,
    allow_public: bool = False,
    allow_host: Sequence[str] = (),
    allow_origin: Sequence[str] = (),
    quiet: bool = False,
    verbose: bool = False,
    listener: Sequence[int] = (),
) -> None:
    """Run the gateway; the options are those of `serve_command`, which is read only where a person asks.

    `given` are options of kiro.json that the command line sets.  `listener`: the descriptors of the sockets
    that `kiro-auth run` holds; it serves there in any case, and says when.
    """
    from kiro_auth import config as configuration
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.doors import Settings
    from kiro_auth.gateway.log_file import log_to
    from kiro_auth.gateway.options import options_in_force

    folder = state_folder()
    hosts = _hosts(host)
    seat, before = _taken_seat(folder, replace=replace)
    if seat is None and not listener and not _may_be_second(folder, hosts[0] if host else None, port):
        _say(quiet, _ONE_RUNS)
        return
    log_to(folder, quiet=quiet, verbose=verbose)
    config = configuration.load(given=given)
    _note_beginning(before, config)
    settings = Settings(
        hosts=hosts,
        port=port,
        key=os.environ.get("KIRO_GATEWAY_KEY", ""),
        options=options_in_force(config),
        listeners=listener,
        idle_minutes=idle_minutes,
        stays=before is not None and before.stays,
        allow_public=allow_public,
        certificate=_certificate(config),
        unix=unix.absolute() if unix else None,
        allow_host=_checked("allow_host", allow_host),
        allow_origin=_checked("allow_origin", allow_origin),
    )
    _run(_served(settings, config, seat, partial(_load, given), quiet), quiet)


def _hosts(host: str | None) -> Sequence[str]:
    from kiro_auth.gateway.sockets import HERE

    return HERE if host in (None, "localhost") else (host,)


def _load(given: Mapping[str, Any]) -> Config:
    """All options, for a gateway that runs; with a certificate that cannot be used among the problems."""
    from kiro_auth.config import load

    config = load(given=given)
    try:
        _certificate(config)
    except ConfigFailed as error:
        config.problems = (*config.problems, error.failure)
    return config


def _certificate(config: Config) -> Certificate | None:
    """The one that the options name, if they do.  Raises ConfigFailed."""
    if config.tls_cert is None and config.tls_key is None:
        return None
    for name in ("tls_cert", "tls_key"):
        if getattr(config, name) is None:
            message = f"{name} is not set, and TLS needs both tls_cert and tls_key."
            raise ConfigFailed(Failure(code="KA-CONFIG", message=message, next_step=f"Set {name} as well."))
    from kiro_auth.gateway.certificate import Certificate

    return Certificate(config)


def _note_beginning(before: Address | None, config: Config) -> None:
    """Log whose place this gateway took, and what is wrong with its options."""
    if before is not None:
        taken = noted("takeover", version=before.version, process=before.pid)
        log.info("takes the place of version %s, process %d", before.version, before.pid, extra=taken)
    for problem in config.problems:
        log.warning("%s", problem.sentence(), extra=noted("option", failure=problem.code))


def _served(
    settings: Settings, config: Config, seat: Seat | None, load: Callable[[], Config], quiet: bool
) -> Coroutine[Any, Any, None]:
    """The gateway over the user's store, until it ends; `seat` is the place of the user's one gateway."""
    from kiro_auth.gateway import serve as gateway
    from kiro_auth.gateway.own_keys import own_keys
    from kiro_auth.tracing import traces as traces_wanted

    _check_store(config)
    announced, traces = seat is not None, traces_wanted()
    serving = gateway.serve(
        settings,
        config,
        own_keys(config),
        seat,
        open_rest=lambda entrance, problems: _rest(config, load, traces, entrance, problems),
        on_started=_tell_run(announced) if settings.listeners else _greet(quiet, announced),
    )
    return _traced(serving, traces) if traces else serving


def _check_store(config: Config) -> None:
    """Raises ConfigFailed for what is wrong with a database, a keyring or a key of the environment.

    That is told before anybody is told of this gateway; with files alone nothing can be wrong.
    """
    from kiro_auth.gateway.options import FILES, environment_key

    plain = config.store == config.secrets == FILES and config.unknown_store is None
    if not plain or environment_key():
        from kiro_auth.gateway.own_store import own_ledger, own_store

        own_store(config)
        own_ledger(config)


def _rest(
    config: Config,
    load: Callable[[], Config],
    traces: Traces | None,
    entrance: Entrance,
    problems: Sequence[Failure],
) -> AbstractAsyncContextManager[None]:
    """All of the gateway but its entrance, which is served while this is imported."""
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.app import open_gateway
    from kiro_auth.gateway.model_lists import FILE as LISTS_FILE
    from kiro_auth.gateway.own_store import own_ledger, own_store
    from kiro_auth.gateway.request_log import FILE, RequestLog
    from kiro_auth.gateway.turn_lines import TurnLines

    folder = state_folder()
    listeners: list[Listener] = [TurnLines()]
    if config.enable_log_api_request:
        listeners.append(RequestLog(folder / FILE))
    if traces is not None:
        listeners.append(traces)
    return open_gateway(
        config,
        own_store(config),
        entrance,
        load=load,
        problems=problems,
        on_models_listed=lambda models, complete: _write_down(folder, config, models, complete),
        lists_file=folder / LISTS_FILE,
        ledger=own_ledger(config),
        listeners=listeners,
    )


async def _traced(serving: Coroutine[Any, Any, None], traces: Traces) -> None:
    try:
        await serving
    finally:
        await asyncio.to_thread(traces.close)


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


def _taken_seat(folder: Path, *, replace: bool) -> tuple[Seat | None, Address | None]:
    """The place of the user's one gateway, if it was free, or was given to this one.

    With it what the gateway before said of itself, if it was killed, or gave the place away.
    """
    from kiro_auth.gateway.discovery import Seat, find

    seat = Seat(folder)
    if seat.take():
        return seat, find(folder)
    running = find(folder)
    return (seat, running) if running and _taken_over(seat, running, replace=replace) else (None, None)


def _taken_over(seat: Seat, running: Address, *, replace: bool) -> bool:
    """Whether an older version, or with `replace` any, gave its place to this one.  Raises KiroAuthError."""
    from kiro_auth import __version__
    from kiro_auth.gateway.calls import take_over
    from kiro_auth.gateway.discovery import is_older

    return (replace or is_older(running.version, __version__)) and take_over(seat, running)


def _may_be_second(folder: Path, host: str | None, port: int | None) -> bool:
    """Whether another gateway is wanted beside the one that runs: at a port of its own.

    Raises ConfigFailed when the one that runs listens at another host, as without a port there is one
    gateway, and when the second has no key that somebody knows.
    """
    from kiro_auth.gateway.discovery import find

    running = find(folder)  # None: it has just begun, and not said yet where
    if port and (running is None or port != running.port):
        _need_a_key()
        return True
    if running is None or host in (None, running.host):
        return False
    raise ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message=f"A gateway runs already, at {running.url}, not at the host {host}.",
            next_step="Stop it first: kiro-auth stop",
        )
    )


def _write_down(folder: Path, config: Config, models: Sequence[ModelCard], complete: bool) -> None:
    """What OpenCode shows, and, for people who use Kiro, a first `kiro.json`."""
    from kiro_auth.config_file import write_template
    from kiro_auth.folders import config_folder
    from kiro_auth.opencode.models import FILE, Wish, write_models

    wish = Wish(rates=config.model_rates, projects=config.ledger and config.ledger_projects)
    write_models(folder / FILE, models, complete=complete, wish=wish)
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


def _greet(quiet: bool, announced: bool) -> Callable[[Address, Sequence[str]], None]:
    """Says to a person where it listens."""
    key = "kiro-auth key show prints the key" if announced else "the key is the one you gave"

    def greet(address: Address, others: Sequence[str]) -> None:
        _say(quiet, f"Listening at {', '.join((address.url, *others))}; {key}. Stop with Ctrl-C.")
        if sys.stdout.isatty():
            from kiro_auth.gateway.turn_lines import LEGEND

            _say(quiet, LEGEND)

    return greet


def _tell_run(announced: bool) -> Callable[[Address, Sequence[str]], None]:
    """Says to `kiro-auth run` that it serves, and whether other programs find it as well."""
    return lambda *_: print_json_line({"announced": announced})


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        say(text)


def _run(main: Coroutine[Any, Any, None], quiet: bool) -> None:
    gc.disable()  # until all of the gateway is imported
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
