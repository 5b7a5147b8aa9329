"""Options that become others while the gateway runs: all that are good, or none of them.

`kiro.json` is read anew, and held against the same rules as at the start; with a mistake anywhere nothing
changes.  No answer under way is cut: what it needs of the options it has by then, or reads as they are now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from kiro_auth.config import Config
from kiro_auth.events import noted
from kiro_auth.failures import Failure
from kiro_auth.gateway.accounting import Accounting
from kiro_auth.gateway.catalog import Catalog
from kiro_auth.gateway.fallback import rules_of
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Route
from kiro_auth.gateway.notices import Notices
from kiro_auth.gateway.options import RELOAD
from kiro_auth.gateway.parts import Parts
from kiro_auth.gateway.relay import Relay
from kiro_auth.options import OPTIONS

log = logging.getLogger("kiro_auth.gateway")

NEED_A_RESTART: Final = ("store", "ledger", "enable_log_api_request")
"""Options that say what a gateway opens when it begins; so do `endpoints`."""


class Reloaded(Struct, frozen=True):
    """Which options have other values now, and which would have them after a restart; by names.

    With `problems`, which say what is wrong, nothing has changed.
    """

    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    problems: tuple[Failure, ...] = ()


class Reloading:
    """Of one gateway, whose `config` all its parts read.

    The other arguments are the parts that keep something which follows from it.  `load` reads all sources;
    `on_reloaded` hears that something changed.
    """

    def __init__(
        self,
        load: Callable[[], Config],
        parts: Parts,
        relay: Relay,
        catalog: Catalog,
        accounting: Accounting,
        notices: Notices,
        on_reloaded: Callable[[], None],
    ) -> None:
        self._load = load
        self._config = parts.config
        self._parts = parts
        self._relay = relay
        self._catalog = catalog
        self._accounting = accounting
        self._notices = notices
        self._one_by_one = asyncio.Lock()
        self._on_reloaded = on_reloaded

    def routes(self) -> dict[str, Route]:
        """What is at which address."""
        return {
            f"POST {RELOAD}": Route(waiting=self._answer),
            f"GET {RELOAD}": Route(waiting=self._foretell),
        }

    async def reload(self) -> Reloaded:
        """Read the options anew and go by them; the log says what came of it."""
        async with self._one_by_one:
            other, found = await self._compared()
            for problem in found.problems:
                log.warning(
                    "the options stay: %s", problem.sentence(), extra=noted("reload", state="refused")
                )
            if found.problems:
                return found
            self._config.adopt(other, found.changed)
            self._on_changed()
        changed, later = found.changed, found.needs_restart
        log.info(
            "the options were reloaded; changed: %s; after a restart: %s",
            ", ".join(changed) or "none",
            ", ".join(later) or "none",
            extra=noted("reload", state="done", changed=list(changed), restart=list(later)),
        )
        return found

    async def _compared(self) -> tuple[Config, Reloaded]:
        """The options as they are now, and what a reload makes of them."""
        other = await asyncio.to_thread(self._load)
        if other.problems:
            return other, Reloaded(problems=other.problems)
        differing = tuple(_differing(self._config, other))
        later = tuple(name for name in differing if self._needs_restart(name, other))
        return other, Reloaded(tuple(name for name in differing if name not in later), later)

    def _needs_restart(self, name: str, other: Config) -> bool:
        """Whether a running gateway cannot take the other's value of this option.

        What was spent is counted from the start on or not at all, so the first budget needs one; and TLS is
        spoken from the start on or not at all.
        """
        first_budget = name == "budgets" and not self._accounting.counts
        tls = name in ("tls_cert", "tls_key") and None in (getattr(self._config, name), getattr(other, name))
        return first_budget or tls or name in NEED_A_RESTART or name.startswith("endpoints.")

    def _on_changed(self) -> None:
        config, relay = self._config, self._relay
        relay.patience = self._parts.client.timeout = config.request_timeout_ms / 1000
        relay.fallback, relay.thrift = rules_of(config.model_fallback), config.thrift
        relay.pauses.hours = config.wait_for_reset
        self._parts.pool.on_options_changed()
        self._catalog.take_aliases(config.model_aliases)
        self._accounting.on_options_changed()
        self._notices.level = config.toast_level
        self._on_reloaded()

    async def _answer(self, _: Request) -> Response:
        return _told(await self.reload())

    async def _foretell(self, _: Request) -> Response:
        return _told((await self._compared())[1])


def _told(reloaded: Reloaded) -> Response:
    if not reloaded.problems:
        named = {"changed": reloaded.changed, "needsRestart": reloaded.needs_restart}
        return Response(msgspec.json.encode(named))
    sentences = [problem.sentence() for problem in reloaded.problems]
    error = {"code": reloaded.problems[0].code, "message": " ".join(sentences)}
    return Response(msgspec.json.encode({"error": error, "problems": sentences}), 400)


def _differing(before: Config, after: Config) -> Iterator[str]:
    for option in OPTIONS:
        if getattr(before, option.name) != getattr(after, option.name):
            yield option.name
    for role in {**before.endpoints, **after.endpoints}:
        if before.endpoints.get(role) != after.endpoints.get(role):
            yield f"endpoints.{role}"
