"""A model that was asked for by name and that Kiro does not list (any more)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kiro_auth.failures import Failure
from kiro_auth.kiro.models import Model, client_id, resolve, unknown


def unlisted(name: str, listed: Iterable[str], aliases: Mapping[str, str]) -> Failure | None:
    """What to say of a name that means none of the listed models, by the ids that clients know them by.

    None where it means one, or where no list is known.  `aliases` are the user's own names.
    """
    rows = [Model(id=id_, name=id_) for id_ in listed]
    if not rows:
        return None
    meant = {alias.lower(): model for alias, model in aliases.items()}.get(name.lower(), name)
    known = {row.id for row in rows}
    return None if client_id(resolve(meant, rows).model) in known else unknown(name, rows)
