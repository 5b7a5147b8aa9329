"""How other programs are told of the gateway, each in the words of its own release.

Seen with Claude Code 2.1.331, Codex 0.169.0 and OpenCode 1.18.34.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.folders import state_folder
from kiro_auth.opencode.content import VARIABLE, with_ours
from kiro_auth.opencode.install import has_shim
from kiro_auth.opencode.models import FILE, Models, read_models
from kiro_auth.opencode.places import plugin_folders
from kiro_auth.opencode.release import find_release, generation

ELSEWHERE: Final = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")
"""Variables that send Claude Code to another service, which would bill somebody for it."""
CLAUDE_HEADERS: Final = "ANTHROPIC_CUSTOM_HEADERS"
_ONE_SERVICE: Final = Failure(
    code="KA-CONFIG",
    message="OpenCode 2.x sends the requests of all its windows from one service, so no window can have an "
    "account of its own.",
    next_step="Disable the others for a while (kiro-auth accounts disable NAME), or start Claude Code, Codex "
    "or OpenCode 1.x with --account.",
)
_PROXIES: Final = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


CODEX_KEY: Final = "KIRO_CODEX_KEY"
"""Where Codex finds the key.  Not KIRO_GATEWAY_KEY: that would be a further key of gateways started there."""


class Name(StrEnum):
    """The programs that can be started."""

    OPENCODE = "opencode"
    CLAUDE = "claude"
    CODEX = "codex"


class Endpoint(Struct, frozen=True):
    """All that another program is told of the gateway: its base address and the key it wants.

    `headers`, by their names in lower case, are what it sends with each request besides.  For so many hours,
    `waits`, an answer may consist of pings: see `gateway/scheduled_pause.py`.
    """

    url: str
    key: str
    headers: Mapping[str, str] = {}
    waits: int = 0


class Setup(Struct, frozen=True):
    """What a program needs: environment variables (None: unset), and arguments before the user's own."""

    variables: Mapping[str, str | None]
    arguments: tuple[str, ...] = ()


class Client(Struct, frozen=True):
    """A program: how it is installed, and its setup for a gateway, a model asked for and those there are."""

    package: str
    setup: Callable[[Endpoint, str | None, Models], Setup]


def _claude(gateway: Endpoint, asked: str | None, models: Models) -> Setup:
    """The names behind Claude Code's own words for models are newer than what Kiro may have."""
    model = asked or models.usual
    return Setup(
        {
            "ANTHROPIC_BASE_URL": gateway.url,
            "ANTHROPIC_AUTH_TOKEN": gateway.key,
            "ANTHROPIC_API_KEY": None,  # it would count before the token
            **dict.fromkeys(ELSEWHERE),
            "ANTHROPIC_MODEL": model,
            "ANTHROPIC_DEFAULT_SONNET_MODEL": model,
            "ANTHROPIC_DEFAULT_OPUS_MODEL": model,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": models.newest("haiku") or model,
            **_claude_headers(gateway.headers),
        }
    )


def _claude_headers(ours: Mapping[str, str]) -> dict[str, str]:
    """The user's own headers, a line each, and ours."""
    if not ours:
        return {}
    own = os.environ.get(CLAUDE_HEADERS, "").splitlines()
    kept = [line for line in own if line.partition(":")[0].strip().lower() not in ours]
    return {CLAUDE_HEADERS: "\n".join([*kept, *(f"{name}: {value}" for name, value in ours.items())])}


def _codex(gateway: Endpoint, asked: str | None, models: Models) -> Setup:
    settings = {
        "model": asked or models.usual,
        "model_provider": "kiro",
        "model_providers.kiro.name": "Kiro",
        "model_providers.kiro.base_url": f"{gateway.url}/v1",
        "model_providers.kiro.env_key": CODEX_KEY,
        "model_providers.kiro.wire_api": "responses",
        **{f"model_providers.kiro.http_headers.{name}": value for name, value in gateway.headers.items()},
    }
    words = [word for name, value in settings.items() for word in ("-c", f'{name}="{value}"')]
    if gateway.waits:  # pings are silence to it
        patience = gateway.waits * 3_600_000
        words += ["-c", f"model_providers.kiro.stream_idle_timeout_ms={patience}"]
    return Setup({CODEX_KEY: gateway.key}, tuple(words))


def _opencode(gateway: Endpoint, asked: str | None, models: Models) -> Setup:
    """Where the plugin is, it says all of the provider itself; without it, that is one like any other."""
    options: dict[str, Any] = {"headers": gateway.headers} if gateway.headers else {}
    content: dict[str, Any]
    if not any(map(has_shim, plugin_folders())):
        options |= {"baseURL": f"{gateway.url}/v1", "apiKey": gateway.key}
        listed = models.opencode1
        provider = {"name": "Kiro", "npm": "@ai-sdk/anthropic", "options": options, "models": listed}
        content = {"model": f"kiro/{asked or models.usual}", "provider": {"kiro": provider}}
    else:
        content = {"model": f"kiro/{asked}"} if asked else {}
        content |= {"provider": {"kiro": {"options": options}}} if options else {}
    return Setup({VARIABLE: with_ours(os.environ.get(VARIABLE, ""), content)} if content else {})


CLIENTS: Final[Mapping[Name, Client]] = {
    Name.OPENCODE: Client("opencode-ai", _opencode),
    Name.CLAUDE: Client("@anthropic-ai/claude-code", _claude),
    Name.CODEX: Client("@openai/codex", _codex),
}


def check_account_of_its_own(client: Name) -> None:
    """Whether what is started of this program can have an account of its own.  Raises ConfigFailed."""
    if client is Name.OPENCODE and generation(find_release()) == 2:
        raise ConfigFailed(_ONE_SERVICE)


def setup_of(client: Name, model: str | None, endpoint: Endpoint) -> Setup:
    """What this program needs to use the gateway, with the model that was asked for."""
    setup = CLIENTS[client].setup(endpoint, model, read_models(state_folder() / FILE))
    return Setup({**setup.variables, **_no_proxy(os.environ)}, setup.arguments)


def _no_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Where a proxy is set, the way to this machine must not lead through it: it would see the key."""
    if not any(environment.get(name) for name in _PROXIES):
        return {}
    hosts = ("127.0.0.1", "localhost", "::1")
    exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    without = ",".join(dict.fromkeys([*filter(None, exempt.split(",")), *hosts]))
    return {"NO_PROXY": without, "no_proxy": without}
