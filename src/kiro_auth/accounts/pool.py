"""The accounts of one store as one pool, with so many slots each: who serves, and for how long one waits.

It joins the parts: `roster` is what there is, `choice` picks, `refresh` has tokens, `verdicts` keeps what is
thought of an account.  How a request goes through its attempts is in `attempts`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from msgspec.structs import replace

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.choice import AllBusy, Chosen, NoneReady, Wish, pick
from kiro_auth.accounts.refresh import Refresh, Refresher
from kiro_auth.accounts.retry import Policy, leaves_time
from kiro_auth.accounts.roster import Reader, Roster, Unreadable, unopened
from kiro_auth.accounts.standing import NO_ACCOUNT
from kiro_auth.accounts.strategies import STRATEGIES
from kiro_auth.accounts.verdicts import Fetch, Verdicts
from kiro_auth.accounts.waits import Waits
from kiro_auth.config import Config
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.store.protocol import Record, Snapshot, Store

log = logging.getLogger("kiro_auth.pool")

_WARNINGS: Final = 1000
"""Different ones, after which each may come once more."""
_TOGETHER: Final = 1.0
"""Seconds within which requests that waited for the same account go on."""
_PLACE: Final = "account:"
"""What the name of an account's places begins with; its id follows."""
_ALL_IN_USE: Final = Failure(
    code="KA-TIMEOUT",
    message="All accounts were busy with other requests.",
    next_step="Repeat the request, or raise max_concurrent_per_account.",
)

_REMOVED: Final = Failure(
    code="KA-ACCOUNT",
    message="The account that was asked for was removed meanwhile.",
    next_step="Your accounts: kiro-auth accounts",
)


async def _as_it_is(account: Account) -> Account:
    return account


class Pool:
    """See the module.

    `refresh` asks the sign-in service, `fetch` for what an account has used, when its plan turns out used up.
    `with_profile` has what a fresh account lacks besides a token, if it `lacks_profile`: see
    `login/assignment.py`.  Clocks and chance are arguments, for tests.
    """

    def __init__(
        self,
        store: Store,
        config: Config,
        *,
        refresh: Refresh,
        with_profile: Callable[[Account], Awaitable[Account]] = _as_it_is,
        lacks_profile: Callable[[Account], bool] = lambda _: False,
        fetch: Fetch | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.policy = Policy.of(config)
        self.verdicts = Verdicts(store, clock, keeps_active=False)
        self._fetch = fetch
        self.sleep, self.clock, self.monotonic, self.chance = sleep, clock, monotonic, chance
        self._store = store
        self._config = config
        self._refresher = Refresher(store, config, refresh, clock)
        self._with_profile, self._lacks_profile = with_profile, lacks_profile
        self._leases = 0
        self._last_used: dict[str, int] = {}
        self._in_flight: dict[str, int] = {}
        self._warned_of: set[str] = set()  # every request meets a damaged file again
        self._reader = Reader()
        self._read: tuple[tuple[Record, ...], tuple[Account, ...]] = (), ()
        self._damaged: list[Unreadable] = []
        self._unopened: Mapping[str, Failure] = {}
        self.on_options_changed()

    def on_options_changed(self) -> None:
        """Go by the options that count now."""
        self.policy = Policy.of(self._config)
        self.verdicts.keeps_active = self._config.account_selection_strategy == "sticky"
        self.verdicts.fetch = self._fetch if self._config.usage_tracking_enabled else None

    # ------------------------------------------------------------------------------ what there is

    def accounts(self) -> list[Account]:
        """Every stored account that can be read.  Raises StoreFailed."""
        return list(self._readable(self._store.snapshot()))

    def unreadable(self) -> list[Unreadable]:
        """Every stored account that cannot be read.  Raises StoreFailed."""
        snapshot = self._store.snapshot()
        self._readable(snapshot)
        return [*self._damaged, *unopened(snapshot)]

    def usable(self) -> list[Account]:
        """Every account that may take a request now.  Raises StoreFailed."""
        return self.roster().usable()

    def roster(self) -> Roster:
        """The accounts as they stand now.  Raises StoreFailed."""
        snapshot = self._store.snapshot()
        return Roster(
            accounts=self._readable(snapshot),
            usage=snapshot.usage,
            last_used=self._used_before(snapshot.active),
            in_flight=self._requests(),
            now=self.clock(),
            reserve=self._config.reserve / 100,
        )

    def _readable(self, snapshot: Snapshot) -> tuple[Account, ...]:
        """The accounts of a snapshot; they are read once for each state of the store."""
        if snapshot.usage_failure is not None:
            self._warn(snapshot.usage_failure)
        records, accounts = self._read
        if records is not snapshot.accounts:
            accounts, self._damaged = self._reader.read(snapshot.accounts)
            self._read = snapshot.accounts, accounts
            for each in self._damaged:
                self._warn(each.failure)
        if snapshot.unreadable != self._unopened:
            self._unopened = snapshot.unreadable
            for failure in self._unopened.values():
                self._warn(failure)
        return accounts

    def _warn(self, failure: Failure) -> None:
        if failure.message not in self._warned_of:
            if len(self._warned_of) >= _WARNINGS:
                self._warned_of.clear()
            self._warned_of.add(failure.message)
            log.warning("%s", failure.sentence())

    def _used_before(self, active: str | None) -> Mapping[str, int]:
        """When each was leased last; before the first lease, which one served last as far as that is kept."""
        return {active: 1} if active and not self._last_used else self._last_used.copy()

    # -------------------------------------------------------------------------------- fresh tokens

    def is_fresh(self, account: Account, *, refused: str | None = None) -> bool:
        """Whether `fresh` has nothing to do, and gives the account as it is."""
        return self._refresher.is_fresh(account, refused=refused) and not self._lacks_profile(account)

    async def fresh(self, account: Account, *, refused: str | None = None) -> Account:
        """The account as the service wants it: with its profile, if it needs one, and a token to use.

        The token is another one than the `refused`: see `Refresher.fresh`.  Raises TurnFailed, KA-PROFILE
        when it has no profile; StoreFailed.
        """
        return await self._with_profile(await self._refresher.fresh(account, refused=refused))

    async def recover(self) -> None:
        """See `Refresher.recover`."""
        await self._refresher.recover()

    async def save(self) -> Failure | None:
        """Try once more to save new tokens that are not in the store yet; what to tell if some are not."""
        await self._refresher.save()
        return self._refresher.unsaved()

    async def close(self) -> None:
        """Let the renewals and changes under way end, so that no new token is lost."""
        await asyncio.gather(self._refresher.close(), self.verdicts.close())

    # --------------------------------------------------------------------------------------- slots

    async def lease(self, wish: Wish, session: str | None, deadline: float, waits: Waits) -> Account | None:
        """Take a slot of the account that serves the wish, waiting for one until the deadline (monotonic).

        None when no account could take the request in time; raises TurnFailed when there is no account, or
        all were in use.
        """
        strategy = STRATEGIES[self._config.account_selection_strategy]
        limit = self._config.max_concurrent_per_account
        home = await self._store.homes.home(session)
        while True:
            roster = wish.within(self.roster())
            if not roster.accounts:
                raise TurnFailed(_REMOVED if wish.only or wish.allowed else NO_ACCOUNT)
            match pick(roster, wish if home is None else replace(wish, home=home), strategy, limit):
                case Chosen() as picked:
                    account = picked.account
                    if not await self._take(account, limit, chosen=wish.only is None):
                        continue  # other gateways use it up
                    if picked.settles:
                        self._store.homes.settle(session, account.id)
                    return account
                case AllBusy():
                    since = self.monotonic()
                    await self._slot_is_free(deadline, _busy(roster) if wish.only else _ALL_IN_USE)
                    waits.add("a free place of an account", self.monotonic() - since)
                case NoneReady(wait):
                    if not self.policy.throttle_retries or not leaves_time(wait, self.time_left(deadline)):
                        return None
                    # The random part keeps those that wait together from coming back together.
                    seconds = wait + self.chance() * _TOGETHER
                    waits.add("an account that Kiro asked to slow down", seconds)
                    await self.sleep(seconds)
            home = home or await self._store.homes.home(session)  # another of its requests may have settled

    def release(self, account: Account) -> None:
        """Give the slot back."""
        self._in_flight[account.id] -= 1
        self._store.places.release(_PLACE + account.id)

    def deadline(self) -> float:
        """When a request that begins now has to have its first output (monotonic)."""
        return self.monotonic() + self.policy.seconds

    def time_left(self, deadline: float) -> float:
        """Seconds until a deadline (monotonic)."""
        return max(0.0, deadline - self.monotonic())

    async def _take(self, account: Account, limit: int, *, chosen: bool) -> bool:
        """Whether a slot was free; it is counted before, so that the next request chooses with it.

        `chosen`: it was this program's choice, by which it knows whose turn is next.
        """
        if chosen:
            self._leases += 1
            self._last_used[account.id] = self._leases
        self._in_flight[account.id] = self._in_flight.get(account.id, 0) + 1
        is_taken = False
        try:
            is_taken = await self._store.places.take(_PLACE + account.id, limit)
        finally:
            if not is_taken:
                self._in_flight[account.id] -= 1
        return is_taken

    def _requests(self) -> dict[str, int]:
        """How many requests each account serves, by id; as many as it can, if other gateways use it up."""
        requests = self._in_flight.copy()
        for name in self._store.places.full:
            if name.startswith(_PLACE):
                requests[name.removeprefix(_PLACE)] = self._config.max_concurrent_per_account
        return requests

    async def _slot_is_free(self, deadline: float, failure: Failure) -> None:
        try:
            async with asyncio.timeout(self.time_left(deadline)):
                await self._store.places.freed()
        except TimeoutError:
            raise TurnFailed(failure) from None


def _busy(roster: Roster) -> Failure:
    (account,) = roster.accounts
    message = f"The account {account.name} was busy with other requests, and the request asked for no other."
    return replace(_ALL_IN_USE, message=message, account=account.name)
