"""Sign-ins that the original plugin took from kiro-cli or the IDE: one chain of refresh tokens in two stores.

A renewal with the one copy would end the other.  So such a sign-in is the other program's, which is given
new tokens; the original's copy only says what it is called there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from kiro_auth.login.tools.held import Held


def with_owners(copies: Sequence[Held], others: Sequence[Held]) -> Iterator[Held]:
    """The original's sign-ins, those that another program holds too as that one's.

    Where only the client is the same, either one of them has the newer tokens or another person is signed in
    there now; nothing here can tell, so both are given.
    """
    for copy in copies:
        owner = next((other for other in others if _same_token(other, copy)), None)
        if owner is not None:
            yield msgspec.structs.replace(
                owner,
                id=copy.id,
                email=copy.email,
                profile_arn=owner.profile_arn or copy.profile_arn,
                start_url=owner.start_url or copy.start_url,
                client_id=owner.client_id or copy.client_id,
                client_secret=owner.client_secret or copy.client_secret,
            )
            continue
        yield from (other for other in others if same_client(other, copy))
        yield copy


def same_client(one: Held, other: Held) -> bool:
    """Whether both were made with one registration at AWS."""
    return bool(one.client_secret) and (one.client_id, one.client_secret) == (
        other.client_id,
        other.client_secret,
    )


def _same_token(one: Held, other: Held) -> bool:
    return bool(one.refresh_token) and one.refresh_token == other.refresh_token
