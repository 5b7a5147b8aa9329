"""Another model instead of one that cannot answer: only as `model_fallback` in `kiro.json` says.

And the one that was asked for instead of a cheaper one that `thrift` had asked first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from kiro_auth.failures import Failure
from kiro_auth.gateway.catalog import Catalog
from kiro_auth.option_kinds import FALLBACK_CODES


class Rule(Struct, frozen=True):
    """When `model` (`*` is any) fails with one of the codes `on`, `use` is asked instead."""

    model: str
    on: frozenset[str]
    use: str


def rules_of(option: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """The rules of the option, in the order in which they count."""
    return tuple(Rule(entry["model"], frozenset(entry["on"]), entry["use"]) for entry in option)


class Course:
    """The models that one request is given to, one after the other; none twice.

    `cheaper` comes before the one that was `asked` for.
    """

    __slots__ = ("_asked", "_catalog", "_is_cheaper", "_rules", "_used", "first")

    def __init__(
        self, rules: Sequence[Rule], catalog: Catalog, asked: str, cheaper: str | None = None
    ) -> None:
        self.first = cheaper or asked
        self._is_cheaper = cheaper is not None
        self._rules = rules
        self._catalog = catalog
        self._asked = asked
        self._used: tuple[str, ...] = ()  # the service's ids of models that were asked instead

    def after(self, failure: Failure) -> str | None:
        """The name of the model to ask next, as the last one failed so; None when no rule has another."""
        if self._is_cheaper:
            self._is_cheaper = False
            return self._asked if failure.code in FALLBACK_CODES else None
        for rule in self._rules:
            asked, use = self._id(self._asked), self._id(rule.use)
            of_it = rule.model == "*" or self._id(rule.model) == asked
            if of_it and failure.code in rule.on and use not in (asked, *self._used):
                self._used += (use,)
                return rule.use
        return None

    def _id(self, name: str) -> str:
        return self._catalog.resolve(name).model.id
