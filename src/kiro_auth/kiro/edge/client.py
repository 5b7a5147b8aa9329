"""The calls to the service: chat as a stream, and the few beside it: lists, usage, its own tools.

A call goes to the first endpoint of the table, and once to the next one when the first host itself is the
trouble; the host that worked is asked first from then on.  Everything that is not an answer becomes
TurnFailed here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from kiro_auth.failures import Cause, Failure, TurnFailed
from kiro_auth.json_values import object_in
from kiro_auth.kinds import KINDS, Kind
from kiro_auth.kiro import checked
from kiro_auth.kiro.edge.answer import LineFailed
from kiro_auth.kiro.edge.bounded import read_bounded
from kiro_auth.kiro.edge.chat import ChatReply, Way
from kiro_auth.kiro.edge.dialects import REST, add_dialect, in_query, rows
from kiro_auth.kiro.edge.endpoints import CHAT_PATH, Endpoint, Endpoints
from kiro_auth.kiro.edge.errors import (
    HostFailed,
    no_answer,
    refusal,
    translated,
    unanswered,
)
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.request.payload import Payload
from kiro_auth.kiro.uuids import random_uuid
from kiro_auth.off_loop import Run, at_once

T = TypeVar("T")

log = logging.getLogger("kiro_auth.client")

AGENT_MODE: Final = "vibe"

_CONTROL_SECONDS: Final = 30.0  # the longest a list or the usage may take
_MAX_PAGES: Final = 50

_TYPES_OF_A_PAGE: Final = ("text/html", "application/json", "application/x-amz-json-1.0")
"""Content types that no reply has; a 200 with one is a proxy's page or an error in disguise."""


class Credentials(Struct, frozen=True):
    """What a call needs of an account.  `region` is where its profile is served, `proxy` its own, if any."""

    kind: Kind
    token: str
    region: str
    profile_arn: str | None = None
    proxy: str | None = None

    def __repr__(self) -> str:
        """Without the token."""
        return f"Credentials({self.kind}, {self.region})"


class KiroClient:
    """Calls to the service.  `timeout` is the longest silence, in seconds, before and within an answer."""

    def __init__(self, lines: Lines, endpoints: Endpoints, *, timeout: float) -> None:
        self._lines = lines
        self._endpoints = endpoints
        self.timeout = timeout
        self._worked: dict[tuple[str, Kind, str], Endpoint] = {}

    # ------------------------------------------------------------------------------------------ chat

    async def chat(
        self, credentials: Credentials, build: Callable[[Endpoint], Payload], run: Run = at_once
    ) -> ChatReply:
        """Send one turn; `build`, done by `run`, makes its body for the endpoint that is asked.

        The reply is to be closed.  Raises TurnFailed for every answer that is none.
        """
        return await self._first_that_works(
            "runtime",
            credentials,
            lambda endpoint, headers: self._open(endpoint, credentials, build, run, headers),
        )

    async def _open(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        build: Callable[[Endpoint], Payload],
        run: Run,
        headers: dict[str, str],
    ) -> ChatReply:
        sent = await run(build, endpoint)
        for repair in sent.repairs:
            log.debug("repaired: %s", repair)
        if endpoint.protocol == "rest":
            url = endpoint.url + (endpoint.path or CHAT_PATH)
            headers["x-amzn-kiro-agent-mode"] = AGENT_MODE
        else:
            url = endpoint.url + (endpoint.path or "/")
        add_dialect(headers, endpoint, "GenerateAssistantResponse")
        way = Way(endpoint, url, credentials.region, own_proxy=credentials.proxy is not None)
        try:
            answer = await self._lines.ask(
                url, headers, sent.body, silence=self.timeout, proxy=credentials.proxy
            )
        except LineFailed as error:
            raise way.failed(error) from error
        try:
            if answer.status != 200 or answer.content_type in _TYPES_OF_A_PAGE:
                raise await refusal(answer)
            return ChatReply(answer, way, sent)
        except BaseException:
            answer.close()
            raise

    # ------------------------------------------------------------------------------- lists and usage

    async def list_models(self, credentials: Credentials) -> dict[str, Any]:
        """All pages as one answer: `models`, and `defaultModel` if named.  Raises TurnFailed."""
        pages = await self._pages("management", "ListAvailableModels", credentials, _arn(credentials))
        default = {
            name: page[name]
            for page in pages
            for name in ("defaultModel", "defaultModelId")
            if page.get(name)
        }
        return {"models": rows(pages, "models"), **default}

    async def list_profiles(self, credentials: Credentials) -> list[dict[str, Any]]:
        """The profiles of the credentials' region, whatever their status.  Raises TurnFailed."""
        return rows(await self._pages("profiles", "ListAvailableProfiles", credentials, {}), "profiles")

    async def usage_limits(self, credentials: Credentials) -> dict[str, Any]:
        """Plan, quota and identity, asked with the profile's ARN and, where that is refused, without.

        Raises TurnFailed.
        """
        wanted = {"resourceType": "AGENTIC_REQUEST", "isEmailRequired": True}
        call = self._control
        try:
            return await call("management", "GetUsageLimits", credentials, wanted | _arn(credentials))
        except TurnFailed as error:
            about_the_arn = error.failure.cause is Cause.REQUEST or error.failure.code in (
                "KA-PROFILE",
                "KA-ENTITLEMENT",
            )
            if not (credentials.profile_arn and about_the_arn):
                raise
            with_arn = error
        try:
            return await call("management", "GetUsageLimits", credentials, wanted)
        except TurnFailed:
            raise with_arn from None

    async def invoke_mcp(self, credentials: Credentials, request: Mapping[str, Any]) -> dict[str, Any]:
        """What the service's own tools answer to a JSON-RPC request.  Raises TurnFailed."""

        async def ask(endpoint: Endpoint, headers: dict[str, str]) -> dict[str, Any]:
            if credentials.profile_arn:
                headers["x-amzn-kiro-profile-arn"] = credentials.profile_arn
            sent = request if endpoint.protocol == "rest" else {**request, **_arn(credentials)}
            return await self._ask(endpoint, "InvokeMCP", credentials, sent, headers)

        return await self._first_that_works("tools", credentials, ask)

    async def _pages(
        self, role: str, operation: str, credentials: Credentials, members: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        pages: list[dict[str, Any]] = []
        token: str | None = None
        while len(pages) < _MAX_PAGES:
            page = await self._control(
                role, operation, credentials, {**members, "nextToken": token} if token else members
            )
            pages.append(page)
            before, token = token, checked.kept_token(page.get("nextToken"))
            if not token or token == before:
                break
        return pages

    async def _control(
        self, role: str, operation: str, credentials: Credentials, members: Mapping[str, Any]
    ) -> dict[str, Any]:
        async def ask(endpoint: Endpoint, headers: dict[str, str]) -> dict[str, Any]:
            sent = members
            if operation != "ListAvailableProfiles":
                sent = {**members, "origin": endpoint.origin}
            return await self._ask(endpoint, operation, credentials, sent, headers)

        return await self._first_that_works(role, credentials, ask)

    async def _ask(
        self,
        endpoint: Endpoint,
        operation: str,
        credentials: Credentials,
        members: Mapping[str, Any],
        headers: dict[str, str],
    ) -> dict[str, Any]:
        method, path = "POST", endpoint.path or "/"
        if endpoint.protocol == "rest":
            method, path = REST[operation]
        url = endpoint.url + path
        body = msgspec.json.encode(members) if method == "POST" else b""
        if method == "GET" and members:
            url += f"?{urlencode(in_query(members))}"
        headers["Accept"] = "application/json"
        add_dialect(headers, endpoint, operation)
        seconds = min(_CONTROL_SECONDS, self.timeout)
        called = self._lines.call(url, headers, body, seconds=seconds, proxy=credentials.proxy, method=method)
        with translated(url, credentials.region, own_proxy=credentials.proxy is not None):
            async with called as answer:
                if answer.status != 200:
                    raise await refusal(answer)
                raw = await read_bounded(answer)
        found = object_in(raw)
        if found is None:
            raise TurnFailed(no_answer(answer))
        return found

    # ----------------------------------------------------------------------------------- any request

    async def _first_that_works(
        self,
        role: str,
        credentials: Credentials,
        ask: Callable[[Endpoint, dict[str, str]], Awaitable[T]],
    ) -> T:
        """What `ask` gives for the first usable endpoint.

        Hosts that cannot be reached at all are passed over; a host that answers as if it did not know the
        operation is left for another once, no more, because each such call reaches the service.
        """
        place = (role, credentials.kind, credentials.region)
        order = self._endpoints.order(*place)
        worked = self._worked.get(place)
        if order and worked is not order[0] and worked in order:
            order = (worked, *(endpoint for endpoint in order if endpoint != worked))
        if not order:
            raise TurnFailed(
                Failure(
                    code="KA-CONFIG",
                    message=f"No endpoint is known for {role} with credentials of kind {credentials.kind}.",
                    next_step="Name one under endpoints in kiro.json.",
                )
            )
        common = _headers(credentials)
        moves = 1
        for number, endpoint in enumerate(order, 1):
            attempt = {"amz-sdk-request": f"attempt={number}; max={len(order)}"}
            try:
                answer = await ask(endpoint, common | attempt)
            except HostFailed as error:
                if not unanswered(error):
                    moves -= 1
                if number == len(order) or moves < 0:
                    raise
            except TurnFailed as error:
                if not unanswered(error):
                    self._worked[place] = endpoint
                raise
            else:
                self._worked[place] = endpoint
                return answer
        raise AssertionError("the last endpoint answers or raises")


def _headers(credentials: Credentials) -> dict[str, str]:
    headers = {
        "Authorization": f"Bearer {credentials.token}",
        "x-amzn-codewhisperer-optout": "true",  # contents are not to be used to improve the service
        "amz-sdk-invocation-id": random_uuid(os.urandom(16)),
    }
    if type_header := KINDS[credentials.kind].type_header:
        headers["TokenType"] = type_header
    return headers


def _arn(credentials: Credentials) -> dict[str, str]:
    return {"profileArn": credentials.profile_arn} if credentials.profile_arn else {}
