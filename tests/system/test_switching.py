"""From the original plugin to this one with one command, and back; and every model there is, asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support import foreign
from support.opencode import VERSIONS, OpenCode, Served
from support.programs import Home, Simulator

pytestmark = [pytest.mark.real, pytest.mark.clients, pytest.mark.timeout(400)]

# What the original's README tells its users to write, word for word: they have it in their files.
OPENCODE_JSON = """{
  "plugin": ["@zhafron/opencode-kiro-auth"],
  "provider": {
    "kiro": {
      "models": {
        "claude-sonnet-4-5": {
          "name": "Claude Sonnet 4.5",
          "limit": { "context": 200000, "output": 64000 },
          "modalities": { "input": ["text", "image", "pdf"], "output": ["text"] }
        },
        "claude-sonnet-4-5-thinking": {
          "name": "Claude Sonnet 4.5 Thinking",
          "limit": { "context": 200000, "output": 64000 },
          "modalities": { "input": ["text", "image", "pdf"], "output": ["text"] },
          "variants": {
            "low": { "thinkingConfig": { "thinkingBudget": 8192 } },
            "medium": { "thinkingConfig": { "thinkingBudget": 16384 } },
            "high": { "thinkingConfig": { "thinkingBudget": 32768 } }
          }
        },
        "claude-haiku-4-5": {
          "name": "Claude Haiku 4.5",
          "limit": { "context": 200000, "output": 64000 },
          "modalities": { "input": ["text", "image"], "output": ["text"] }
        },
        "claude-opus-4-5": {
          "name": "Claude Opus 4.5",
          "limit": { "context": 200000, "output": 64000 },
          "modalities": { "input": ["text", "image", "pdf"], "output": ["text"] }
        },
        "claude-opus-4-5-thinking": {
          "name": "Claude Opus 4.5 Thinking",
          "limit": { "context": 200000, "output": 64000 },
          "modalities": { "input": ["text", "image", "pdf"], "output": ["text"] },
          "variants": {
            "low": { "thinkingConfig": { "thinkingBudget": 8192 } },
            "medium": { "thinkingConfig": { "thinkingBudget": 16384 } },
            "high": { "thinkingConfig": { "thinkingBudget": 32768 } }
          }
        },
        "claude-sonnet-4-5-1m": {
          "name": "Claude Sonnet 4.5 1M",
          "limit": { "context": 1000000, "output": 64000 },
          "modalities": { "input": ["text", "image", "pdf"], "output": ["text"] }
        },
        "qwen3-coder-480b": {
          "name": "Qwen3 Coder 480B",
          "limit": { "context": 200000, "output": 64000 },
          "modalities": { "input": ["text"], "output": ["text"] }
        }
      }
    }
  }
}
"""
KIRO_JSON = """{
  "auto_sync_kiro_cli": true,
  "account_selection_strategy": "lowest-usage",
  "default_region": "us-east-1",
  "rate_limit_retry_delay_ms": 5000,
  "rate_limit_max_retries": 3,
  "max_request_iterations": 20,
  "request_timeout_ms": 120000,
  "token_expiry_buffer_ms": 120000,
  "usage_sync_max_retries": 3,
  "auth_server_port_start": 19847,
  "auth_server_port_range": 10,
  "builder_id_start_url": "https://view.awsapps.com/start",
  "usage_tracking_enabled": true,
  "usage_toast_enabled": false,
  "enable_log_api_request": false
}
"""
SERVED_AS = {
    "claude-sonnet-4-5": "claude-sonnet-4.5",
    "claude-sonnet-4-5-thinking": "claude-sonnet-4.5",
    "claude-haiku-4-5": "claude-haiku-4.5",
    "claude-opus-4-5": "claude-opus-4.5",
    "claude-opus-4-5-thinking": "claude-opus-4.5",
    "claude-sonnet-4-5-1m": "claude-sonnet-4.5",
    "qwen3-coder-480b": "qwen3-coder-480b",
}
"""The README's models, and what the service is asked for."""


def ask_all(opencode: OpenCode, models: list[str]) -> dict[str, str]:
    """What each model says; of one that fails, the error."""
    with opencode.serving() as server:
        return {model: server.ask("Say hello.", model=model) for model in models}


def answers(simulator: Simulator, number: int) -> None:
    """That many replies."""
    simulator.script(*({"steps": [{"text": "Hello"}, {"text": " there."}]} for _ in range(number)))


def asked_for(simulator: Simulator) -> list[str]:
    """The models that the service was asked for."""
    states = [call["body"]["conversationState"] for call in simulator.calls()]
    return [state["currentMessage"]["userInputMessage"]["modelId"] for state in states]


def test_one_command_takes_the_place_of_the_original_and_one_goes_back(
    opencode: OpenCode, home: Home, simulator: Simulator
) -> None:
    home.config.mkdir(parents=True, exist_ok=True)
    config = home.config / "opencode.json"
    config.write_text(OPENCODE_JSON)
    (home.config / "kiro.json").write_text(KIRO_JSON)
    database = home.config / "kiro.db"
    foreign.original(database, foreign.ORIGINAL_1_5, [held_by_the_original(simulator)])

    said = home.run("install", "opencode", "--yes").stdout

    assert f"@zhafron/opencode-kiro-auth is taken out of {config}" in said
    assert json.loads(config.read_text()) == {**json.loads(OPENCODE_JSON), "plugin": []}
    assert (home.config / "kiro.json").read_text() == KIRO_JSON
    assert home.json("config", "check") == {"problems": []}
    listed = opencode.run("models", "kiro").stdout.split()
    assert set(listed) >= {f"kiro/{model}" for model in SERVED_AS}
    answers(simulator, len(SERVED_AS))
    said_by = ask_all(opencode, list(SERVED_AS))
    assert {model for model, text in said_by.items() if "Hello there." in text} == set(SERVED_AS), said_by
    assert sorted(asked_for(simulator)) == sorted(SERVED_AS.values())
    assert simulator.calls("RegisterClient") == [], "somebody had to sign in again"

    said = home.run("uninstall", "opencode").stdout

    assert f"Restored: {config}" in said
    assert config.read_text() == OPENCODE_JSON
    assert not (home.config / "plugin" / "kiro.js").exists()


@pytest.mark.parametrize(
    ("place", "variable", "value"),
    [
        pytest.param("dotfiles/my [1].json", "OPENCODE_CONFIG", "dotfiles/my [1].json", id="a-file-named"),
        pytest.param("dotfiles/opencode.jsonc", "OPENCODE_CONFIG_DIR", "dotfiles", id="a-folder-named"),
        pytest.param(".opencode/opencode.json", "UNUSED", "", id="in-the-home-folder"),
    ],
)
def test_wherever_opencode_reads_configuration_it_is_looked_through(
    opencode: OpenCode, home: Home, signed_in: Home, place: str, variable: str, value: str
) -> None:
    config = home.folder / place
    config.parent.mkdir()
    config.write_text(
        '{"plugin": ["./kiro.ts"], "provider": {"kiro": {"models": {"mine": {"name": "Mine"}}}}}'
    )
    (config.parent / "kiro.ts").write_text(
        "export const Kiro = async () => { console.log('OTHER') ; return {} }"
    )
    home.environment[variable] = str(home.folder / value)
    assert "OTHER" in opencode.run("models", "kiro").stdout
    before = config.read_text()  # with the schema's address, which OpenCode may add

    home.run("install", "opencode", "--yes")

    listed = opencode.run("models", "kiro").stdout
    assert ("OTHER" in listed, "kiro/mine" in listed) == (False, True)
    home.run("uninstall", "opencode")
    assert config.read_text() == before


@pytest.mark.parametrize("place", [".config/opencode/plugins", ".opencode/plugin", "own/plugins"])
def test_a_file_that_opencode_always_loads_is_told_of(opencode: OpenCode, home: Home, place: str) -> None:
    (home.folder / "own").mkdir()  # 1.14 wants it to be there
    home.environment["OPENCODE_CONFIG_DIR"] = str(home.folder / "own")
    other = home.folder / place / "opencode-kiro-auth.ts"
    other.parent.mkdir(parents=True)
    other.write_text("export const Kiro = async () => { console.log('OTHER') ; return {} }")

    said = home.run("install", "opencode").stderr

    assert f"OpenCode loads {other} as well." in said
    assert "OTHER" in opencode.run("models").stdout


def held_by_the_original(simulator: Simulator) -> dict[str, Any]:
    """A row of its database, with a sign-in that the services know."""
    tokens = simulator.ask("sign-in", {"user": "ada@example.com"})
    return {
        "id": "a1", "email": "ada@example.com", "auth_method": "idc", "region": tokens["region"],
        "client_id": tokens["clientId"], "client_secret": tokens["clientSecret"],
        "refresh_token": tokens["refreshToken"], "access_token": tokens["accessToken"],
        "expires_at": round((time.time() + tokens["expiresIn"]) * 1000),
        "is_healthy": 1, "rate_limit_reset": 0, "last_used": 0, "fail_count": 0,
    }  # fmt: skip


@pytest.fixture(scope="module", params=VERSIONS)
def switched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Simulator]]:
    """OpenCode with the configuration of the original's README, after this plugin took its place."""
    home = Home(tmp_path_factory.mktemp("home"))
    opencode = OpenCode(request.param, home)
    (home.config / "opencode.json").write_text(OPENCODE_JSON)
    with home.simulator("--auto-approve") as simulator:
        home.run("install", "opencode", "--yes")
        home.run("login", "--builder-id", "--no-browser")
        with opencode.serving() as server:
            yield server, simulator
        home.stop_gateway()


VARIANTS = [("low", 8192), ("medium", 16384), ("high", 32768)]
THINKING = ["claude-sonnet-4-5-thinking", "claude-opus-4-5-thinking"]


@pytest.mark.parametrize(("variant", "budget"), VARIANTS)
@pytest.mark.parametrize("model", THINKING)
def test_the_variants_of_the_original_s_readme_reach_the_service(
    switched: tuple[Served, Simulator], model: str, variant: str, budget: int
) -> None:
    server, simulator = switched
    before = len(simulator.calls())

    server.ask("Think.", model=model, variant=variant)

    [call] = simulator.calls()[before:]
    assert f"<max_thinking_length>{budget}<" in json.dumps(call["body"])


def test_every_listed_model_answers_after_one_install_and_one_sign_in(
    opencode: OpenCode, signed_in: Home, simulator: Simulator
) -> None:
    listed = [name.removeprefix("kiro/") for name in opencode.run("models", "kiro").stdout.split()]
    service = {model["id"] for model in signed_in.json("models")["models"]}
    answers(simulator, len(listed))

    said_by = ask_all(opencode, listed)

    assert {model for model, text in said_by.items() if "Hello there." not in text} == set(), said_by
    assert set(listed) == {name.replace(".", "-") for name in service} | {"claude-sonnet-4-5-thinking"}
