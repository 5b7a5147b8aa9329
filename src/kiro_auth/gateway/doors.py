"""Where a gateway listens, and what is refused because it would not be safe."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.addresses import is_loopback
from kiro_auth.events import noted
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.gateway.discovery import Seat
from kiro_auth.gateway.kept_address import Taken, listen_there
from kiro_auth.gateway.sockets import HERE, OF_NETWORKS, handed_down, listen

if TYPE_CHECKING:
    from kiro_auth.gateway.certificate import Certificate

log = logging.getLogger("kiro_auth.gateway")

TLS_PORT: Final = 8443
"""Where TLS is served if no port is named."""
MIN_PUBLIC_KEY: Final = 24
"""Characters of a key that may guard an address other machines can reach."""


class Settings(Struct, frozen=True, kw_only=True):
    """How to serve.  `idle_minutes` 0 never ends by itself.

    `hosts` are the addresses to listen at, all at one `port`, 0 for any free one; the first is announced.
    Without a port the user's one gateway takes the kept one.  `listeners` are the descriptors of sockets that
    listen already, handed down by another program of ours, to be served too.  `key` is one that a person
    chose, or nothing; the user's one gateway takes the kept one beside it.  One that `stays` was told to
    programs that cannot start it.  `options` is announced beside the address.  `allow_public` is the
    operator's word that others may reach the hosts, over plain HTTP.  With a `certificate` the hosts speak
    TLS, and programs of this machine have the kept address beside.  `unix` is the path of a Unix socket that
    is served as well.  `allow_host` are further names for this
    machine, `allow_origin` the origins that are let in.
    """

    hosts: Sequence[str]
    port: int | None
    key: str
    options: str
    listeners: Sequence[int] = ()
    idle_minutes: float = 0
    stays: bool = False
    allow_public: bool = False
    certificate: Certificate | None = None
    unix: Path | None = None
    allow_host: Sequence[str] = ()
    allow_origin: Sequence[str] = ()

    @property
    def idle_seconds(self) -> float:
        """After how many seconds without a request it ends; 0 never."""
        return 0 if self.stays else self.idle_minutes * 60

    @property
    def is_public(self) -> bool:
        """Whether other machines may reach it."""
        return not all(map(is_loopback, self.hosts))


def _check(settings: Settings) -> None:
    """Refuse what is not safe: plain HTTP for others, a key that can be guessed.  Raises ConfigFailed."""
    if not settings.is_public:
        return
    if not settings.allow_public and settings.certificate is None:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"Other machines could reach {settings.hosts[0]}, and requests would travel "
                "unencrypted.",
                next_step="Use --host 127.0.0.1, or give --tls-cert and --tls-key, or, behind a proxy that "
                "speaks TLS, --allow-public.",
            )
        )
    if 0 < len(settings.key) < MIN_PUBLIC_KEY:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"KIRO_GATEWAY_KEY has fewer than {MIN_PUBLIC_KEY} characters, too few to be public.",
                next_step="Choose a longer random key.",
            )
        )


class Doors(Struct, frozen=True):
    """The sockets that a gateway opened itself, at `host` for a start, and those handed down to it.

    `outer` are those under TLS, and the Unix socket, at the path `unix`.  All take the `key`.
    """

    own: Sequence[socket.socket]
    handed: Sequence[socket.socket]
    key: str
    host: str
    outer: Sequence[socket.socket] = ()
    unix: Path | None = None
    problems: Sequence[Failure] = ()

    @property
    def outer_places(self) -> Sequence[str]:
        """Where others reach it, as addresses."""
        return [_place_of(sock) for sock in self.outer]

    def remove_unix(self) -> None:
        """Leave no file of the Unix socket behind."""
        if self.unix is not None:
            self.unix.unlink(missing_ok=True)


def open_doors(settings: Settings, seat: Seat | None) -> Doors:
    """Listen, where that is safe: the user's one gateway at its kept address, in any case.

    Raises ConfigFailed, StoreFailed.
    """
    _check(settings)
    with contextlib.ExitStack() as opened:
        hosts, port, outer = settings.hosts, settings.port, []
        # A gateway that serves one program alone leaves the port for TLS to the one that others are told of.
        if settings.certificate is not None and (seat is not None or not settings.listeners):
            outer += listen(hosts, TLS_PORT if port is None else port)
            hosts, port = HERE, None
        if settings.unix is not None:
            from kiro_auth.gateway.unix_socket import listen_unix

            outer.append(listen_unix(settings.unix))
        for sock in outer:
            opened.enter_context(sock)
        handed = handed_down(settings.listeners, hosts)
        doors = _inner_doors(hosts, port, settings, handed, seat)
        opened.pop_all()
        return replace(doors, outer=outer, unix=settings.unix)


def _inner_doors(
    hosts: Sequence[str],
    port: int | None,
    settings: Settings,
    handed: Sequence[socket.socket],
    seat: Seat | None,
) -> Doors:
    if seat is None:
        return Doors([] if handed else listen(hosts, port or 0), handed, settings.key, hosts[0])
    taken = listen_there(seat.folder, hosts, port)
    return Doors(taken.sockets, handed, taken.kept.key, hosts[0], problems=_problems(taken))


def _place_of(sock: socket.socket) -> str:
    if sock.family not in OF_NETWORKS:
        return str(sock.getsockname())
    host, port = sock.getsockname()[:2]
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


def _problems(taken: Taken) -> list[Failure]:
    """That the address is another: the log has it, and if because of a stranger, windows show it too."""
    if taken.news is None:
        return []
    log.warning("%s", taken.news.sentence(), extra=noted("address", failure=taken.news.code))
    return [taken.news] if taken.news.code == "KA-STRANGER" else []
