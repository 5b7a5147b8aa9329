"""What the ledger keeps of a turn: names, figures and codes, without a word of it and without an e-mail."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from kiro_auth.events import Answered, End, Failed, Left, TurnEnded
from kiro_auth.reply_usage import Figure, InputParts, Source
from kiro_auth.texts import in_one_line, without_secrets

ANSWERED: Final = "answered"
LEFT: Final = "left"
STOPPED: Final = "stopped"
ENDINGS: Final = (ANSWERED, LEFT, STOPPED)
"""The outcomes that are no failure: complete; the client left; the gateway ended."""
_LONGEST: Final = 120
"""Characters of a text that is the client's own: a model's name, a session, a project."""


class Row(Struct, frozen=True, kw_only=True):
    """One turn.

    `when` it ended is epoch seconds.  `caller` is the id of the key's holder; `client` the product in the
    `User-Agent`; `session` and `project` as the client called them; `surface` the path of the API.
    `model_asked` is the client's name for the model, `model` the service's that answered, `account` the id
    and `account_name` the name, without a whole e-mail, of the account (of a failure of an account, its
    name).  `credits` are what the service metered; None: it did not say.  `input_source` and `output_source`
    say how the tokens are known.  `first_byte` and `seconds` are seconds.  `attempts` are the codes of the
    attempts that failed before the last one, `repairs` what was mended in the history.  `outcome` is one of
    ENDINGS, or the code of the failure.  `request_id` is the one in the answer and in the log.  `thrift_for`
    is the service's model that was asked for when a cheaper one answered, as `thrift` wants it; `input_parts`
    what the input consisted of.
    """

    when: float
    caller: str
    client: str | None
    session: str | None
    project: str | None
    surface: str
    kind: str | None
    model_asked: str | None
    model: str | None
    account: str | None
    account_name: str | None
    credits: float | None
    input_tokens: int | None
    input_source: Source | None
    output_tokens: int | None
    output_source: Source | None
    first_byte: float | None
    seconds: float
    attempts: tuple[str, ...]
    repairs: tuple[str, ...]
    outcome: str
    request_id: str
    thrift_for: str | None = None
    input_parts: InputParts | None = None

    @property
    def failed(self) -> bool:
        """Whether the turn ended with a failure."""
        return self.outcome not in ENDINGS


def row_of(turn: TurnEnded) -> Row:
    """The row of a turn."""
    asked, served, usage = turn.asked, turn.served, turn.usage
    sent: Figure | None = usage.input if usage else None
    received: Figure | None = usage.output if usage else None
    return Row(
        when=turn.when,
        caller=turn.caller.id,
        client=shown(turn.client),
        session=shown(asked.session) if asked else None,
        project=shown(turn.project),
        surface=turn.surface[:_LONGEST],
        kind=asked.kind if asked else None,
        model_asked=shown(asked.model) if asked else None,
        model=shown(served.model) if served else None,
        account=served.account if served else None,
        account_name=served.account_name if served else _failed_account(turn.end),
        credits=usage.credits if usage else None,
        input_tokens=sent.value if sent else None,
        input_source=sent.source if sent else None,
        output_tokens=received.value if received else None,
        output_source=received.source if received else None,
        first_byte=turn.first_byte,
        seconds=turn.seconds,
        attempts=tuple(failure.code for failure in turn.attempts),
        repairs=turn.repairs,
        outcome=_outcome(turn.end),
        request_id=turn.request_id,
        thrift_for=shown(served.thrift_for) if served else None,
        input_parts=turn.input_parts,
    )


def shown(text: str | None) -> str | None:
    """A text of the client, in one bounded line of characters that show, without secrets that are known.

    None where nothing is left.
    """
    return (without_secrets(in_one_line(text))[:_LONGEST].strip() or None) if text else None


def _outcome(end: End) -> str:
    match end:
        case Answered():
            return ANSWERED
        case Failed(failure):
            return failure.code
        case Left():
            return LEFT
        case _:
            return STOPPED


def _failed_account(end: End) -> str | None:
    return end.failure.account if isinstance(end, Failed) else None
