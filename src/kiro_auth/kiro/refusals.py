"""What answers mean that are no answers: refusals, pages of proxies, hosts that know nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import aiohttp

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro import faults
from kiro_auth.kiro.network import HostFailed

_ERROR_BYTES: Final = 256 * 1024  # of a refusal's body; what names the error stands at its start


def request_id(headers: Mapping[str, str]) -> str | None:
    """What AWS support asks for."""
    return headers.get("x-amzn-requestid") or headers.get("x-amz-request-id")


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
