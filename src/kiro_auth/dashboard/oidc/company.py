"""The company whose people sign in for the dashboard, and who of them sees what: `dashboard_oidc`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

EMAIL = "email"


class Company(Struct, frozen=True, kw_only=True):
    """`operators` see the whole dashboard, `holders` the page of the client key of that name.

    People are called by the `claim` of their sign-in.  `redirect` is where the provider sends browsers back
    to; None: to the host that they came to.
    """

    issuer: str
    client_id: str
    client_secret_file: str | None = None
    operators: tuple[str, ...] = ()
    holders: Mapping[str, str] = {}
    claim: str = EMAIL
    redirect: str | None = None

    def is_operator(self, person: str) -> bool:
        """Whether this person sees the whole dashboard."""
        return self._alike(person) in map(self._alike, self.operators)

    def key_of(self, person: str) -> str | None:
        """The name of the client key whose page this person sees, if there is one."""
        keys = {self._alike(name): key for name, key in self.holders.items()}
        return keys.get(self._alike(person))

    def _alike(self, person: str) -> str:
        """Upper and lower case do not tell e-mails apart; of other letters than ASCII's they may."""
        return person.lower() if self.claim == EMAIL and person.isascii() else person


def company_of(option: Mapping[str, Any] | None) -> Company | None:
    """What the option says, which was checked when it was read."""
    return None if option is None else msgspec.convert(option, Company)
