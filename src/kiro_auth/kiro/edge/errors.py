"""Where whatever is no answer becomes a failure of ours, in plain words.

That is aiohttp's exceptions, which say what is wrong between here and a host, and what came instead of an
answer: refusals, pages of proxies, hosts that know nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro import checked, faults
from kiro_auth.kiro.edge.connections import proxy_for

_ERROR_BYTES: Final = 256 * 1024  # of a refusal's body; what names the error stands at its start
_PORTS: Final = {"http": 80, "https": 443}


class HostFailed(TurnFailed):
    """The host itself cannot be used (name, TLS, refused): another host of the same service may do."""


@contextmanager
def translated(url: str, region: str) -> Iterator[None]:
    """Turn what aiohttp raises inside the block into TurnFailed (KA-NETWORK or KA-TIMEOUT).

    HostFailed when no connection came about at all, so that nothing can have been done twice.
    """
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ours(error, url, region) from error


def ours(error: Exception, url: str, region: str) -> TurnFailed:
    """What `translated` raises, for hot paths that have no use for a context manager."""
    host = urlsplit(url).hostname or url
    if fault := _fault_of_proxy(error, url, host):
        return HostFailed(fault)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return HostFailed(_timeout(f"{host} did not accept a connection in time."))
    if isinstance(error, TimeoutError):
        return TurnFailed(_timeout(f"{host} was silent for too long."))
    for kind, message, next_step in _HOST_SHAPED:
        if isinstance(error, kind):
            return HostFailed(_network(message.format(host=host, region=region), next_step))
    if isinstance(error, aiohttp.InvalidURL):
        return HostFailed(_network(f"The address of {host} is not a URL.", "Correct it under endpoints."))
    return TurnFailed(
        _network(f"The connection to {host} broke off.", "Check the network, then repeat the request.")
    )


def _fault_of_proxy(error: Exception, url: str, host: str) -> Failure | None:
    """What is wrong with the proxy, where it is the trouble: the account's own, or the environment's."""
    proxy = proxy_for(url)
    if isinstance(error, aiohttp.ClientHttpProxyError):  # it does not say which proxy refused
        own, fault = proxy is None, f"refuses to connect to {host}"
        step = "Check HTTPS_PROXY, its user name and password, and what the proxy allows."
    elif isinstance(error, aiohttp.ClientProxyConnectionError) or (
        isinstance(error, aiohttp.ClientConnectorDNSError) and error.host != host
    ):
        own, fault = (error.host, error.port) != _place(proxy), f"for {host} cannot be reached"
        step = "Check HTTPS_PROXY and NO_PROXY."
    else:
        return None
    if own:
        step = "Correct it, or take it back with an empty value: kiro-auth accounts set NAME --proxy …"
    return _network(f"The account's own proxy {fault}." if own else f"The proxy {fault}.", step)


def _place(proxy: str | None) -> tuple[str | None, int | None]:
    parts = urlsplit(proxy or "")
    return parts.hostname, parts.port or _PORTS.get(parts.scheme)


# Searched in this order: the first class that fits speaks.
_HOST_SHAPED: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (
        aiohttp.ClientConnectorDNSError,
        "The host {host} does not exist or its name cannot be resolved: is region {region} right?",
        "Check the region and the network.",
    ),
    (
        aiohttp.ClientConnectorCertificateError,
        "The certificate of {host} is not trusted.",
        "Behind a company proxy, point SSL_CERT_FILE at the company's certificates.",
    ),
    (
        aiohttp.ClientSSLError,
        "No secure connection to {host} can be made.",
        "Behind a company proxy, point SSL_CERT_FILE at the company's certificates.",
    ),
    (
        aiohttp.ClientConnectorError,
        "{host} refuses the connection or cannot be reached.",
        "Check the network, the proxy and the region.",
    ),
)


def _network(message: str, next_step: str) -> Failure:
    return Failure(code="KA-NETWORK", message=message, next_step=next_step)


def _timeout(message: str) -> Failure:
    return Failure(code="KA-TIMEOUT", message=message, next_step="Repeat the request.")


# --------------------------------------------------------------------------- instead of an answer


def request_id(headers: Mapping[str, str]) -> str | None:
    """What AWS support asks for."""
    given = headers.get("x-amzn-requestid") or headers.get("x-amz-request-id")
    return checked.code(given)


def unanswered(error: TurnFailed) -> bool:
    """Whether the service said nothing at all."""
    return error.failure.code in ("KA-NETWORK", "KA-TIMEOUT")


async def refusal(response: aiohttp.ClientResponse) -> TurnFailed:
    """What an answer that is no reply means; HostFailed where another host may do better."""
    body = await _start_of(response)
    if response.status < 400 and not body.lstrip().startswith(b"{"):
        return TurnFailed(no_answer(response))
    headers = {name.lower(): value for name, value in response.headers.items()}
    # An error under status 200 is told by its words alone.
    status = response.status if response.status >= 400 else None
    failure = faults.classify(status=status, headers=headers, body=body)
    kind = HostFailed if _about_the_host(response, failure, body) else TurnFailed
    return kind(failure)


def _about_the_host(response: aiohttp.ClientResponse, failure: Failure, body: bytes) -> bool:
    """Whether the service is at another host, or speaks of another operation here.

    A 403 that gives no reason may be a wrong dialect for this host; one that names plan, sign-in, lock or
    kind of account is about the account.
    """
    if response.status == 404 or b"UnknownOperation" in body:
        return True
    if "UnknownOperation" in response.headers.get("x-amzn-errortype", ""):
        return True
    bare = response.status == 403 and failure.code == "KA-ENTITLEMENT" and not failure.reason
    return bare and not any(word in body.lower() for word in (b"subscription", b"not supported"))


async def _start_of(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    try:
        while len(body) < _ERROR_BYTES and (part := await response.content.readany()):
            body += part
    except (aiohttp.ClientError, TimeoutError, OSError):
        return body  # the status and the headers still tell what it was
    return body


def no_answer(response: aiohttp.ClientResponse) -> Failure:
    """An answer that the service cannot have sent."""
    return Failure(
        code="KA-SERVICE",
        message=f"{response.url.host} sent {response.content_type} (status {response.status}) instead of "
        "an answer; a proxy may stand in between.",
        next_step="Check the proxy and the endpoints in kiro.json.",
        request_id=request_id(response.headers),
    )
