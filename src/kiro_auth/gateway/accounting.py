"""What one gateway keeps of the credits of turns: the ledger, and in memory the books that budgets go by."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from kiro_auth.config import Config
from kiro_auth.events import Listener, TurnEnded, noted
from kiro_auth.failures import Failure, StoreFailed, TurnFailed
from kiro_auth.gateway.notices import Notices
from kiro_auth.gateway.project import project_in
from kiro_auth.gateway.turn import Turn
from kiro_auth.ledger.books import Books, Matter
from kiro_auth.ledger.budgets import Budgets
from kiro_auth.ledger.row import shown
from kiro_auth.ledger.writer import File, Ledger

log = logging.getLogger("kiro_auth.accounting")


class Accounting:
    """Lets turns begin, and hears of their ends: see `listeners`.

    `file` is the ledger's, None for a gateway that keeps none.  Books are kept only where budgets or a toast
    for each turn ask for them; they begin with what the ledger has, before the first turn.  By `clock` it is
    known which day it is on this machine.
    """

    def __init__(
        self, config: Config, file: Path | None, notices: Notices, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._file = file if config.ledger else None
        self._config = config
        self._notices = notices
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._books = Books()
        self._budgets = Budgets(config.budgets, self._books, clock=clock, on_near=self._on_budget_near)
        self._keeps_books = bool(config.budgets) or config.toast_credits
        self._reading: asyncio.Task[None] | None = None
        self._ledger = self._ledger_at(self._file) if self._file else None

    def on_options_changed(self) -> None:
        """Hold turns against the budgets that count now; the first of them need books from the start on."""
        self._budgets.limits = self._config.budgets

    @property
    def counts(self) -> bool:
        """Whether it is known what was spent."""
        return self._keeps_books

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Those who are to hear of every turn."""
        books: tuple[Listener, ...] = (self,) if self._keeps_books else ()
        return (*books, self._ledger) if self._ledger else books

    def project_in(self, headers: Mapping[str, str]) -> str | None:
        """What a client calls the folder that it works in; None where that is not to be kept."""
        return project_in(headers) if self._config.ledger_projects else None

    async def admit(self, turn: Turn) -> None:
        """Raise TurnFailed (KA-BUDGET) when a budget for this turn is used up."""
        if not self._keeps_books:
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_books())
        await asyncio.shield(self._reading)
        refusal = self._budgets.refusal(
            _matter(turn.caller.id, turn.project, turn.asked.session if turn.asked else None)
        )
        if refusal is not None:
            raise TurnFailed(refusal)

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Count what it used; say so where that is wanted."""
        metered = turn.usage.credits if turn.usage else None
        if metered is None:
            return
        matter = _matter(turn.caller.id, turn.project, turn.asked.session if turn.asked else None)
        self._budgets.add(matter, metered)
        if self._config.toast_credits:
            of_session = self._books.spent("session", matter, self._clock())
            self._notices.on_credits_used(turn.request_id, metered, of_session)

    def _on_budget_near(self, message: str) -> None:
        log.warning("people are told: %s", message, extra=noted("budgets", state="near"))
        self._notices.on_budget_near(message)

    async def close(self) -> None:
        """Write down what is in memory only."""
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._ledger is not None:
            await asyncio.to_thread(self._ledger.close)

    async def _read_books(self) -> None:
        if self._file is None:
            return
        try:
            await asyncio.to_thread(self._books.read, self._file, self._clock())
        except StoreFailed as error:
            log.warning("budgets begin at nothing: %s", error, extra=noted("budgets", state="unread"))
            self._notices.problem(error.failure)

    def _ledger_at(self, file: Path) -> Ledger:
        def open_file() -> File:
            from kiro_auth.ledger.sqlite import SqliteFile  # in the writer's thread, after the start

            return SqliteFile(file)

        return Ledger(open_file, on_trouble=self._tell)

    def _tell(self, failure: Failure) -> None:
        """Called in the writer's thread."""
        with contextlib.suppress(RuntimeError):  # the gateway has ended
            self._loop.call_soon_threadsafe(self._notices.problem, failure)


def _matter(caller: str, project: str | None, session: str | None) -> Matter:
    """By the names that the ledger has."""
    return Matter(session=shown(session), project=project, caller=caller)
