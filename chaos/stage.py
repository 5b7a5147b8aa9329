"""One scenario, played: gateway, services and clients in one process, over real sockets and real files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from chaos.line import Line
from chaos.oracle import broken_law
from chaos.plan import Plan, Request, refusal_of
from chaos.played import Played
from chaos.trouble import Names, full_disk
from kiro_auth import config as configuration
from kiro_auth.accounts.health import READY
from kiro_auth.gateway.http.wheel import Wheel
from kiro_auth.gateway.parts import open_parts
from kiro_auth.kiro.tokens import answers as renewals
from kiro_auth.simulator import oidc
from kiro_auth.simulator.app import ROLES, create_app
from kiro_auth.simulator.scenario import Fault, default_scenario, replies_from_json
from kiro_auth.simulator.world import World
from kiro_auth.store.files import FileStore
from support.programs import KEY, Home
from support.serving import Served, serving

SECONDS: Final = 1.0
"""What `request_timeout_ms` stands for here."""
RENEWAL_SECONDS: Final = 3.0
"""Of one renewal, instead of thirty: nobody waits for it longer than for an answer, and it goes on."""
PATIENCE: Final = 30.0
"""Seconds for whatever comes by itself within a moment, on a machine that may have much else to do."""
LONGEST: Final = 3 * SECONDS + PATIENCE
"""Seconds of one answer: until its first word, and of a word's absence in it.  What hangs has an hour."""
MOST_CHATS: Final = 30
"""Calls of one request, of three accounts with all retries."""
MOST_RENEWALS: Final = 8
PAUSE: Final = 0.05
"""The share of a gateway's own pauses that is waited here."""
_TOOL: Final = {"name": "read", "schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
_EMAILS: Final = ("ada@example.com", "grace@example.com", "linus@example.org")


class _Logs(logging.Handler):
    """All that is logged, and which of it are defects."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []
        self.defects: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{self.format(record)} {record.__dict__}")
        if record.levelno >= logging.ERROR and record.name.startswith("kiro_auth"):
            self.defects.append(f"{record.getMessage()} {record.exc_info and record.exc_info[1]!r}")


class Stage:
    """See the module."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._home = Home(folder)
        self._world = World(default_scenario())
        self._world.settings.rotation_grace = plan.grace
        self._names, self._logs = Names(), _Logs()
        self._store = FileStore(self._home.config, self._home.state / "locks")
        self._said: list[bytes] = []
        self.played = Played(plan.seed)
        self._line: Line
        self._gateway: Served

    async def play(self) -> Played:
        """The scenario, and what must hold after it."""
        asyncio.get_running_loop().set_exception_handler(self._on_stray)
        kiro_auth = logging.getLogger("kiro_auth")
        kiro_auth.addHandler(self._logs)
        kiro_auth.setLevel(logging.DEBUG)
        kiro_auth.propagate = False
        try:
            async with self._services():
                await self._sign_in()
                with self._names.failing():
                    await self._requests()
                await self._afterwards()
        finally:
            kiro_auth.removeHandler(self._logs)
        self._no_secret()
        self.played.broken += [f"logged as a defect: {text}" for text in self._logs.defects]
        return self.played

    def _on_stray(self, _: Any, context: dict[str, Any]) -> None:
        self.played.broken.append(f"stray: {context.get('message')} {context.get('exception')!r}")

    @contextlib.asynccontextmanager
    async def _services(self) -> AsyncIterator[None]:
        runner = web.AppRunner(
            create_app(self._world), access_log=None, handler_cancellation=True, shutdown_timeout=0.05
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._line = Line(runner.addresses[0][1])
            async with self._line.open() as port:
                url = f"http://127.0.0.1:{port}/{{region}}"
                self._home.environment |= {f"KIRO_ENDPOINT_{role.upper()}": url for role in ROLES}
                yield
        finally:
            await runner.cleanup()

    async def _sign_in(self) -> None:
        for email in _EMAILS[: self._plan.accounts]:
            user = self._world.users[email]
            client = self._world.add_client(user.region, grants=oidc.GRANTS, issuer=None)
            pair = self._world.issue(user.region, email, client.id)
            record = {"accessToken": pair.access, "refreshToken": pair.refresh, "region": user.region}
            record |= {"clientId": client.id, "clientSecret": client.secret}
            record |= {"profileArn": user.profiles[0].arn} if user.profiles else {}
            ends = round((time.time() + pair.expires_in) * 1000)
            await self._store.add({"id": email[:3] * 8, "label": email[:3], "expiresAt": ends, **record})

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        # Time is one factor here: what has limits of its own in seconds gets them in hundredths.
        Wheel.__init__.__defaults__ = (0.1,)
        # But an answer with new tokens is the only one: where losing it is not planned, it is waited for.
        lost = self._plan.grace > 0
        renewals._SECONDS = RENEWAL_SECONDS if lost else 30.0
        async with serving(
            self._home,
            pause=PAUSE,
            request_timeout_ms=int(SECONDS * 1000),
            rate_limit_retry_delay_ms=50,
        ) as self._gateway:
            yield

    # --------------------------------------------------------------------------------- the requests

    async def _requests(self) -> None:
        async with self._serving():
            for number, request in enumerate(self._plan.requests):
                await self._prepare(request)
                chats, renewals = self._count("GenerateAssistantResponse"), self._count("CreateToken")
                with full_disk() if request.full else contextlib.nullcontext():
                    end = await self._ask(request)
                self.played.ends.append(end)
                if self._count("GenerateAssistantResponse") - chats > MOST_CHATS:
                    self.played.broken.append(f"request {number}: more than {MOST_CHATS} calls")
                if self._count("CreateToken") - renewals > MOST_RENEWALS:
                    self.played.broken.append(f"request {number}: more than {MOST_RENEWALS} renewals")
                await self._forgive()
            await self._serves_again()

    async def _prepare(self, request: Request) -> None:
        self.played.injected += request.injected()
        self._line.faults += request.line
        self._world.faults += [Fault(**fault) for fault in request.faults]
        if request.refusals:
            name, times = request.refusals
            self._world.script += replies_from_json([refusal_of(name)] * times)
        if request.steps is not None:
            self._world.script += replies_from_json([{"steps": list(request.steps)}])
        self._world.advance(request.clock)
        if request.expired:
            self._world.access_tokens.clear()
            for record in self._store.snapshot().accounts:
                await self._store.change(record["id"], {"expiresAt": 1})
        if request.rotated:
            await self._rotate()
        if request.nameless:
            self._names.missing = request.nameless
            self._line.drop()

    async def _rotate(self) -> None:
        """As another gateway of the same store does, a moment before this one."""
        account_id = self._store.snapshot().accounts[0]["id"]
        async with self._store.lease(f"refresh-{account_id}", 60, wait=PATIENCE):
            record = self._store.snapshot().accounts[0]
            token = self._world.refresh_tokens.get((record["region"], record["refreshToken"]))
            if token is None or self._world.is_spent(token):
                return
            pair = self._world.rotate(token)
            ends = round((time.time() + pair.expires_in) * 1000)
            await self._store.change(
                account_id, {"accessToken": pair.access, "refreshToken": pair.refresh, "expiresAt": ends}
            )

    async def _forgive(self) -> None:
        """What was made ready and not met is over, and all accounts may serve again."""
        self._world.script.clear()
        self._world.faults.clear()
        self._line.faults.clear()
        self._names.missing = 0
        for user in self._world.users.values():
            user.used = 0.0  # of what odd figures charged
        for record in self._store.snapshot().accounts:
            if record.get("state") == "sign-in":
                self.played.broken.append(f"{record['label']} was lost: {record.get('stateReason')}")
            await self._store.change(record["id"], READY)

    async def _ask(self, request: Request) -> str:
        """How the answer ended, in a word."""
        calls = [step["tool"]["input"] for step in request.steps or () if "tool" in step]
        if {"cut": "tool"} in (request.steps or ()):
            calls = []
        try:
            async with asyncio.timeout(LONGEST):
                status, body = await self._answer(request)
        except TimeoutError:
            self.played.broken.append(f"no end after {LONGEST} s: {request.injected()}")
            return "no end"
        except aiohttp.ClientError as error:
            self.played.broken.append(f"{error!r}: {request.injected()}")
            return "broken off"
        if request.leaves:
            return "left"
        self._said.append(body)
        if wrong := broken_law(request.api, status, body, stream=request.stream, calls=calls):
            self.played.broken.append(f"{wrong} ({request.api}, {request.injected()})")
        failed = status != 200 or b"(KA-" in body
        return f"failed{' late' if status == 200 else ''}" if failed else "answered"

    async def _answer(self, request: Request) -> tuple[int, bytes]:
        url = f"{self._gateway.url}{request.api}"
        async with self._gateway.http.post(url, json=body_of(request), headers={"x-api-key": KEY}) as answer:
            if request.leaves:
                await answer.content.readany()
                answer.close()
                return 200, b""
            return answer.status, await answer.read()

    def _count(self, operation: str) -> int:
        return sum(call.operation == operation for call in self._world.calls)

    async def _serves_again(self) -> None:
        """With nothing wrong any more a request is answered, once the renewals under way are over."""
        until = time.monotonic() + 2 * RENEWAL_SECONDS + PATIENCE
        end = "failed"
        while end != "answered" and time.monotonic() < until:
            end = await self._ask(Request(api="/v1/messages", stream=True))
        if end != "answered":
            said = self._said[-1][-300:] if self._said else b""
            self.played.broken.append(f"it does not serve again: {end} {said!r}")

    # ------------------------------------------------------------------------------- what must hold after

    async def _afterwards(self) -> None:
        """A next start finds every account, with a sign-in that is still good, and nothing beside it."""
        store = FileStore(self._home.config, self._home.state / "locks")
        config = configuration.load(environment=self._home.environment, folder=self._home.config)
        async with open_parts(config, store, patience=SECONDS) as parts:
            await parts.pool.recover()
            records = store.snapshot().accounts
        if len(records) != self._plan.accounts:
            self.played.broken.append(f"{len(records)} of {self._plan.accounts} accounts are left")
        for record in records:
            token = self._world.refresh_tokens.get((record["region"], record["refreshToken"]))
            if token is None or self._world.is_spent(token):
                self.played.broken.append(f"the sign-in of {record['label']} is spent")
        until = time.monotonic() + PATIENCE  # a change that was begun is made, in a thread, behind all else
        while (left := self._left()) and time.monotonic() < until:
            await asyncio.sleep(0.05)
        if left:
            self.played.broken.append(f"files were left behind: {left}")

    def _left(self) -> list[str]:
        hidden = [path.name for path in self._home.config.iterdir() if path.name.startswith(".")]
        return hidden + [path.name for path in (self._home.state / "renewals").glob("*")]

    def _no_secret(self) -> None:
        """Tokens and secrets are in the store, and nowhere else."""
        world = self._world
        secrets = [
            *world.access_tokens,
            *(token for _, token in world.refresh_tokens),
            *(client.secret for client in world.clients.values()),
        ]
        places = {"answers": b"".join(self._said), "log": "\n".join(self._logs.said).encode()}
        for path in self._home.folder.rglob("*"):
            if path.is_file() and "kiro-accounts.json" not in path.name:
                places[path.name] = path.read_bytes()
        for name, data in places.items():
            if any(secret.encode() in data for secret in secrets):
                self.played.broken.append(f"a secret stands in {name}")


def body_of(request: Request) -> dict[str, Any]:
    """A request with one tool, as its API has it."""
    words: Any = [{"role": "user", "content": "Say hello."}]
    body: dict[str, Any] = {"model": "claude-sonnet-4-5", "stream": request.stream}
    name, schema = _TOOL["name"], _TOOL["schema"]
    if request.api == "/v1/messages":
        tool: Any = {"name": name, "input_schema": schema}
        return {**body, "messages": words, "max_tokens": 1000, "tools": [tool]}
    function = {"name": name, "parameters": schema}
    if request.api == "/v1/responses":
        return {**body, "input": words, "tools": [{"type": "function", **function}]}
    return {**body, "messages": words, "tools": [{"type": "function", "function": function}]}


def play(plan: Plan) -> Played:
    """One scenario, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(Stage(plan, Path(folder)).play())
