"""Which hosts to ask, in which order, in which dialect: all of it data.

The built-in table says what is known of the service; `endpoints` in `kiro.json` and `KIRO_ENDPOINT_<ROLE>`
replace it role by role.  Where no other source is named, hosts, targets and origins are those that several
open clients use by their sources of 2026; the vendor's firewall page lists `runtime` and `management`, and
the end of `q`, quoted for 2026-05-15, had not come by the autumn.  The service has two dialects for the same
operations: `rest` (a path for each) and `rpc` (one path, the operation in the header `X-Amz-Target`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct

from kiro_auth.addresses import checked_region, partition_of
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.kinds import KINDS, Kind

Protocol: TypeAlias = Literal["rest", "rpc"]
Overrides: TypeAlias = Mapping[str, tuple[str | Mapping[str, Any], ...]]

CHAT_PATH: Final = "/generateAssistantResponse"


class Endpoint(Struct, frozen=True):
    """One place to send calls to.

    `url` has no trailing slash.  `origin` is what the service wants to be told about the kind of client.
    `path` is where chat goes (`rest`) or where every call goes (`rpc`); None: the protocol's own.
    """

    url: str
    protocol: Protocol
    target_prefix: str
    origin: str
    path: str | None = None


class _Row(Struct, frozen=True):
    """A line of the built-in table; `regions` empty means every region."""

    template: str
    protocol: Protocol
    target_prefix: str = ""
    origin: str = ""
    regions: tuple[str, ...] = ()


_RUNTIME: Final = _Row("https://runtime.{region}.kiro.dev", "rpc", "KiroRuntimeService", "KIRO_CLI")
_Q: Final = _Row(
    "https://q.{region}.amazonaws.com", "rest", "AmazonCodeWhispererStreamingService", "AI_EDITOR"
)
_CODEWHISPERER: Final = _Row(
    "https://codewhisperer.{region}.amazonaws.com",
    "rest",
    "AmazonCodeWhispererStreamingService",
    "AI_EDITOR",
    ("us-east-1",),  # it does not resolve elsewhere, as many independent clients found
)
_MANAGEMENT: Final = _Row(
    "https://management.{region}.kiro.dev", "rpc", "KiroControlPlaneBearerService", "KIRO_CLI"
)
# The management host takes the list of profiles under the older service name: many independent clients, 2026.
_PROFILES: Final = _Row(
    "https://management.{region}.kiro.dev", "rpc", "AmazonCodeWhispererService", "KIRO_CLI"
)
_Q_CONTROL: Final = _Row("https://q.{region}.amazonaws.com", "rpc", "AmazonCodeWhispererService", "AI_EDITOR")

# In GovCloud there are these hosts alone: the vendor's documentation of its regions, 2026.
_FIPS: Final = _Row(
    "https://q-fips.{region}.amazonaws.com", "rest", "AmazonCodeWhispererStreamingService", "AI_EDITOR"
)
_FIPS_CONTROL: Final = _Row(
    "https://q-fips.{region}.amazonaws.com", "rpc", "AmazonCodeWhispererService", "AI_EDITOR"
)

_NEW_HOSTS_FIRST: Final = {
    "runtime": (_RUNTIME, _Q, _CODEWHISPERER),
    "management": (_MANAGEMENT, _Q_CONTROL),
    "profiles": (_PROFILES, _Q_CONTROL),
    "tools": (_RUNTIME, _Q),
}
# For API keys and company sign-ins.  Some open clients of 2026 report that the runtime host refuses keys,
# others send them there; for company sign-ins one careful diagnosis found the older hosts to work.
_OLD_HOSTS_FIRST: Final = {
    "runtime": (_Q, _RUNTIME),
    "management": (_Q_CONTROL, _MANAGEMENT),
    "profiles": (_Q_CONTROL, _PROFILES),
    "tools": (_Q, _RUNTIME),
}
_SERVICE: Final[Mapping[str, Mapping[str, tuple[_Row, ...]]]] = {
    "new": _NEW_HOSTS_FIRST,
    "old": _OLD_HOSTS_FIRST,
}
_GOVCLOUD: Final = {"runtime": (_FIPS,), "management": (_FIPS_CONTROL,), "profiles": (_FIPS_CONTROL,)}

_AUTH: Final = {
    "oidc": "https://oidc.{region}.amazonaws.com",
    "desktop_auth": "https://prod.{region}.auth.desktop.kiro.dev",
}
# AWS partitions whose hosts have another ending: the endpoints in botocore.
_OIDC_PARTITIONS: Final = {
    "aws-cn": "https://oidc.{region}.amazonaws.com.cn",
    "aws-eusc": "https://oidc.{region}.amazonaws.eu",
}

_OVERRIDE_PREFIX: Final = {
    "runtime": "KiroRuntimeService",
    "management": "KiroControlPlaneBearerService",
    "profiles": "AmazonCodeWhispererService",
    "tools": "KiroRuntimeService",
}
_FALLBACK_ROLE: Final = {"profiles": "management", "tools": "runtime"}
"""Roles without an override of their own: an override of the other one counts for them."""
_RUNTIME_ROLES: Final = ("runtime", "tools")


class Endpoints:
    """The table in force.

    Roles: `runtime` (chat), `tools` (the service's own), `management`, `profiles`, `oidc`, `desktop_auth` and
    `external_idp`.
    """

    def __init__(
        self, overrides: Overrides | None = None, unknown: Mapping[str, Failure] | None = None
    ) -> None:
        """`overrides` take the place of the table; roles of which they are `unknown` have no endpoint."""
        self._overrides: Overrides = overrides or {}
        self._unknown: Mapping[str, Failure] = unknown or {}
        self._orders: dict[tuple[str, Kind, str], tuple[Endpoint, ...]] = {}

    def order(self, role: str, kind: Kind, region: str) -> tuple[Endpoint, ...]:
        """The endpoints to try for this kind of credential, best first; may be empty.

        Raises ConfigFailed when `region` does not have the form of an AWS region, so that no text from a
        file or an answer can become a host, and for a role whose endpoints are unknown.
        """
        order = self._orders.get((role, kind, region))
        if order is None:
            order = self._orders[role, kind, region] = self._order(role, kind, checked_region(region))
        return order

    def _order(self, role: str, kind: Kind, region: str) -> tuple[Endpoint, ...]:
        given = self._given(role) or self._given(_FALLBACK_ROLE.get(role, role))
        chosen = tuple(_overridden(role, entry, region) for entry in given if _is_for(entry, kind))
        return chosen or _built_in(role, kind, region)

    def _given(self, role: str) -> tuple[str | Mapping[str, Any], ...]:
        if role in self._unknown:
            raise ConfigFailed(self._unknown[role])
        return self._overrides.get(role, ())


def _built_in(role: str, kind: Kind, region: str) -> tuple[Endpoint, ...]:
    partition = partition_of(region)
    if role in _AUTH:
        template = _OIDC_PARTITIONS.get(partition, _AUTH[role]) if role == "oidc" else _AUTH[role]
        return (Endpoint(template.format(region=region), "rest", "", ""),)
    hosts = _GOVCLOUD if partition == "aws-us-gov" else _SERVICE[KINDS[kind].hosts_first]
    rows = hosts.get(role, ())
    return tuple(
        Endpoint(row.template.format(region=region), row.protocol, row.target_prefix, row.origin)
        for row in rows
        if not row.regions or region in row.regions
    )


def _is_for(entry: str | Mapping[str, Any], kind: str) -> bool:
    kinds = None if isinstance(entry, str) else entry.get("kinds")
    return not kinds or kind in kinds


def _overridden(role: str, entry: str | Mapping[str, Any], region: str) -> Endpoint:
    fixed = {"url": entry} if isinstance(entry, str) else entry
    url = str(fixed["url"]).replace("{region}", region).rstrip("/")
    old_host = (urlsplit(url).hostname or "").startswith(("q.", "q-fips.", "codewhisperer."))
    rest = role in _AUTH or (old_host and role in _RUNTIME_ROLES)
    protocol: Protocol = "rest" if fixed.get("protocol", "rest" if rest else "rpc") == "rest" else "rpc"
    prefix = _OVERRIDE_PREFIX.get(role, "")
    if old_host:
        prefix = _Q.target_prefix if role in _RUNTIME_ROLES else _Q_CONTROL.target_prefix
    return Endpoint(
        url=url,
        protocol=protocol,
        target_prefix=str(fixed.get("target_prefix") or prefix),
        origin=str(fixed.get("origin") or ("AI_EDITOR" if protocol == "rest" else "KIRO_CLI")),
        path=str(fixed["path"]) if fixed.get("path") else None,
    )
