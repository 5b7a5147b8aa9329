"""The pages and their parts as HTML, from templates in which every value is escaped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from kiro_auth import __version__
from kiro_auth.accounts.view import words_after
from kiro_auth.dashboard import spending
from kiro_auth.dashboard.accounts_view import TONES, account_card, summary
from kiro_auth.dashboard.sources import Sources
from kiro_auth.dashboard.words import line
from kiro_auth.events import Running
from kiro_auth.failures import KiroAuthError, StoreFailed
from kiro_auth.kinds import KINDS
from kiro_auth.ledger import reading
from kiro_auth.times import utc

if TYPE_CHECKING:
    import jinja2

SECTIONS: Final = ("summary", "accounts", "turns", "troubles")
"""The parts that change while the page is open; each is a template."""
_LEDGER_SECONDS: Final = 30.0
"""How long what the ledger said counts while no turn ends here; other gateways may write to it."""
_WRITTEN_SECONDS: Final = 3.0
"""How long after the end of a turn it may take until the ledger has it."""


class Pages:
    """Renders what the sources say now."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._values: dict[str, Any] = {}
        self._sections: dict[str, str] = {}  # as rendered of these values
        self._books: dict[str, Any] = {}
        self._ended = -1
        self._read_at = self._ended_at = float("-inf")

    async def page(self, csrf: str) -> str:
        """The whole dashboard."""
        values = {"csrf": csrf, "version": __version__, "sections": await self.sections()}
        return _template("page").render(values)

    async def sections(self) -> dict[str, str]:
        """The parts that change, by name."""
        now = self._sources.clock()
        values: dict[str, Any] = {
            "failure": None,
            "cards": [],
            "unread_accounts": [],
            "turns": self._turns(now),
        }
        values |= await self._of_ledger(now)
        try:
            accounts, rows = list(self._sources.accounts()), self._sources.usage_rows()
            unreadable = [line(each.failure.spoken(now)) for each in self._sources.unreadable()]
        except KiroAuthError as error:
            values |= {"failure": line(error.failure.spoken(now)), "summary": None}
        else:
            paces = values["paces"]
            cards = [
                account_card(account, rows.get(account.id, {}), now, pace=paces.get(account.id))
                for account in accounts
            ]
            told = summary(cards, accounts, rows, now, unreadable=len(unreadable))
            values |= {"cards": cards, "summary": told, "unread_accounts": unreadable}
        if values != self._values:
            self._values = values
            self._sections = {name: _template(name).render(values) for name in SECTIONS}
        return self._sections

    def _turns(self, now: float) -> list[dict[str, Any]]:
        return [self._turn(turn, now) for turn in self._sources.running()]

    def _turn(self, turn: Running, now: float) -> dict[str, Any]:
        # The seconds count up in the browser, so that a part is sent anew only when something happens.
        return {
            "began": round(turn.began),
            "client": line(self._sources.client_name(turn.client) or "unnamed client"),
            "model": line(turn.model or "?"),
            "account": line(turn.account or ""),
            "doing": "answering" if turn.first_byte is not None else "waiting for Kiro",
            "attempts": ", ".join(dict.fromkeys(turn.attempts)),
        }

    async def _of_ledger(self, now: float) -> Mapping[str, Any]:
        """What the ledger says, read anew when there may be news."""
        ended, moment = self._sources.ended(), time.monotonic()
        if ended != self._ended:
            self._ended, self._ended_at = ended, moment
        fresh = moment - self._ended_at < _WRITTEN_SECONDS
        if fresh or moment - self._read_at >= _LEDGER_SECONDS or not self._books:
            self._books = await asyncio.to_thread(_books, self._sources, now)
            self._read_at = moment
        return self._books


def _books(sources: Sources, now: float) -> dict[str, Any]:
    try:
        return {
            "kept": sources.ledger is not None,
            "paces": reading.paces(sources.ledger, now) if sources.ledger else {},
            "spent": spending.spent(sources.ledger, now),
            "troubles": spending.troubles(sources.ledger, now),
            "unreadable": "",
        }
    except StoreFailed as error:
        unreadable = line(error.failure.spoken(now))
        return {"kept": True, "paces": {}, "spent": None, "troubles": [], "unreadable": unreadable}


def closed_page(
    headline: str, words: str, *, command: bool = False, asks_key: bool = False, signs_in: bool = False
) -> str:
    """A page without data, for whoever has no session.

    With the `command` that opens the dashboard; with `asks_key` the holder of a client key can open its own;
    with `signs_in` people of the company can sign in.
    """
    return _template("closed").render(
        headline=headline, words=line(words), command=command, asks_key=asks_key, signs_in=signs_in
    )


def entered_page() -> str:
    """What leads on to the dashboard by itself, after the company's sign-in."""
    return _template("entered").render()


def holder_page(view: Mapping[str, Any], csrf: str) -> str:
    """What the holder of a client key sees: `view` is the answer of `GET /kiro/me`."""
    budget = view["budget"]
    values = {
        "me": view,
        "accounts": [_seen_by_holder(account) for account in view["accounts"]],
        "share": 100 * min(1.0, budget["spent"] / budget["credits"]) if budget else None,
        "resets": _moment(budget["resets"]) if budget else "",
        "expires": _moment(view["expires"]),
        "csrf": csrf,
        "version": __version__,
    }
    return _template("holder").render(values)


def _seen_by_holder(account: Mapping[str, Any]) -> dict[str, str]:
    state = words_after(account["stateCode"], account["state"])
    return {
        "name": line(account["name"]),
        "kind": KINDS[account["kind"]].words,
        "state": line(state),
        "tone": TONES.get(state, "wait"),
        "until": _moment(account["stateUntil"]),
    }


def _moment(text: str | None) -> str:
    return utc(datetime.fromisoformat(text).timestamp()) if text else ""


@cache
def _environment() -> jinja2.Environment:
    from importlib.resources import files

    import jinja2

    folder = files("kiro_auth.dashboard") / "templates"
    texts = {path.name.removesuffix(".html"): path.read_text(encoding="utf-8") for path in folder.iterdir()}
    return jinja2.Environment(
        loader=jinja2.DictLoader(texts),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)
