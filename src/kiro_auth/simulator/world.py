"""The simulated world: people, their sign-ins and tokens, the clock, what happened.

Everything that a region knows is kept under that region: a client or a token of another one is a stranger.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct, field, structs

from kiro_auth.simulator.caching import PrefixCache
from kiro_auth.simulator.scenario import (
    Fault,
    Reply,
    Scenario,
    SearchReply,
    Settings,
    User,
    default_scenario,
)

# No vowels, so that no words come out, and no characters that look alike.
_CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"


class Client(Struct, frozen=True, kw_only=True):
    """A program registered with one region's sign-in service."""

    id: str
    secret: str
    expires_at: float
    grants: frozenset[str]
    issuer: str | None


class Device(Struct, kw_only=True):
    """A device code, until it was exchanged for tokens."""

    region: str
    client_id: str
    device_code: str
    user_code: str
    start_url: str
    expires_at: float
    interval: float
    polled_at: float | None = None
    status: Literal["pending", "approved", "denied", "used"] = "pending"
    user: str | None = None


class AccessToken(Struct, frozen=True):
    """What a bearer token stands for."""

    user: str
    expires_at: float


class RefreshToken(Struct, kw_only=True):
    """What a refresh token stands for.  Without a `client_id` it belongs to a social sign-in."""

    user: str
    region: str
    client_id: str | None
    ends_at: float
    spent_at: float | None = None


class TokenPair(Struct, frozen=True):
    """A new pair of tokens."""

    access: str
    refresh: str
    expires_in: int


class Call(Struct, kw_only=True):
    """One call in the log, without its secrets.  `status` is 0 until the answer begins."""

    time: float
    service: str
    operation: str
    region: str
    user: str | None = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


class Metered(Struct, frozen=True, kw_only=True):
    """What one reply was charged with: a line of the service's own books."""

    time: float
    user: str
    model: str
    credits: float
    conversation: str


class Load(Struct):
    """How many chats of one person are answered `now`, and the `most` that were answered at a time."""

    now: int = 0
    most: int = 0


class World:
    """All state of the simulator.  `clock` gives epoch seconds; `advance` adds to it."""

    def __init__(self, scenario: Scenario | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._scenario = scenario or default_scenario()
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Begin anew, as the scenario has it: nobody is registered or signed in, nothing has happened."""
        self._offset = 0.0
        self.settings: Settings = structs.replace(self._scenario.settings)
        self.users: dict[str, User] = {user.email: structs.replace(user) for user in self._scenario.users}
        self.script: list[Reply] = list(self._scenario.script)
        self.searches: list[SearchReply] = []
        self.faults: list[Fault] = [structs.replace(fault) for fault in self._scenario.faults]
        self.clients: dict[tuple[str, str], Client] = {}
        self.devices: dict[tuple[str, str], Device] = {}
        self.access_tokens: dict[str, AccessToken] = {}
        self.refresh_tokens: dict[tuple[str, str], RefreshToken] = {}
        self.calls: list[Call] = []
        self.books: list[Metered] = []
        self.loads: dict[str, Load] = {}
        self.cache = PrefixCache(self.now)
        self._turns: dict[str, int] = {}
        self._month = self._this_month()

    # ----------------------------------------------------------------------------------------- clock

    def now(self) -> float:
        """The time in this world, epoch seconds."""
        return self._clock() + self._offset

    def advance(self, seconds: float) -> None:
        """Let time pass; a new month begins with unused plans."""
        self._offset += seconds

    def _this_month(self) -> tuple[int, int]:
        today = datetime.fromtimestamp(self.now(), UTC)
        return today.year, today.month

    def next_reset(self) -> float:
        """When the plans begin anew: the first of the next month, epoch seconds."""
        year, month = self._this_month()
        return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()

    # ---------------------------------------------------------------------------------------- people

    def members(self, start_url: str, region: str) -> list[User]:
        """Who signs in at that start URL in that region, in the order they were added."""
        return [user for user in self.users.values() if (user.start_url, user.region) == (start_url, region)]

    def charge(self, user: User, model: str, credits_used: float, conversation: str) -> None:
        """Count credits against the plan, and write them down."""
        self.settle()
        user.used += credits_used
        self.books.append(
            Metered(
                time=self.now(),
                user=user.email,
                model=model,
                credits=credits_used,
                conversation=conversation,
            )
        )

    @contextlib.contextmanager
    def answering(self, user: User) -> Iterator[None]:
        """A chat of this person is under way for as long as the block lasts."""
        load = self.loads.setdefault(user.email, Load())
        load.now += 1
        load.most = max(load.most, load.now)
        try:
            yield
        finally:
            load.now -= 1

    def settle(self) -> None:
        """Empty all counters when a new month has begun since the last look."""
        if self._month != self._this_month():
            self._month = self._this_month()
            for user in self.users.values():
                user.used = 0.0

    # --------------------------------------------------------------------------------------- sign-in

    def add_client(self, region: str, *, grants: frozenset[str], issuer: str | None) -> Client:
        """Register a program."""
        client = Client(
            id=secrets.token_urlsafe(16),
            secret=secrets.token_urlsafe(48),
            expires_at=int(self.now()) + self.settings.client_seconds,
            grants=grants,
            issuer=issuer,
        )
        self.clients[region, client.id] = client
        return client

    def add_device(self, region: str, client: Client, start_url: str) -> Device:
        """A fresh code to confirm."""
        letters = "".join(secrets.choice(_CODE_LETTERS) for _ in range(8))
        device = Device(
            region=region,
            client_id=client.id,
            device_code=secrets.token_urlsafe(32),
            user_code=f"{letters[:4]}-{letters[4:]}",
            start_url=start_url,
            expires_at=self.now() + self.settings.device_seconds,
            interval=self.settings.device_interval,
        )
        self.devices[region, device.device_code] = device
        return device

    def waiting(self, user_code: str) -> Device | None:
        """The device whose code this is, while it can still be confirmed or declined."""
        wanted = user_code.strip().upper()
        return next(
            (
                device
                for device in self.devices.values()
                if device.user_code == wanted
                and device.status == "pending"
                and device.expires_at > self.now()
            ),
            None,
        )

    def approve(self, device: Device, email: str | None = None) -> User:
        """Confirm a code as that user, or as the next in turn.  Raises ValueError for a stranger."""
        members = self.members(device.start_url, device.region)
        if email is None:
            turn = self._turns.get(device.start_url, 0)
            self._turns[device.start_url] = turn + 1
            user = members[turn % len(members)] if members else None
        else:
            user = next((member for member in members if member.email == email), None)
        if user is None:
            who = f"no {email}" if email else "nobody"
            raise ValueError(f"there is {who} at {device.start_url} in {device.region}")
        device.status, device.user = "approved", user.email
        return user

    # ---------------------------------------------------------------------------------------- tokens

    def issue(self, region: str, user: str, client_id: str | None, ends_at: float | None = None) -> TokenPair:
        """A new pair; `ends_at` is when the sign-in as a whole ends, by default counted from now."""
        pair = TokenPair(
            access="aoa" + secrets.token_urlsafe(48),
            refresh="aor" + secrets.token_urlsafe(96),
            expires_in=self.settings.token_seconds,
        )
        self.access_tokens[pair.access] = AccessToken(user, self.now() + pair.expires_in)
        self.refresh_tokens[region, pair.refresh] = RefreshToken(
            user=user,
            region=region,
            client_id=client_id,
            ends_at=self.now() + self.settings.session_seconds if ends_at is None else ends_at,
        )
        return pair

    def rotate(self, token: RefreshToken) -> TokenPair:
        """A new pair for a refresh token, which is spent by this."""
        if token.spent_at is None:
            token.spent_at = self.now()
        return self.issue(token.region, token.user, token.client_id, token.ends_at)

    def is_spent(self, token: RefreshToken) -> bool:
        """Whether a refresh token was used before, and the grace for that is over."""
        return token.spent_at is not None and self.now() >= token.spent_at + self.settings.rotation_grace

    def revoke(self, email: str) -> None:
        """End all sign-ins of a user: no token of theirs is good any more."""
        self.access_tokens = {k: v for k, v in self.access_tokens.items() if v.user != email}
        self.refresh_tokens = {k: v for k, v in self.refresh_tokens.items() if v.user != email}

    def bearer(self, token: str) -> User | None:
        """Whose bearer token or API key this is, while it is good."""
        if token.startswith("ksk_"):
            return next((user for user in self.users.values() if token in user.api_keys), None)
        known = self.access_tokens.get(token)
        if known is None or known.expires_at <= self.now():
            return None
        return self.users.get(known.user)

    # ------------------------------------------------------------------------------ what was ordered

    def remember(self, call: Call) -> None:
        """Note a call; the oldest are forgotten, a tenth of them at once."""
        self.calls.append(call)
        if len(self.calls) > 1.1 * self.settings.calls_kept:
            del self.calls[: -self.settings.calls_kept]

    def next_fault(self, operation: str) -> Fault | None:
        """What is to go wrong with this call of an operation; counts as used."""
        fault = next((f for f in self.faults if f.operation == operation and f.times > 0), None)
        if fault is not None:
            fault.times -= 1
            self.faults = [f for f in self.faults if f.times > 0]
        return fault

    def next_reply(self, message: Mapping[str, Any]) -> Reply | None:
        """The first scripted reply that is for a chat with this current message; counts as used."""
        reply = next((reply for reply in self.script if reply.when.matches(message)), None)
        if reply is not None:
            self.script.remove(reply)
        return reply

    def next_search(self, query: str) -> SearchReply | None:
        """The first scripted reply to a search for that; counts as used."""
        reply = next((reply for reply in self.searches if reply.contains in query), None)
        if reply is not None:
            self.searches.remove(reply)
        return reply


def to_json(value: Struct) -> dict[str, Any]:
    """A struct as the JSON object that makes it."""
    made: dict[str, Any] = msgspec.to_builtins(value)
    return made
