"""The catalogue that OpenCode fetches may list a provider `kiro` of its own: nothing stands twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.opencode import VERSIONS, OpenCode
from support.programs import Home

pytestmark = [
    pytest.mark.real,
    pytest.mark.clients,
    pytest.mark.older_releases,
    pytest.mark.usefixtures("signed_in"),
    pytest.mark.timeout(300),
]


def listed(id_: str, name: str) -> dict[str, Any]:
    """A model as the catalogue has it."""
    return {
        "id": id_,
        "name": name,
        "attachment": True,
        "reasoning": True,
        "temperature": False,
        "tool_call": True,
        "release_date": "2026-01-01",
        "last_updated": "2026-01-01",
        "modalities": {"input": ["text", "image"], "output": ["text"]},
        "open_weights": False,
        "limit": {"context": 1_000_000, "output": 64_000},
        "cost": {"input": 0, "output": 0},
    }


CATALOGUE = {
    "kiro": {
        "id": "kiro",
        "name": "Kiro",
        "env": ["KIRO_API_KEY"],
        "npm": "kiro-acp-ai-provider",
        "doc": "https://kiro.dev",
        "models": {
            "auto": listed("auto", "Auto"),
            "claude-sonnet-4.6": listed("claude-sonnet-4.6", "Claude Sonnet 4.6"),
            "claude-haiku-4.5": listed("claude-haiku-4.5", "Claude Haiku 4.5"),
        },
    }
}


class WithCatalogue(OpenCode):
    """One release, with that catalogue."""

    @property
    def environment(self) -> dict[str, str]:
        catalogue = self.home.folder / "catalogue.json"
        catalogue.write_text(json.dumps(CATALOGUE))
        return {**super().environment, "OPENCODE_MODELS_PATH": str(catalogue)}


@pytest.fixture(params=VERSIONS)
def opencode(request: pytest.FixtureRequest, home: Home) -> OpenCode:
    """Each release, also the older ones, with that catalogue and a model of the user's own."""
    opencode = WithCatalogue(request.param, home)
    home.run("models")  # which writes the plan's list down
    own = {"name": "Mine", "id": "claude-haiku-4-5", "limit": {"context": 200_000, "output": 64_000}}
    opencode.configure(json.dumps({"provider": {"kiro": {"models": {"my-own": own}}}}))
    return opencode


def test_without_the_plugin_the_catalogue_s_models_are_there(opencode: OpenCode, home: Home) -> None:
    """Or the test below would show nothing."""
    home.run("uninstall", "opencode")
    home.environment["KIRO_API_KEY"] = "ksk_of_nobody"
    assert "kiro/claude-sonnet-4.6" in opencode.run("models", "kiro").stdout.split()


def test_every_listed_model_stands_once_and_answers(opencode: OpenCode) -> None:
    models = [name.removeprefix("kiro/") for name in opencode.run("models", "kiro").stdout.split()]
    shown = {
        "my-own",
        "claude-sonnet-4-5",
        "claude-sonnet-4-5-thinking",
        "claude-haiku-4-5",
        "claude-opus-4-6",
    }
    assert len(models) == len(set(models))
    assert shown <= set(models)
    assert not {"claude-sonnet-4.6", "claude-haiku-4.5"} & set(models)  # the catalogue's names of them

    with opencode.serving() as served:
        answers = {model: served.ask("Say hello.", model) for model in models}

    assert {
        model: said for model, said in answers.items() if "Hello from the simulated model" not in said
    } == {}
