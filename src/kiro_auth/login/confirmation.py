"""Wait until a person has confirmed a code: how often the service is asked, and when that ends."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from kiro_auth.failures import Failure, SignInFailed, TurnFailed
from kiro_auth.kinds import Kind
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.tokens import aws_oidc
from kiro_auth.kiro.tokens.aws_oidc import DeviceAuthorization, Registration
from kiro_auth.kiro.tokens.grants import TokenGrant

LONGEST_WAIT: Final = 30.0
"""Seconds between two questions when the service or the way to it is in trouble; a choice of ours."""
SLOWER: Final = 5.0
"""Seconds that each `slow_down` adds to the interval, for good: RFC 8628, section 3.5, and AWS's own
toolkit."""
EXPIRED: Final = "expired_token"
"""The service's word for a code that nobody confirmed in time; the `reason` of that failure."""

OnTrouble = Callable[[Failure | None], None]
"""Hears why the service cannot be asked for now, once, and None when it answers again."""


class Started(Struct, frozen=True):
    """A code that waits for its confirmation, and for which sign-in it is."""

    kind: Kind
    start_url: str
    region: str
    registration: Registration
    device: DeviceAuthorization


class Pace(Struct, frozen=True):
    """The clocks, and how to wait."""

    sleep: Callable[[float], Awaitable[None]]
    monotonic: Callable[[], float] = time.monotonic
    clock: Callable[[], float] = time.time


async def confirmed(
    lines: Lines, endpoints: Endpoints, started: Started, pace: Pace, on_trouble: OnTrouble
) -> TokenGrant:
    """Ask until the code is confirmed or has run out, by either clock: laptops sleep.

    The question after the deadline is still asked, because a confirmation that nobody fetches is lost.
    Raises SignInFailed.
    """
    lasts, interval = started.device.expires_in, started.device.interval
    begun, begun_wall = pace.monotonic(), pace.clock()
    wait, in_trouble = interval, False
    while True:
        left = lasts - (pace.monotonic() - begun)
        await pace.sleep(max(0.0, min(wait, left)))
        last = pace.monotonic() - begun >= lasts or pace.clock() - begun_wall >= lasts
        answer = await _asked(lines, endpoints, started)
        if isinstance(answer, TokenGrant):
            return answer
        trouble = answer.entry.passing and answer.reason != "slow_down"
        if trouble is not in_trouble and not last:
            on_trouble(answer if trouble else None)
        in_trouble = trouble
        if answer.reason == "slow_down":
            interval += SLOWER
        wait = min(wait * 2, max(LONGEST_WAIT, interval)) if trouble else interval
        if last:
            raise SignInFailed(_expired(answer))


async def _asked(lines: Lines, endpoints: Endpoints, started: Started) -> TokenGrant | Failure:
    """The tokens, or why there are none yet.  Raises SignInFailed where there will never be any."""
    try:
        return await aws_oidc.create_token(
            lines,
            endpoints,
            region=started.region,
            registration=started.registration,
            device_code=started.device.device_code,
        )
    except TurnFailed as error:
        failure = error.failure
        if failure.reason == "authorization_pending" or failure.entry.passing:
            return failure
        raise SignInFailed(failure) from error


def _expired(failure: Failure) -> Failure:
    heard = "" if failure.reason == "authorization_pending" else f" Last answer: {failure.message}"
    return Failure(
        code="KA-LOGIN",
        message=f"The code has expired before it was confirmed.{heard}",
        next_step="Run kiro-auth login once more.",
        reason=EXPIRED,
    )
