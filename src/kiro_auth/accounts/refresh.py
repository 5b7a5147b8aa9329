"""Fresh tokens: renewed ahead of their end, once, however many requests and processes ask.

In a process one task renews an account and all wait for it.  Between processes a lease is taken, the store is
loaded again, and the service is asked only if that is still needed.  The new pair is saved before it is used,
because the old refresh token is spent by then.  Until it is saved the store keeps it ahead, where a kill does
not reach it; one that cannot be saved is tried again, in a while and when the program ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account, read_again
from kiro_auth.accounts.log import note_renewal, note_state
from kiro_auth.accounts.roster import readable
from kiro_auth.config import Config
from kiro_auth.failures import Failure, KiroAuthError, StoreFailed, TurnFailed
from kiro_auth.json_values import as_number
from kiro_auth.kinds import KINDS
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.store.protocol import Record, Renewed, Store, StoreBusy

log = logging.getLogger("kiro_auth.refresh")

Refresh = Callable[[Account], Awaitable[TokenGrant]]
"""Ask the sign-in service for new tokens of an account.  Raises TurnFailed."""

_WAIT_SECONDS: Final = 60.0
"""The longest wait for another process that renews the same account, without a token that is good still."""
_GOOD_SECONDS: Final = 10.0
"""How long a token has to be good still, for nobody to wait for the one that another process gets."""
_LEASE_SECONDS: Final = 120.0
"""Longer than a renewal lasts that asks the sign-in service twice, each time as long as it may take."""
_END_SECONDS: Final = 30.0
"""The longest wait for the sign-in service when the program ends."""
_NO_ACCESS: Final = Failure(
    code="KA-SERVICE",
    message="The sign-in service gave no access token that can be used; its refresh token is kept.",
    next_step="Repeat the request; check that no proxy changes answers.",
)
_ENDS: Final = Failure(
    code="KA-STORE",
    message="The program ends while another one renews the account.",
    next_step="Repeat the request.",
)


class Refresher:
    """Keeps the tokens of one store fresh."""

    def __init__(
        self, store: Store, config: Config, refresh: Refresh, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._config = config
        self._refresh = refresh
        self._clock = clock
        self._running: dict[tuple[str, str | None], asyncio.Task[Account]] = {}
        self._ahead = store.ahead
        self._unsaved: dict[str, _Unsaved] = {}
        self._waiting: set[asyncio.Timeout] = set()  # for a lease
        self._closing = False

    def is_fresh(self, account: Account, *, refused: str | None = None) -> bool:
        """Whether `fresh` has nothing to do, and gives the account as it is."""
        return account.id not in self._unsaved and not self._is_due(account, refused)

    async def fresh(self, account: Account, *, refused: str | None = None) -> Account:
        """The account with a token to use.

        `refused` is a token that the service no longer takes, whatever its expiry says.  Raises TurnFailed:
        KA-SIGNIN when a new sign-in is needed, something passing when the sign-in service is in trouble;
        StoreFailed when the store or the lease of the account is not to be had.
        """
        unsaved = self._unsaved.get(account.id)
        if unsaved is not None:
            account = _put_into(account, unsaved.renewed)
        if unsaved is None and not self._is_due(account, refused):
            return account
        # A refused token needs a new one even if the stored one looks valid, so it is a task of its own.
        key = account.id, refused
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._renew(account, refused))
            task.add_done_callback(partial(self._ended, key))
        try:
            # A client that leaves must not end what others wait for.
            return await asyncio.shield(task)
        except StoreFailed as error:
            if not self._is_good_still(account, refused):
                raise
            level = logging.DEBUG if isinstance(error, StoreBusy) else logging.WARNING
            log.log(level, "%s keeps its old token: %s", account.name, error.failure.heading)
            return account

    def _ended(self, key: tuple[str, str | None], task: asyncio.Task[Account]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # taken here, as every request that waited for it may have left

    async def close(self) -> None:
        """Let the renewals under way end: what the service has given is worth nothing until it is saved.

        Those that wait for another process give up.
        """
        self._closing = True
        for limit in self._waiting:
            limit.reschedule(asyncio.get_running_loop().time())
        if self._running:
            await asyncio.wait(self._running.values(), timeout=_END_SECONDS)
        await self.save()
        for unsaved in self._unsaved.values():
            log.error("the new token of %s could not be saved", unsaved.account.name)

    def unsaved(self) -> Failure | None:
        """That the tokens of some accounts could not be saved yet; None when there are none."""
        if not self._unsaved:
            return None
        names = ", ".join(unsaved.account.name for unsaved in self._unsaved.values())
        keyring = next((u.why for u in self._unsaved.values() if u.why and u.why.code == "KA-KEYRING"), None)
        if keyring is not None:
            message = f"The new token of {names} cannot be put into the keyring, and is in a file till then."
            return replace(keyring, message=f"{message} {keyring.message}")
        return Failure(
            code="KA-STORE",
            message=f"The new token of {names} cannot be saved, and is lost if the machine fails now.",
            next_step="Make room on the disk, or the files writable; kiro-auth doctor says more.",
        )

    async def save(self) -> None:
        """Try once more to save the tokens that are not in the store yet."""
        for unsaved in list(self._unsaved.values()):
            await self._save(unsaved.account)

    async def recover(self) -> None:
        """Save what processes left that were killed while they renewed, and remove what else is left of them.

        Raises StoreFailed.
        """
        await self._store.clear_leftovers()
        found = await self._store.load()
        ids = [*(str(record.get("id")) for record in found.accounts), *found.unreadable]
        pending = await self._ahead.pending(ids)
        for account in readable(found.accounts)[0]:
            if account.id in pending:
                await self._save(account)

    async def _save(self, account: Account) -> None:
        try:
            async with self._store.lease(f"refresh-{account.id}", _LEASE_SECONDS):
                await self._settled(await self._stored(account))
        except KiroAuthError as error:  # who holds the lease saves it as well
            log.info("the new token of %s is not saved yet: %s", account.name, error.failure.code)

    def _is_due(self, account: Account, refused: str | None) -> bool:
        if KINDS[account.kind].renewed_by is None:
            return False
        if not account.access_token or account.access_token == refused:
            return True
        return account.expires_at / 1000 - self._config.token_expiry_buffer_ms / 1000 <= self._clock()

    async def _renew(self, wanted: Account, refused: str | None) -> Account:
        needed = not self._is_good_still(wanted, refused, _GOOD_SECONDS)
        async with self._leased(wanted.id, _WAIT_SECONDS if needed else 0.0):
            account = await self._settled(await self._stored(wanted))
            if not self._is_due(account, refused):
                return account  # another was faster
            if not await self._is_prepared(account) and self._is_good_still(account, refused):
                return account
            try:
                grant = await self._refresh(account)
            except BaseException as error:
                if account.id not in self._unsaved:
                    self._ahead.forget(account.id)
                if not isinstance(error, TurnFailed):
                    raise
                return await self._without_grant(account, refused, error)
            self._keep(account, grant)
            account = await self._settled(account)
            if not grant.access_token:
                raise TurnFailed(_NO_ACCESS)
            note_renewal(account)
            return account

    async def _is_prepared(self, account: Account) -> bool:
        """Whether new tokens will have a place; else they are asked for only if there is no other way."""
        try:
            await self._ahead.prepare(account.id)
        except StoreFailed as error:
            log.warning("a new token of %s could not be kept: %s", account.name, error)
            return False
        return True

    def _keep(self, account: Account, grant: TokenGrant) -> None:
        """Write the tokens down at once, before anything else is done."""
        earlier = self._unsaved.get(account.id)
        spent = earlier.renewed.spent if earlier else account.refresh_token
        renewed = Renewed(account.id, spent, self._pair(account, grant))
        self._unsaved[account.id] = _Unsaved(account, renewed)
        try:
            self._ahead.keep(renewed)
        except StoreFailed as error:
            log.warning("the new token of %s is in memory only: %s", account.name, error)

    @contextlib.asynccontextmanager
    async def _leased(self, account_id: str, wait: float) -> AsyncIterator[None]:
        """Exclude other tasks and processes; once the program ends, none is waited for."""
        wait = 0.0 if self._closing else wait
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(None) as limit:
                    self._waiting.add(limit)
                    lease = self._store.lease(f"refresh-{account_id}", _LEASE_SECONDS, wait=wait)
                    await stack.enter_async_context(lease)
            except TimeoutError:
                raise StoreBusy(_ENDS) from None
            finally:
                self._waiting.discard(limit)
            yield

    async def _stored(self, account: Account) -> Account:
        found = await self._store.load()
        if account.id in found.unreadable:
            raise StoreFailed(found.unreadable[account.id])
        record = found.record(account.id)
        if record is None:
            raise _removed()
        return read_again(account, record)

    async def _without_grant(self, account: Account, refused: str | None, error: TurnFailed) -> Account:
        failure = error.failure
        if failure.code == "KA-SIGNIN":
            next_step = health.next_step(account, failure.code)
            ended = msgspec.structs.replace(failure, next_step=next_step, account=account.name)
            await self._mark_ended(account, ended)
            raise TurnFailed(ended) from error
        if self._is_good_still(account, refused):
            log.warning("%s keeps its old token: %s", account.name, failure.heading)
            return account
        raise error

    def _is_good_still(self, account: Account, refused: str | None, seconds: float = 0.0) -> bool:
        lives = account.expires_at / 1000 > self._clock() + seconds
        return bool(account.access_token) and lives and account.access_token != refused

    async def _mark_ended(self, account: Account, failure: Failure) -> None:
        unsaved = self._unsaved.get(account.id)
        stored_token = unsaved.renewed.spent if unsaved else account.refresh_token
        try:
            fields = health.after(await self._stored(account), failure, self._clock())
            # After a new sign-in meanwhile the account has other tokens, and is not ended.
            unchanged = {"refreshToken": stored_token}
            stored = await self._store.change(account.id, fields or {}, if_unchanged=unchanged)
            note_state(account, fields or {}, stored)
        except StoreFailed as error:
            log.warning("the state of %s could not be saved: %s", account.name, error)

    def _pair(self, account: Account, grant: TokenGrant) -> Record:
        """The fields of an account that a renewal changes."""
        fields: dict[str, Any] = {
            "accessToken": grant.access_token,
            "refreshToken": grant.refresh_token or account.refresh_token,
            "expiresAt": round((self._clock() + grant.expires_in) * 1000) if grant.access_token else 0,
            "generation": account.generation + 1,
        }
        if grant.profile_arn:
            fields["profileArn"] = grant.profile_arn
        return fields

    async def _settled(self, account: Account) -> Account:
        """The account with the tokens that are not in the store yet, saving them if that is possible now.

        The account's lease must be held: of two that save at once one could put back a spent pair.
        """
        unsaved = await self._newest(account.id)
        if unsaved is None:
            self._ahead.forget(account.id)
            return account
        # Another program may have tried the spent token meanwhile, and taken the sign-in for ended.
        ready = health.ready_after("renewed", account.state, self._clock()) or {}
        try:
            # A new sign-in may have come in between; its tokens are the better ones.
            record = await self._store.change(
                account.id, {**unsaved.fields, **ready}, if_unchanged={"refreshToken": unsaved.spent}
            )
        except StoreFailed as error:
            log.warning("the new token of %s is not saved yet: %s", account.name, error)
            self._unsaved[account.id] = _Unsaved(account, unsaved, error.failure)
            return _put_into(account, unsaved)
        self._unsaved.pop(account.id, None)
        self._ahead.forget(account.id)
        if record is None:
            raise _removed()
        return read_again(account, record)

    async def _newest(self, account_id: str) -> Renewed | None:
        """The newest tokens that are not in the store yet: this process's, or those of another that died."""
        unsaved, kept = self._unsaved.get(account_id), await self._ahead.kept(account_id)
        own = unsaved.renewed if unsaved else None
        found = [renewed for renewed in (own, kept) if renewed is not None]
        return max(found, key=lambda renewed: as_number(renewed.fields.get("generation")) or 0, default=None)


class _Unsaved(Struct, frozen=True):
    """What a renewal brought that is not in the store yet, and the account that it is for."""

    account: Account
    renewed: Renewed
    why: Failure | None = None
    """What hindered the last try to save it."""


def _put_into(account: Account, renewed: Renewed) -> Account:
    """The account with what a renewal brought.  Raises StoreFailed when that cannot be read."""
    return read_again(account, {**msgspec.to_builtins(account), **renewed.fields})


def _removed() -> TurnFailed:
    return TurnFailed(
        Failure(
            code="KA-NO-ACCOUNT",
            message="The account was removed.",
            next_step="See which there are: kiro-auth accounts",
        )
    )
