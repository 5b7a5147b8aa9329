"""Where whatever is no answer becomes a failure of ours, in plain words.

That is exceptions of `lines`, which say what is wrong between here and a host, and what came instead of an
answer: refusals, pages of proxies, hosts that know nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro import checked, faults
from kiro_auth.kiro.edge.answer import Answer, Fault, LineFailed

_ERROR_BYTES: Final = 256 * 1024  # of a refusal's body; what names the error stands at its start
_ERROR_SECONDS: Final = 10.0  # that it may take; status and headers say the rest


class HostFailed(TurnFailed):
    """The host itself cannot be used (name, TLS, refused): another host of the same service may do."""


@contextmanager
def translated(url: str, region: str, *, own_proxy: bool = False) -> Iterator[None]:
    """Turn what `lines` raise inside the block into TurnFailed (KA-NETWORK or KA-TIMEOUT).

    HostFailed when no connection came about at all, so that nothing can have been done twice.  `own_proxy`:
    the way is through the account's own proxy.
    """
    try:
        yield
    except LineFailed as error:
        raise ours(error, url, region, own_proxy=own_proxy) from error


def ours(error: LineFailed, url: str, region: str, *, own_proxy: bool = False) -> TurnFailed:
    """What `translated` raises, for hot paths that have no use for a context manager."""
    host = urlsplit(url).hostname or url
    fault = error.fault
    if fault in _OF_PROXIES:
        return HostFailed(_of_proxy(fault, host, own=own_proxy))
    code, message, next_step = _WORDS[fault]
    failure = Failure(code=code, message=message.format(host=host, region=region), next_step=next_step)
    return TurnFailed(failure) if fault in ("silent", "broken") else HostFailed(failure)


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


# --------------------------------------------------------------------------- instead of an answer


def request_id(headers: Mapping[str, str]) -> str | None:
    """What AWS support asks for."""
    given = headers.get("x-amzn-requestid") or headers.get("x-amz-request-id")
    return checked.code(given)


def unanswered(error: TurnFailed) -> bool:
    """Whether the service said nothing at all."""
    return error.failure.code in ("KA-NETWORK", "KA-TIMEOUT")


async def refusal(answer: Answer) -> TurnFailed:
    """What an answer that is no reply means; HostFailed where another host may do better."""
    body = await _start_of(answer)
    if answer.status < 400 and not body.lstrip().startswith(b"{"):
        return TurnFailed(no_answer(answer))
    # An error under status 200 is told by its words alone.
    status = answer.status if answer.status >= 400 else None
    failure = faults.classify(status=status, headers=answer.headers, body=body)
    kind = HostFailed if _about_the_host(answer, failure, body) else TurnFailed
    return kind(failure)


def _about_the_host(answer: Answer, failure: Failure, body: bytes) -> bool:
    """Whether the service is at another host, or speaks of another operation here.

    A 403 that gives no reason may be a wrong dialect for this host; one that names plan, sign-in, lock or
    kind of account is about the account.
    """
    if answer.status == 404 or b"UnknownOperation" in body:
        return True
    if "UnknownOperation" in answer.headers.get("x-amzn-errortype", ""):
        return True
    bare = answer.status == 403 and failure.code == "KA-ENTITLEMENT" and not failure.reason
    return bare and not any(word in body.lower() for word in (b"subscription", b"not supported"))


async def _start_of(answer: Answer) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(_ERROR_SECONDS):
            while len(body) < _ERROR_BYTES and (part := await answer.read()):
                body += part
    except (LineFailed, TimeoutError):
        return body  # the status and the headers still tell what it was
    return body


def no_answer(answer: Answer) -> Failure:
    """An answer that the service cannot have sent."""
    return Failure(
        code="KA-SERVICE",
        message=f"{answer.host} sent {checked.text(answer.content_type, 100)} (status {answer.status}) "
        "instead of an answer; a proxy may stand in between.",
        next_step="Check the proxy and the endpoints in kiro.json.",
        request_id=request_id(answer.headers),
    )
