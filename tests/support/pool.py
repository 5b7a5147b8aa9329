"""A pool whose accounts answer by a script, and whose time passes only by waiting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kiro_auth import config
from kiro_auth.accounts.account import Account, account_of
from kiro_auth.accounts.attempts import attempts
from kiro_auth.accounts.choice import Wish
from kiro_auth.accounts.pool import Pool
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro.tokens.grants import TokenGrant
from support.storing import HandStore

NOW = 1_800_000_000.0
LASTING = 10 * 86400


class Stage:
    """A pool over real files whose time passes only by waiting; `answers` says what each account does.

    `answers[account id]` is a list of failure codes, or failures, one for each call; None is a success, and
    so is everything after the end of the list.
    """

    def __init__(self, folder: Path, accounts: str = "a", **options: Any) -> None:
        self.store = HandStore(folder, folder / "locks")
        self.now = NOW
        self.answers: dict[str, list[str | Failure | None]] = {}
        self.odd: dict[str, Exception] = {}  # what a defect raises, by account
        self.calls: list[str] = []
        self.tokens: list[str | None] = []
        self.slept: list[float] = []
        self.refreshed: list[str] = []
        self.refresh_trouble: list[Failure] = []
        self.usage: list[Mapping[str, Any] | Exception] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.unsuited: set[str] = set()
        self.read: list[str] = []  # whose usage was asked for
        environment = {f"KIRO_{name.upper()}": str(value) for name, value in options.items()}
        self.config = config.load(environment=environment, folder=folder / "nowhere")
        self.pool = Pool(
            self.store,
            self.config,
            refresh=self.refresh,
            fetch=self.fetch,
            sleep=self.sleep,
            clock=lambda: self.now,
            monotonic=lambda: self.now,
            chance=lambda: 1.0,
        )
        for name in accounts:
            self.add(name)

    def add(self, name: str, **fields: Any) -> None:
        self.store.add_account(
            {
                "id": name,
                "label": f"Account {name}",
                "accessToken": f"{name}-0",
                "refreshToken": "r",
                "expiresAt": (NOW + LASTING) * 1000,
                **fields,
            }
        )

    async def refresh(self, account: Account) -> TokenGrant:
        self.refreshed.append(account.id)
        if self.refresh_trouble:
            raise TurnFailed(self.refresh_trouble.pop(0))
        return TokenGrant(f"{account.id}-{len(self.refreshed)}", "r", LASTING)

    async def fetch(self, account: Account) -> Mapping[str, Any]:
        """The next of `usage`; with nothing left, the usage call is throttled."""
        self.read.append(account.id)
        answer = self.usage.pop(0) if self.usage else TurnFailed(failure("KA-THROTTLE"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.meanwhile()

    async def turn(self, session: str | None = None, *, only: str | None = None) -> str:
        """One request; the id of the account that served it in the end."""
        wish = Wish(only=only, unsuited=frozenset(self.unsuited))
        for attempt in attempts(self.pool, session=session, wish=wish):
            async with attempt as account:
                self.calls.append(account.id)
                self.tokens.append(account.access_token)
                if account.id in self.odd:
                    raise self.odd[account.id]
                answers = self.answers.get(account.id, [])
                answer = answers.pop(0) if answers else None
                if answer is not None:
                    raise TurnFailed(failure(answer))
                attempt.commit()
                return account.id
        raise AssertionError("attempts end with an answer or an exception")

    async def failing_turn(self, *, only: str | None = None) -> Failure:
        with pytest.raises(TurnFailed) as raised:
            await self.turn(only=only)
        return raised.value.failure

    def account(self, name: str = "a") -> Account:
        return next(account_of(record) for record in self.store.accounts() if record["id"] == name)


def failure(what: str | Failure) -> Failure:
    return what if isinstance(what, Failure) else Failure(code=what, message=f"What {what} says.")
