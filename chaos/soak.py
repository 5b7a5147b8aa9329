"""Simulated agents at one gateway for long: its memory and descriptors stay, and no request fails.

    make chaos ARGS="soak --seconds 3600 --agents 50"

Gateway and simulated service are processes of their own.  Each agent is a coding agent's conversation over
and over: it sends all that was said before, gets tool calls, streams its answers, and now and then leaves in
the middle of one.  The three APIs take turns.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
from msgspec import Struct

from support.programs import KEY, Home

TURNS: Final = 12
"""Of one conversation."""
LEAVES: Final = 0.03
"""How often an agent leaves in the middle of an answer."""
ENDINGS: Final = {
    "/v1/messages": b"message_stop",
    "/v1/chat/completions": b"[DONE]",
    "/v1/responses": b"response.completed",
}
_WORDS: Final = ("Read the file notes.txt", "Run the command `ls -l`", "What is left to do?", "Tell me more")
_SCHEMA: Final = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
_DESCRIPTION: Final = "Reads one file of the project, whatever it is, and gives its text back. " * 20


class Sample(Struct, frozen=True):
    """The gateway at one moment: `seconds` after the start, resident bytes, open descriptors."""

    seconds: float
    memory: int
    descriptors: int

    def line(self) -> str:
        """For people."""
        return f"{self.seconds:6.0f} s  {self.memory / 1e6:7.1f} MB  {self.descriptors:4d} descriptors"


class Soaked(Struct):
    """What came of it."""

    turns: int = 0
    left: int = 0
    errors: list[str] = []
    samples: list[Sample] = []

    def growth(self) -> float:
        """Megabytes a minute over the second half, by the line that fits the samples best."""
        later = self.samples[len(self.samples) // 2 :]
        return _slope([(s.seconds / 60, s.memory / 1e6) for s in later])

    def rising_descriptors(self) -> int:
        """How many more there were at most in the last quarter than in the second."""
        quarter = len(self.samples) // 4
        early = max(s.descriptors for s in self.samples[quarter : 2 * quarter] or self.samples)
        return max(s.descriptors for s in self.samples[3 * quarter :]) - early


def _slope(points: Sequence[tuple[float, float]]) -> float:
    count = len(points)
    if count < 2:
        return 0.0
    mean_x, mean_y = (sum(values) / count for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def look(pid: int, begun: float) -> Sample:
    """The process now."""
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    return Sample(time.monotonic() - begun, resident, len(list(Path(f"/proc/{pid}/fd").iterdir())))


class Agent:
    """One agent."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, chance: random.Random, soaked: Soaked, history: int
    ) -> None:
        self._http, self._url, self._chance, self._soaked = http, url, chance, soaked
        self._history = history

    async def run(self, end: float, pause: float) -> None:
        while time.monotonic() < end:
            await self._conversation(self._chance.choice(list(ENDINGS)), end, pause)

    async def _conversation(self, path: str, end: float, pause: float) -> None:
        read = "".join(f"line {n}: {self._chance.random()}\n" for n in range(self._history // 30))
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": f"This is the file:\n{read}"},
            {"role": "assistant", "content": "I have read it."},
        ]
        headers = {"x-api-key": KEY, "x-session-id": uuid.uuid4().hex}
        for turn in range(TURNS):
            if time.monotonic() > end:
                return
            words = f"{self._chance.choice(_WORDS)} {turn} " + "and so on " * self._chance.randrange(200)
            messages.append({"role": "user", "content": words})
            said = await self._turn(path, body_of(path, messages), headers)
            messages.append({"role": "assistant", "content": f"I did that. {said[:400]}"})
            await asyncio.sleep(pause * self._chance.uniform(0.5, 1.5))

    async def _turn(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        leaves = self._chance.random() < LEAVES
        try:
            async with self._http.post(self._url + path, json=body, headers=headers) as answer:
                if leaves:
                    await answer.content.readany()
                    self._soaked.left += 1
                    return ""
                said = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._soaked.errors.append(f"{path}: {error!r}")
            return ""
        self._soaked.turns += 1
        if answer.status != 200 or ENDINGS[path] not in said:
            self._soaked.errors.append(f"{path}: {answer.status} {said[-300:]!r}")
        return said[-400:].decode(errors="replace")


def body_of(path: str, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A streamed request of one API, with ten tools."""
    body: dict[str, Any] = {"model": "claude-sonnet-4-5", "stream": True}
    names = [f"read_file_{number}" for number in range(10)]
    if path == "/v1/messages":
        tools: Any = [{"name": n, "description": _DESCRIPTION, "input_schema": _SCHEMA} for n in names]
        return {**body, "max_tokens": 1000, "messages": messages, "tools": tools}
    function = [{"name": n, "description": _DESCRIPTION, "parameters": _SCHEMA} for n in names]
    if path == "/v1/responses":
        return {**body, "input": messages, "tools": [{"type": "function", **each} for each in function]}
    return {**body, "messages": messages, "tools": [{"type": "function", "function": f} for f in function]}


def address(process: subprocess.Popen[str], announced: Path) -> str:
    """Where this gateway listens, once it has written that down."""
    while not announced.exists():
        assert process.poll() is None, "the gateway did not start"
        time.sleep(0.01)
    return f"http://127.0.0.1:{json.loads(announced.read_text())['port']}"


async def soak(
    url: str, pid: int, *, seconds: float, agents: int, pause: float, seed: int, history: int
) -> Soaked:
    """So many agents for so long at the gateway that is this process.

    `pause` is between an agent's turns, `history` the bytes that each conversation begins with.
    """
    soaked, begun = Soaked(errors=[], samples=[]), time.monotonic()
    end = begun + seconds
    chance = random.Random(seed)

    async def watch() -> None:
        while time.monotonic() < end:
            soaked.samples.append(look(pid, begun))
            if len(soaked.samples) % 10 == 1:
                print(soaked.samples[-1].line(), f"{soaked.turns} turns", flush=True)
            await asyncio.sleep(min(seconds / 60, 5))

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        made = [Agent(http, url, random.Random(chance.random()), soaked, history) for _ in range(agents)]
        await asyncio.gather(watch(), *(agent.run(end, pause) for agent in made))
    return soaked


def run(*, seconds: float, agents: int, pause: float, seed: int, history: int) -> Soaked:
    """As `soak`, with a gateway and a simulated service of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.environment["KIRO_GATEWAY_KEY"] = KEY
        home.environment["KIRO_MAX_CONCURRENT_PER_ACCOUNT"] = "100"
        with home.simulator("--auto-approve") as simulator:
            simulator.ask("settings", {"callsKept": 100})
            for _ in range(3):
                home.run("login", "--builder-id", "--no-browser")
            for user in simulator.ask("state")["users"]:  # an hour is more than a plan of a month has
                simulator.ask("user", {"email": user["email"], "limit": 1e9})
            with home.started("serve", "--port", "0", "--quiet") as gateway:
                url = address(gateway, home.state / "gateway.json")
                return asyncio.run(
                    soak(
                        url,
                        gateway.pid,
                        seconds=seconds,
                        agents=agents,
                        pause=pause,
                        seed=seed,
                        history=history,
                    )
                )


def report(soaked: Soaked) -> str:
    """The figures, for people."""
    first, last = soaked.samples[0], soaked.samples[-1]
    lines = [
        f"{soaked.turns} turns, {soaked.left} left in the middle, {len(soaked.errors)} errors",
        f"began with {first.line()}",
        f"ended with {last.line()}",
        f"over the second half: {soaked.growth():+.2f} MB a minute",
        f"in the last quarter: {soaked.rising_descriptors():+d} descriptors",
        *soaked.errors[:5],
    ]
    return "\n".join(lines)
