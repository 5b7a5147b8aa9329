"""Ask Kiro whether an account works, and write the verdict down: for a command and for the dashboard."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.health import enabling, ready_after
from kiro_auth.accounts.usage_row import used_up
from kiro_auth.accounts.view import named
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.gateway.parts import Parts
from kiro_auth.login.api_key import of_key


class Verdict(Struct, frozen=True):
    """What came of it.

    `account` is as it stands by now.  `works` is None where Kiro takes no more questions for now, which says
    nothing about the account's requests.  `failure` says why it does not work, or cannot be asked.
    """

    account: Account
    works: bool | None
    failure: Failure | None = None

    def sentence(self, now: float) -> str:
        """The verdict for a person at this machine; `now` is epoch seconds."""
        name = self.account.name
        if self.failure is not None:
            words = self.failure.spoken(now)
            if self.works is None:
                return f"{name} could not be asked now, and stays as it was: {words}"
            return f"{name}: {words}"
        if self.account.state == "disabled":
            return f"{name} works and stays disabled. To use it again: {enabling(self.account)}"
        return f"{name} works and is in use."


async def verify(service: Parts, account: Account) -> Verdict:
    """The verdict on one account, which is written down.  Raises StoreFailed."""
    failure = await _failure(service, account)
    unanswered = failure is not None and failure.code == "KA-THROTTLE"
    if failure is not None and not unanswered:
        await service.pool.verdicts.ended(account, failure)
    current = next((a for a in service.pool.accounts() if a.id == account.id), account)
    if failure is None:
        return Verdict(current, works=True)
    told = named(failure if unanswered else of_key(failure, account), account)
    return Verdict(current, works=None if unanswered else False, failure=told)


async def _failure(service: Parts, account: Account) -> Failure | None:
    """Why the account does not work; None when it does, which is then written down."""
    try:
        await service.read_usage(account)
        row = service.store.snapshot().usage_rows().get(account.id, {})
        if account.state == "quota" and (failure := used_up(row)):
            return replace(failure, account=account.name)
        # As it stands by now: somebody may have switched it off meanwhile.
        record = service.store.snapshot().record(account.id) or {}
        state = record.get("state")
        if fields := ready_after("verified", state, service.clock.now()):
            await service.store.change(account.id, fields, if_unchanged={"state": state})
    except KiroAuthError as error:
        return error.failure
    return None
