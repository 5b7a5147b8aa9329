"""What one gateway keeps of the credits of turns: in a ledger, and in sums that budgets go by."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from kiro_auth.config import Config
from kiro_auth.events import Listener, noted
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.gateway.notices import Notices
from kiro_auth.gateway.project import project_in
from kiro_auth.gateway.turn import Turn
from kiro_auth.ledger.budgets import Budgets
from kiro_auth.ledger.local import Counting, LocalRecorder
from kiro_auth.ledger.matter import matter
from kiro_auth.ledger.protocol import Change, Charged, Ledger, Recorder

log = logging.getLogger("kiro_auth.accounting")


class Accounting:
    """Lets turns begin, and hears of their ends: see `listeners`.

    Without a `ledger`, or where none is wanted, budgets count from now on.  Turns are counted only where
    budgets or a toast for each turn ask for it.  By `clock` it is known which day it is.
    """

    def __init__(
        self,
        config: Config,
        ledger: Ledger | None,
        notices: Notices,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._notices = notices
        self._loop = asyncio.get_running_loop()
        self._budgets = Budgets(config.budgets, clock=clock, on_near=self._on_budget_near)
        self._counts = counts = bool(config.budgets) or config.toast_credits
        self.recorder: Recorder
        if ledger is not None and config.ledger:
            self.recorder = ledger.recorder(
                counts=counts, on_counted=self._on_counted, on_trouble=self._on_trouble
            )
        else:
            self.recorder = LocalRecorder(Counting(clock, self._on_counted) if counts else None, None)

    def on_options_changed(self) -> None:
        """Hold turns against the budgets that count now; the first of them need books from the start on."""
        self._budgets.limits = self._config.budgets

    @property
    def counts(self) -> bool:
        """Whether it is known what was spent."""
        return self._counts

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Those who are to hear of every turn."""
        return self.recorder.listeners

    def project_in(self, headers: Mapping[str, str]) -> str | None:
        """What a client calls the folder that it works in; None where that is not to be kept."""
        return project_in(headers) if self._config.ledger_projects else None

    async def admit(self, turn: Turn) -> None:
        """Raise TurnFailed (KA-BUDGET) when a budget for this turn is used up; StoreFailed: nobody knows.

        There is nothing to ask where nothing `counts`.
        """
        asked = matter(turn.caller.id, turn.project, turn.asked.session if turn.asked else None)
        refusal = await self._budgets.refusal(asked, self.recorder)
        if refusal is not None:
            raise TurnFailed(refusal)

    async def close(self) -> None:
        """Write down what is in memory only."""
        await self.recorder.close()

    def _on_counted(self, charged: Sequence[Charged], changes: Sequence[Change]) -> None:
        self._budgets.on_counted(changes)
        for turn in charged if self._config.toast_credits else ():
            self._notices.on_credits_used(turn.request_id, turn.credits, turn.of_session)

    def _on_budget_near(self, message: str) -> None:
        log.warning("people are told: %s", message, extra=noted("budgets", state="near"))
        self._notices.on_budget_near(message)

    def _on_trouble(self, failure: Failure) -> None:
        """Called in any thread."""
        with contextlib.suppress(RuntimeError):  # the gateway has ended
            self._loop.call_soon_threadsafe(self._notices.problem, failure)
