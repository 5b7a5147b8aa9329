"""Where whatever is no answer becomes a failure of ours, in plain words.

That is exceptions of aiohttp and of `lines`, which say what is wrong between here and a host, and what came
instead of an answer: refusals, pages of proxies, hosts that know nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro import checked, faults
from kiro_auth.kiro.edge.answer import Answer, Fault, LineFailed
from kiro_auth.kiro.edge.connections import proxy_for

_ERROR_BYTES: Final = 256 * 1024  # of a refusal's body; what names the error stands at its start
_PORTS: Final = {"http": 80, "https": 443}


class HostFailed(TurnFailed):
    """The host itself cannot be used (name, TLS, refused): another host of the same service may do."""


@contextmanager
def translated(url: str, region: str, *, own_proxy: bool = False) -> Iterator[None]:
    """Turn what aiohttp or `lines` raise inside the block into TurnFailed (KA-NETWORK or KA-TIMEOUT).

    HostFailed when no connection came about at all, so that nothing can have been done twice.  `own_proxy`:
    the way of `lines` is through the account's own proxy.
    """
    try:
        yield
    except (LineFailed, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ours(error, url, region, own_proxy=own_proxy) from error


def ours(error: Exception, url: str, region: str, *, own_proxy: bool = False) -> TurnFailed:
    """What `translated` raises, for hot paths that have no use for a context manager."""
    host = urlsplit(url).hostname or url
    fault = error.fault if isinstance(error, LineFailed) else _fault_of(error, host)
    if fault in _OF_PROXIES:
        return HostFailed(_of_proxy(fault, host, own=own_proxy or _is_own(error, url)))
    code, message, next_step = _WORDS[fault]
    failure = Failure(code=code, message=message.format(host=host, region=region), next_step=next_step)
    return TurnFailed(failure) if fault in ("silent", "broken") else HostFailed(failure)


def _fault_of(error: Exception, host: str) -> Fault:
    """What an exception of aiohttp means."""
    if isinstance(error, aiohttp.ClientConnectorDNSError) and error.host != host:
        return "proxy gone"
    return next((fault for kind, fault in _FAULTS if isinstance(error, kind)), "broken")


# Searched in this order: the first class that fits counts.
_FAULTS: Final[tuple[tuple[type[Exception], Fault], ...]] = (
    (aiohttp.ClientHttpProxyError, "proxy refuses"),
    (aiohttp.ClientProxyConnectionError, "proxy gone"),
    (aiohttp.ConnectionTimeoutError, "slow"),
    (TimeoutError, "silent"),
    (aiohttp.ClientConnectorDNSError, "name"),
    (aiohttp.ClientConnectorCertificateError, "certificate"),
    (aiohttp.ClientSSLError, "tls"),
    (aiohttp.ClientConnectorError, "refused"),
    (aiohttp.InvalidURL, "address"),
)
_COMPANY: Final = "Behind a company proxy, point SSL_CERT_FILE at the company's certificates."
_WORDS: Final[Mapping[Fault, tuple[str, str, str]]] = {
    "address": ("KA-NETWORK", "The address of {host} is not a URL.", "Correct it under endpoints."),
    "name": (
        "KA-NETWORK",
        "The name {host} cannot be found: this machine is offline, or there is no region {region} there.",
        "Check the network, then the region.",
    ),
    "certificate": ("KA-NETWORK", "The certificate of {host} is not trusted.", _COMPANY),
    "tls": ("KA-NETWORK", "No secure connection to {host} can be made.", _COMPANY),
    "refused": (
        "KA-NETWORK",
        "{host} refuses the connection or cannot be reached.",
        "Check the network, the proxy and the region.",
    ),
    "slow": ("KA-TIMEOUT", "{host} did not accept a connection in time.", "Repeat the request."),
    "silent": ("KA-TIMEOUT", "{host} was silent for too long.", "Repeat the request."),
    "broken": (
        "KA-NETWORK",
        "The connection to {host} broke off.",
        "Check the network, then repeat the request.",
    ),
}
_OF_PROXIES: Final = ("proxy gone", "proxy refuses")


def _is_own(error: Exception, url: str) -> bool:
    """Whether the proxy that aiohttp had trouble with is not the environment's, so the account's own."""
    proxy = proxy_for(url)
    if isinstance(error, aiohttp.ClientHttpProxyError):  # it does not say which proxy refused
        return proxy is None
    return isinstance(error, aiohttp.ClientConnectorError) and (error.host, error.port) != _place(proxy)


def _of_proxy(fault: Fault, host: str, *, own: bool) -> Failure:
    """What is wrong with the proxy: the account's own, or the environment's."""
    if fault == "proxy refuses":
        words = f"refuses to connect to {host}"
        step = "Check HTTPS_PROXY, its user name and password, and what the proxy allows."
    else:
        words, step = f"for {host} cannot be reached", "Check HTTPS_PROXY and NO_PROXY."
    if own:
        step = "Correct it, or take it back with an empty value: kiro-auth accounts set NAME --proxy …"
    message = f"The account's own proxy {words}." if own else f"The proxy {words}."
    return Failure(code="KA-NETWORK", message=message, next_step=step)


def _place(proxy: str | None) -> tuple[str | None, int | None]:
    parts = urlsplit(proxy or "")
    return parts.hostname, parts.port or _PORTS.get(parts.scheme)


# --------------------------------------------------------------------------- instead of an answer


def request_id(headers: Mapping[str, str]) -> str | None:
    """What AWS support asks for."""
    given = headers.get("x-amzn-requestid") or headers.get("x-amz-request-id")
    return checked.code(given)


def unanswered(error: TurnFailed) -> bool:
    """Whether the service said nothing at all."""
    return error.failure.code in ("KA-NETWORK", "KA-TIMEOUT")


class Head(Struct, frozen=True):
    """Who answered, and the head of the answer; header names are in lower case."""

    host: str
    status: int
    content_type: str
    headers: Mapping[str, str]


def head_of(response: aiohttp.ClientResponse | Answer) -> Head:
    """The head of an answer, whichever way it came."""
    if isinstance(response, Answer):
        return Head(response.host, response.status, response.content_type, response.headers)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Head(response.url.host or "", response.status, response.content_type, headers)


async def refusal(response: aiohttp.ClientResponse | Answer) -> TurnFailed:
    """What an answer that is no reply means; HostFailed where another host may do better."""
    head, body = head_of(response), await _start_of(response)
    if head.status < 400 and not body.lstrip().startswith(b"{"):
        return TurnFailed(no_answer(head))
    # An error under status 200 is told by its words alone.
    status = head.status if head.status >= 400 else None
    failure = faults.classify(status=status, headers=head.headers, body=body)
    kind = HostFailed if _about_the_host(head, failure, body) else TurnFailed
    return kind(failure)


def _about_the_host(head: Head, failure: Failure, body: bytes) -> bool:
    """Whether the service is at another host, or speaks of another operation here.

    A 403 that gives no reason may be a wrong dialect for this host; one that names plan, sign-in, lock or
    kind of account is about the account.
    """
    if head.status == 404 or b"UnknownOperation" in body:
        return True
    if "UnknownOperation" in head.headers.get("x-amzn-errortype", ""):
        return True
    bare = head.status == 403 and failure.code == "KA-ENTITLEMENT" and not failure.reason
    return bare and not any(word in body.lower() for word in (b"subscription", b"not supported"))


async def _start_of(response: aiohttp.ClientResponse | Answer) -> bytes:
    body = b""
    read = response.read if isinstance(response, Answer) else response.content.readany
    try:
        while len(body) < _ERROR_BYTES and (part := await read()):
            body += part
    except (LineFailed, aiohttp.ClientError, TimeoutError, OSError):
        return body  # the status and the headers still tell what it was
    return body


def no_answer(head: Head) -> Failure:
    """An answer that the service cannot have sent."""
    return Failure(
        code="KA-SERVICE",
        message=f"{head.host} sent {checked.text(head.content_type, 100)} (status {head.status}) instead of "
        "an answer; a proxy may stand in between.",
        next_step="Check the proxy and the endpoints in kiro.json.",
        request_id=request_id(head.headers),
    )
