"""The calls to the service that one attempt makes, and what their refusals mean."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.attempts import Attempt
from kiro_auth.conversation import Conversation
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.gateway.allowed_models import check_model
from kiro_auth.gateway.catalog import Wanted
from kiro_auth.gateway.credentials import credentials_of
from kiro_auth.gateway.draft import Draft, FieldRefusals
from kiro_auth.keys.key import ClientKey
from kiro_auth.kiro.edge.chat import ChatReply
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.kiro.models import Model
from kiro_auth.off_loop import Run


class Asking:
    """See the module.  Each call is open as long as the block lasts; a failure that ends it is judged.

    `run` is how the work on their bodies is done; `key` the client key of who asks.
    """

    __slots__ = ("_attempt", "_calls", "_client", "_draft", "_key", "_refusals", "_run", "_wanted")

    def __init__(
        self,
        client: KiroClient,
        wanted: Wanted,
        refusals: FieldRefusals,
        attempt: Attempt,
        run: Run,
        key: ClientKey | None = None,
    ) -> None:
        self._client = client
        self._wanted = wanted
        self._refusals = refusals
        self._attempt = attempt
        self._run = run
        self._key = key
        self._calls: list[ChatReply] = []
        self._draft: Draft | None = None  # of a call that nothing was judged of

    async def ask(self, conversation: Conversation, account: Account) -> tuple[Model, ChatReply]:
        """One more call, with the model that it is for.  Raises TurnFailed."""
        choice = self._wanted.known_choice(account) or await self._wanted.choice(account)
        check_model(self._key, choice.model)
        draft = Draft(conversation, account, choice, self._refusals, self._attempt.earlier)
        self._draft = draft
        call = await self._client.chat(credentials_of(account), draft.build, self._run)
        self._calls.append(call)
        return choice.model, call

    def forget(self) -> None:
        """The answer needs no other call: what would be sent is kept no longer."""
        self._draft = None

    async def judged(self, failure: Failure) -> Failure:
        """The failure of the last call, with what is known of its request: see `Draft.judged`.

        A call is judged once: what follows from that comes back as it is.
        """
        draft, self._draft = self._draft, None
        return failure if draft is None else await draft.judged(failure, self._wanted.is_listed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._calls:
            self._calls.pop().close()
        if isinstance(error, TurnFailed):
            raise TurnFailed(await self.judged(error.failure)) from error
