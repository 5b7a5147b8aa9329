"""Which route an address has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kiro_auth.gateway.http.site import Route


class Routes:
    """A table by method and address: `GET /v1/models`, or `GET /v1/models/*` for all below it."""

    def __init__(self, table: Mapping[str, Route]) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._below: dict[str, dict[str, Route]] = {}
        for key, route in table.items():
            method, _, address = key.partition(" ")
            kind = self._below if address.endswith("*") else self._exact
            kind.setdefault(address.removesuffix("*"), {})[method] = route

    def find(self, method: str, address: str) -> Route | None:
        """What answers; to HEAD what answers to GET."""
        methods = self._at(address)
        return methods.get("GET" if method == "HEAD" else method) if methods else None

    def methods(self, address: str) -> Sequence[str]:
        """What may be asked for there; nothing where there is nothing."""
        methods = self._at(address) or {}
        return [*methods, "HEAD"] if "GET" in methods else [*methods]

    def _at(self, address: str) -> Mapping[str, Route] | None:
        exact = self._exact.get(address)
        if exact is not None:
            return exact
        below = (begin for begin in self._below if address.startswith(begin) and address != begin)
        return next((self._below[begin] for begin in below), None)
