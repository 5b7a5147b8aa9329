"""What a seed stands for: some requests, and what goes wrong while they are answered."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

APIS: Final = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
LineKind: TypeAlias = Literal["reset", "end", "flip", "stall", "drip", "trickle"]
LINE_KINDS: Final[tuple[LineKind, ...]] = ("reset", "end", "flip", "stall", "drip", "trickle")
RENEWAL: Final = b"/token"
CHAT: Final = b"GenerateAssistantResponse"
_PLACES: Final = ((0, 17), (17, 350), (350, 520), (520, 900), (900, 4000))
"""Bytes of an answer: its status line, its head, its first frames, and so on."""
_ODD: Final[tuple[Any, ...]] = ("NaN", "Infinity", 1e308, -1, [], {}, {"a": [None]}, "x" * 3000, None, True)
_FIELDS: Final = {
    "contextUsageEvent": "contextUsagePercentage",
    "meteringEvent": "usage",
    "metadataEvent": "tokenUsage",
    "toolUseEvent": "toolUseId",
    "assistantResponseEvent": "content",
    "reasoningContentEvent": "text",
    "citationEvent": "target",
    "novelEvent": "value",
}
_GRACE: Final = 10 * 86400.0
_LISTS: Final = ("ListAvailableModels", "GetUsageLimits", "ListAvailableProfiles")
_REFUSALS: Final = {
    "429 storm": ("ThrottlingException", "USER_REQUEST_RATE_EXCEEDED"),
    "500 storm": ("InternalServerException", None),
    "capacity storm": ("ThrottlingException", "INSUFFICIENT_MODEL_CAPACITY"),
    "unavailable storm": ("ServiceUnavailableException", None),
}


class LineFault(Struct, frozen=True):
    """What happens to one answer on its way: at byte `at` of it, for requests in which `of` stands."""

    kind: LineKind
    at: int
    of: bytes

    def part(self) -> str:
        """The part of which answer that byte is in, nearly."""
        parts = ((17, "in the status line"), (350, "in the head"), (900, "in the first frames"))
        part = next((words for end, words in parts if self.at < end), "in later frames")
        return f"{part} of a {'renewal' if self.of == RENEWAL else 'chat'}"


class Request(Struct, frozen=True, kw_only=True):
    """One request of a client, and the faults that are made ready before it.

    `line` are faults of the connection, `steps` what the service is told to answer with, `refusals` so many
    times before that.  `faults` are answers of other operations.  `expired`: the accounts' tokens have ended
    before; `rotated`: another program has renewed one meanwhile.  `clock` is by how many seconds the
    service's clock jumps, `nameless` how many looks for a host's address fail.  `full`: the disk is.
    """

    api: str
    stream: bool
    leaves: bool = False
    line: tuple[LineFault, ...] = ()
    steps: tuple[Any, ...] | None = None
    refusals: tuple[str, int] | None = None
    faults: tuple[dict[str, Any], ...] = ()
    expired: bool = False
    rotated: bool = False
    clock: float = 0.0
    nameless: int = 0
    full: bool = False

    def injected(self) -> list[str]:
        """What goes wrong, in words."""
        words = [f"line {fault.kind} {fault.part()}, byte {fault.at}" for fault in self.line]
        words += [f"{self.refusals[0]}, {self.refusals[1]} times"] if self.refusals else []
        words += [f"answer {_named(step)}" for step in self.steps or () if _named(step)]
        words += [
            f"{fault['operation']} {'lost' if fault.get('lost') else fault['status']}"
            for fault in self.faults
        ]
        words += [f"clock jumps, {self.clock:+.0f} s"] if self.clock else []
        words += ["names not found"] if self.nameless else []
        told = {
            "tokens expired": self.expired,
            "rotated elsewhere": self.rotated,
            "disk full": self.full,
            "client leaves": self.leaves,
        }
        return words + [word for word, so in told.items() if so]


class Plan(Struct, frozen=True):
    """One scenario; `grace` is for how many seconds a spent refresh token is still taken."""

    seed: int
    accounts: int
    grace: float
    requests: tuple[Request, ...]


def plan_of(seed: int) -> Plan:
    """The scenario of a seed, always the same."""
    chance = random.Random(seed)
    requests = tuple(_request(chance) for _ in range(chance.randint(3, 6)))
    return Plan(seed, chance.randint(1, 3), _GRACE if any(map(_loses_renewals, requests)) else 0.0, requests)


def _loses_renewals(request: Request) -> bool:
    """Whether an answer with new tokens may be lost on its way: only the service's grace saves it then."""
    return any(fault.of == RENEWAL for fault in request.line) or any(
        fault.get("lost") for fault in request.faults
    )


def _request(chance: random.Random) -> Request:
    given: dict[str, Any] = {"api": chance.choice(APIS), "stream": chance.random() < 0.75}
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        given |= chance.choice(_INJECTIONS)(chance)
    return Request(**given, leaves=chance.random() < 0.08)


def _on_line(
    chance: random.Random, of: bytes = CHAT, kinds: Sequence[LineKind] = LINE_KINDS
) -> dict[str, Any]:
    faults = tuple(
        LineFault(chance.choice(kinds), chance.randrange(*chance.choice(_PLACES)), of)
        for _ in range(chance.choice((1, 1, 2, 6)))
    )
    return {"line": faults}


def _on_renewal(chance: random.Random) -> dict[str, Any]:
    """Nothing tells a changed letter of a token: that is for TLS to see, which is not used here."""
    kinds = tuple(kind for kind in LINE_KINDS if kind != "flip")
    return {**_on_line(chance, RENEWAL, kinds), "expired": True}


def _steps(chance: random.Random) -> dict[str, Any]:
    call = {"tool": {"name": "read", "input": {"path": f"/notes/{chance.randrange(1000)}", "n": [1, 2]}}}
    name, field = chance.choice(list(_FIELDS.items()))
    odd = {"event": {"name": name, "payload": {field: chance.choice(_ODD)}}}
    endless = {"endless": {"name": chance.choice(("pingEvent", "novelEvent")), "every": 0.05}}
    ends: list[list[Any]] = [
        [],
        [call],
        [call, {"cut": "tool"}],
        [call, {"cut": chance.choice(("frame", "reset", "clean", "checksum", "chunk"))}],
        [odd],
        [odd, call],
        [endless],
        [{"drip": 0.02}],
        [{"pause": 0.3}, call],
        [{"exception": {"type": chance.choice(("ThrottlingException", "InternalServerException", "Novel"))}}],
        [{"hang": 3600}],
    ]
    begin: list[Any] = [{"text": "Let me look."}] if chance.random() < 0.8 else []
    return {"steps": (*begin, *chance.choice(ends))}


def _refusals(chance: random.Random) -> dict[str, Any]:
    return {"refusals": (chance.choice(list(_REFUSALS)), chance.choice((1, 2, 4, 12, 40)))}


def _lists(chance: random.Random) -> dict[str, Any]:
    body = chance.choice((*_ODD, {"models": _ODD}, {"usageBreakdownList": [{"usageLimit": "NaN"}]}, "<html>"))
    status = chance.choice((200, 200, 500))
    fault = {"operation": chance.choice(_LISTS), "status": status, "body": body, "times": 3}
    return {"faults": (fault,)}


def _renewal(chance: random.Random) -> dict[str, Any]:
    fault: dict[str, Any] = {"operation": "CreateToken", "status": 500, "times": chance.choice((1, 2, 9))}
    if chance.random() < 0.4:
        fault |= {"lost": True, "times": 1}
    elif chance.random() < 0.4:
        fault |= {"status": 200, "body": chance.choice(_ODD), "times": 1}
    return {"faults": (fault,), "expired": True}


def _named(step: Any) -> str:
    (kind, value), *_ = step.items()
    return "" if kind in ("text", "tool", "pause") else f"{kind} {value if kind == 'cut' else ''}".strip()


_INJECTIONS: Final = (
    _on_line,
    _on_line,
    _on_renewal,
    _steps,
    _steps,
    _refusals,
    _lists,
    _renewal,
    lambda chance: {"clock": chance.choice((-600.0, 600.0, -5.0, 3500.0, 7200.0))},
    lambda chance: {"nameless": chance.choice((1, 3, 20))},
    lambda chance: {"full": True, "expired": chance.random() < 0.7},
    lambda _: {"expired": True},
    lambda _: {"expired": True, "rotated": True},
)


def refusal_of(name: str) -> dict[str, Any]:
    """What a storm of this name is made of."""
    kind, reason = _REFUSALS[name]
    return {"refuse": {"type": kind, "message": "Not now."} | ({"reason": reason} if reason else {})}
