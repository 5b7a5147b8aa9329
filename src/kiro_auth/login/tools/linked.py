"""Accounts that are another program's too: one refresh chain, two users, and neither logs the other out.

The other program's store is the truth.  It is read again before a token is renewed and after a renewal that
was refused; a pair renewed here is put there, where it replaces only the very token that was spent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from kiro_auth.accounts.account import Account, Source
from kiro_auth.accounts.refresh import Refresh
from kiro_auth.failures import Failure, StoreFailed, TurnFailed
from kiro_auth.json_values import as_object
from kiro_auth.kinds import KINDS, bare_start_url
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.login.tools.held import Held
from kiro_auth.login.tools.tool import NewTokens, SharingTool

log = logging.getLogger("kiro_auth.linked")

_ANOTHER: Final = "is signed in elsewhere now"


def linked(
    refresh: Refresh, *, margin: Callable[[], float], clock: Callable[[], float] = time.time
) -> Refresh:
    """`refresh` for accounts of all kinds, linked ones included.

    `margin`, in seconds, is how long a token must still live to be taken over from the other program.
    """

    async def renewed(account: Account) -> TokenGrant:
        source, tool = account.source, _tool_of(account)
        if source is None or tool is None:
            return await refresh(account)
        held = await _read(tool, source)
        if held is None or not _is_same(held, account):
            raise TurnFailed(_signed_out(account, source, "has signed out" if held is None else _ANOTHER))
        if _is_news(held, account, clock() + margin()):
            return _taken_over(held, account, clock())
        try:
            grant = await refresh(_as_held(account, held))
        except TurnFailed as error:
            again = await _read(tool, source) if error.failure.code == "KA-SIGNIN" else None
            if again is None or again.refresh_token in ("", held.refresh_token):
                raise
            if _is_news(again, account, clock() + margin()):  # the other program was faster
                return _taken_over(again, account, clock())
            held = again
            grant = await refresh(_as_held(account, held))
        new = NewTokens(
            spent=held.refresh_token,
            access_token=grant.access_token,
            refresh_token=grant.refresh_token or held.refresh_token,
            expires_at=clock() + (grant.expires_in if grant.access_token else 0),
        )
        if not await _written_back(tool, source, new):
            # It still holds the spent token, and signs out when it tries that.
            log.warning(
                "%s was renewed, but %s does not have the new token: it may ask for a new sign-in",
                account.name,
                source.tool,
            )
        return grant

    return renewed


def _as_held(account: Account, held: Held) -> Account:
    """The account with what the other program holds: a new sign-in there has a client of its own."""
    return msgspec.structs.replace(
        account,
        refresh_token=held.refresh_token,
        client_id=held.client_id or account.client_id,
        client_secret=held.client_secret or account.client_secret,
        region=held.region,
    )


def _tool_of(account: Account) -> SharingTool | None:
    """The program that holds the account's sign-in too, if it is one that this program knows."""
    if account.source is None:
        return None
    from kiro_auth.login.tools.table import SHARING  # loaded only for those who have such an account

    return SHARING.get(account.source.tool)


def _is_same(held: Held, account: Account) -> bool:
    """Whether it is still the same kind of sign-in, at the same place."""
    if held.kind_unsure or account.kind_unsure:  # one of both is a guess
        return KINDS[held.kind].renewed_by == KINDS[account.kind].renewed_by
    place = (held.provider or {}).get("token_endpoint")
    own_place = as_object(account.provider).get("token_endpoint")
    start_urls = (held.start_url or account.sso_start_url, account.sso_start_url or held.start_url)
    bare = {bare_start_url(url or "") for url in start_urls}
    return held.kind == account.kind and place == own_place and len(bare) == 1


def _is_news(held: Held, account: Account, until: float) -> bool:
    """Whether the other program has a token that we do not have, and that lives long enough."""
    return bool(held.access_token) and held.access_token != account.access_token and held.expires_at > until


def _taken_over(held: Held, account: Account, now: float) -> TokenGrant:
    keeps_profile = KINDS[account.kind].needs_profile and account.profile_arn
    return TokenGrant(
        access_token=held.access_token,
        refresh_token=held.refresh_token or None,
        expires_in=max(1, round(held.expires_at - now)),
        profile_arn=None if keeps_profile else held.profile_arn,
    )


async def _written_back(tool: SharingTool, source: Source, new: NewTokens) -> bool:
    """Whether the other program has the new tokens.  What goes wrong there must not lose them here."""
    try:
        return await asyncio.to_thread(tool.write_back, source, new)
    except (StoreFailed, OSError, ValueError, OverflowError) as error:  # a time beyond all calendars, too
        log.info("%s cannot be written: %s", source.path, type(error).__name__)
        return False


async def _read(tool: SharingTool, source: Source) -> Held | None:
    try:
        return await asyncio.to_thread(tool.read, source)
    except StoreFailed as error:
        raise TurnFailed(error.failure) from error


def _signed_out(account: Account, source: Source, how: str) -> Failure:
    return Failure(
        code="KA-SIGNIN",
        message=f"{source.tool} {how}.",
        next_step="Sign in there again, or here: kiro-auth login",
        account=account.name,
    )
