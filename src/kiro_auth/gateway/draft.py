"""The request of one attempt: its body for whichever endpoint is asked, and what a refusal of it means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from msgspec.structs import replace

from kiro_auth.accounts.account import Account
from kiro_auth.conversation import Conversation
from kiro_auth.failures import Failure
from kiro_auth.kiro.models import Choice
from kiro_auth.kiro.request import payload
from kiro_auth.kiro.request.payload import Payload, Place
from kiro_auth.kiro.request.replays import REPLAYS, Part

_FIELDS_REFUSED: Final = "KA-FIELDS"
_NOTHING: Final[frozenset[Part]] = frozenset()
_FIELDS: Final[frozenset[Part]] = frozenset({"fields"})
_REFUSALS: Final = 1000
"""How many are remembered; one that is forgotten costs a call that is refused."""


class FieldRefusals:
    """Which accounts take no extra settings for which model, as their last refusals said since the start."""

    def __init__(self) -> None:
        self._refused: dict[tuple[str, str], None] = {}  # oldest first

    def note(self, account: Account, choice: Choice) -> None:
        """The account's request with extra settings for the model was refused."""
        self._refused[account.id, choice.model.id] = None
        if len(self._refused) > _REFUSALS:  # a model may be named by a client's own words
            del self._refused[next(iter(self._refused))]

    def without(self, account: Account, choice: Choice) -> frozenset[Part]:
        """What requests of the account for the model go without."""
        return _FIELDS if (account.id, choice.model.id) in self._refused else _NOTHING


class Draft:
    """See the module.  `earlier` are the failures of the request's attempts so far."""

    def __init__(
        self,
        conversation: Conversation,
        account: Account,
        choice: Choice,
        refusals: FieldRefusals,
        earlier: Iterable[Failure],
    ) -> None:
        self._model, self._tools = conversation.model, len(conversation.tools)
        self._account = account
        self._choice = choice
        self._refusals = refusals
        name = account.name
        self._refused = {f.code: f for f in earlier if f.account == name and f.replay is not None}
        self._sent: Payload | None = None
        self._size = 0  # of its body, in bytes
        without = refusals.without(account, choice)
        self._build = payload.builder(
            conversation,
            model=choice.model,
            profile_arn=account.profile_arn,
            thinking=conversation.thinking or choice.thinking,
            without=without | _parts(self._refused) if self._refused else without,
        )

    def build(self, place: Place) -> Payload:
        """The body for this place.  Raises TurnFailed."""
        sent = self._build(place)
        # Without the body: an answer goes on for minutes, and a long history takes megabytes.
        self._sent, self._size = replace(sent, body=b""), len(sent.body)
        return sent

    async def judged(self, failure: Failure, is_listed: Callable[[Account], Awaitable[bool]]) -> Failure:
        """The failure with what is known of the request in its words, and whether to replay it.

        `is_listed` says whether the account's list has the model that was asked for.
        """
        if failure.code not in REPLAYS or self._sent is None:
            return failure
        listed = failure.code == "KA-MODEL" and await is_listed(self._account)
        return self._judgement(failure, self._sent, listed=listed)

    def _judgement(self, failure: Failure, sent: Payload, *, listed: bool) -> Failure:
        if failure.code == _FIELDS_REFUSED and "fields" in sent.held:
            self._refusals.note(self._account, self._choice)
        replay = self._replay(failure, sent, listed=listed)
        return replace(failure, replay=replay, **self._words(failure, listed=listed))

    def _replay(self, failure: Failure, sent: Payload, *, listed: bool) -> float | None:
        """After how many seconds the request, mended, is worth sending once more, or was so in vain."""
        if failure.code in self._refused:
            return self._refused[failure.code].replay
        replay = REPLAYS[failure.code]
        in_vain = replay.without not in (None, *sent.held) or (failure.code == "KA-MODEL" and not listed)
        return None if in_vain else replay.seconds

    def _words(self, failure: Failure, *, listed: bool) -> dict[str, str]:
        """What is known of the request, for those who read the failure."""
        if failure.code == "KA-TOOLS":
            size = f"{self._tools} tools in {self._size:,} bytes"
            return {"message": f"{failure.message} The request had {size}."}
        if listed:
            return {
                "message": f"Kiro refuses the model {self._model!r}, although it lists it for "
                "the account: this comes and goes.",
                "next_step": "Repeat the request after a while, or choose another model.",
            }
        return {}


def _parts(codes: Iterable[str]) -> frozenset[Part]:
    """What is left out after these refusals."""
    parts = [REPLAYS[code].without for code in codes]
    return frozenset([part for part in parts if part is not None])
