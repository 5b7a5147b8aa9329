"""What the end of a request means for its account, written down where all processes see it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.log import note_state
from kiro_auth.accounts.roster import readable
from kiro_auth.accounts.usage_row import usage_row
from kiro_auth.failures import Cause, Failure, KiroAuthError, StoreFailed
from kiro_auth.json_values import as_number
from kiro_auth.store.protocol import Record, Store

log = logging.getLogger("kiro_auth.verdicts")

_OF_TOKENS: Final = ("KA-TOKEN", "KA-SIGNIN")
_OF_PACE: Final = ("KA-THROTTLE", "KA-ACTIVITY")
_OF_PLAN: Final = ("KA-QUOTA", "KA-OVERAGE")
_READING: Final = 1.0
"""Seconds that the reading of an account's usage may hold up an answer."""

Fetch = Callable[[Account], Awaitable[Mapping[str, Any]]]
"""Ask the service for an account's usage.  Raises KiroAuthError."""


class Verdicts:
    """Judges accounts in one store.

    `keeps_active`: who serves is noted, for the time after this process.  `fetch` asks for an account's
    usage.
    """

    def __init__(
        self, store: Store, clock: Callable[[], float], *, keeps_active: bool, fetch: Fetch | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self.keeps_active = keeps_active
        self.fetch = fetch
        self._active: str | None = None
        self._writing: set[asyncio.Task[None]] = set()

    async def failed(self, account: Account, failure: Failure) -> None:
        """The account failed a request, in a way that may change what is thought of it."""
        record, current = self._stored(account)
        if current is None:
            return
        # Skip the verdict if the account has signed in since: it is about the old token.
        if failure.code in _OF_TOKENS and current.generation != account.generation:
            return
        reset = self._reset(account)
        if failure.code in _OF_PLAN and (reset is None or reset <= self._clock()):
            await self._read_usage(account)
            reset = self._reset(account)
        streak = _streak(record, current, account, failure)
        fields = health.after(current, failure, self._clock(), streak=streak, reset=reset)
        if fields is not None:
            await self._note(account, fields, was=record.get("state"))

    async def ended(self, account: Account, failure: Failure | None, *, chosen: bool = True) -> None:
        """The account answered, to the end or until this failure; what was thought of it before is over.

        `chosen`: it was this program's choice, and is the one that served last.
        """
        if failure is not None:
            # A token that ends within an answer is no verdict: the next request has it renewed.
            if failure.cause is Cause.ACCOUNT and failure.code != "KA-TOKEN":
                await self.failed(account, failure)
            return
        if chosen and self.keeps_active and account.id != self._active:
            self._active = account.id
            # Nobody waits for it: `close` does.
            self._begin(self._store.note_active(account.id), f"that {account.name} is in use")
        if fields := health.ready_after("answered", account.state, self._clock()):
            await self._note(account, fields, was=account.state)

    async def _read_usage(self, account: Account) -> None:
        """Ask when the plan begins anew.  What goes wrong there changes nothing: then it is not known."""
        if self.fetch is None:
            return
        try:
            async with asyncio.timeout(_READING):
                row = usage_row(await self.fetch(account), self._clock())
            await self._store.change_usage(account.id, row)
        except (KiroAuthError, TimeoutError) as error:
            log.info("when the plan of %s begins anew is not known: %s", account.name, type(error).__name__)

    def _reset(self, account: Account) -> float | None:
        """When the account's plan begins anew, epoch seconds, as Kiro last said."""
        reset = as_number(self._usage().get(account.id, {}).get("resetAt"))
        return None if reset is None else reset / 1000

    def _usage(self) -> Mapping[str, Mapping[str, Any]]:
        """The usage rows, by account id; none when they cannot be read."""
        snapshot = self._store.snapshot()
        if snapshot.usage_failure is not None:
            log.warning("usage is not known: %s", snapshot.usage_failure.sentence())
        return snapshot.usage

    async def close(self) -> None:
        """Let the changes under way end."""
        await asyncio.gather(*self._writing)

    def _stored(self, account: Account) -> tuple[Record, Account | None]:
        """The account as it stands by now; None when it is gone, or cannot be read."""
        record = self._store.snapshot().record(account.id)
        if record is None:
            return {}, None
        accounts, _ = readable([record])
        return record, accounts[0] if accounts else None

    async def _note(self, account: Account, fields: Mapping[str, object], *, was: str | None) -> None:
        """Store what is thought of an account, unless it has another state meanwhile."""

        async def change() -> None:
            stored = await self._store.change(account.id, fields, if_unchanged={"state": was})
            note_state(account, fields, stored)

        await self._write(change(), f"the state of {account.name}")

    async def _write(self, change: Coroutine[Any, Any, object], what: str) -> None:
        """Change the store; a client that leaves meanwhile cancels the waiting, never the change."""
        await asyncio.shield(self._begin(change, what))

    def _begin(self, change: Coroutine[Any, Any, object], what: str) -> asyncio.Task[None]:
        async def write() -> None:
            try:
                await change
            except StoreFailed as error:
                log.warning("%s could not be saved: %s", what, error)

        task = asyncio.create_task(write())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task


def _streak(record: Record, current: Account, account: Account, failure: Failure) -> int:
    """How many failures of pace of its kind the account had in a row before this one.

    Requests that were under way together fail together, which counts once: `account` is as it was when the
    request took it, `current` as it is by now.
    """
    count = as_number(record.get(health.IN_A_ROW))
    if failure.code not in _OF_PACE or current.state_code != failure.code or not count:
        return 0
    return max(0, int(count) - (account.state_until != current.state_until))
