"""`run` and `env` without the real clients: the model to begin with, and a note when nobody is signed in."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.opencode.models import write_models
from kiro_auth.surfaces.surface import ModelCard
from support.programs import Home, Services, Simulator
from support.storing import HandStore
from system.test_doors import Answer, Door


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    program = tmp_path / "bin" / "codex"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "started $*"\n')
    program.chmod(0o700)
    home.environment["PATH"] = f"{program.parent}{os.pathsep}{home.environment['PATH']}"
    yield home
    home.stop_gateway()


def content(home: Home, *arguments: str) -> dict[str, Any]:
    told = home.json("env", *arguments, "opencode")["variables"]
    return json.loads(told["OPENCODE_CONFIG_CONTENT"]) if "OPENCODE_CONFIG_CONTENT" in told else {}


@pytest.mark.clients
def test_opencode_with_the_plugin_keeps_its_own_model_unless_one_is_asked_for(home: Home) -> None:
    assert content(home)["model"] == "kiro/auto"
    assert content(home, "--model", "claude-haiku-4-5")["model"] == "kiro/claude-haiku-4-5"

    home.run("install", "opencode")

    assert content(home) == {}
    assert content(home, "--model", "claude-haiku-4-5") == {"model": "kiro/claude-haiku-4-5"}


def test_while_no_list_is_known_the_choice_is_kiro_s(home: Home) -> None:
    assert home.json("env", "claude")["variables"]["ANTHROPIC_MODEL"] == "auto"
    assert 'model="auto"' in home.json("env", "codex")["arguments"]


@pytest.mark.clients
def test_with_a_list_all_begin_with_the_model_that_the_service_names(home: Home) -> None:
    listed = [model("claude-sonnet-7-1"), model("claude-haiku-6"), model("new-1", default=True)]
    write_models(home.state / "models.json", listed, complete=True)

    told = home.json("env", "claude")["variables"]
    names = ("ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL")
    assert [told[name] for name in names] == ["new-1", "new-1", "claude-haiku-6"]
    assert 'model="new-1"' in home.json("env", "codex")["arguments"]
    assert content(home)["model"] == "kiro/new-1"

    write_models(home.state / "models.json", listed[:1], complete=True)
    told = home.json("env", "claude")["variables"]
    assert [told[name] for name in names] == ["claude-sonnet-7-1"] * 3
    assert home.json("env", "--model", "m", "claude")["variables"]["ANTHROPIC_MODEL"] == "m"


RETIRED = {"models": ["claude-sonnet-4.6", "claude-sonnet-6.2", "claude-haiku-5"], "defaultModel": None}


@pytest.fixture
def signed_in(home: Home, services: Services) -> tuple[Home, Simulator]:
    simulator = services.begin(home, auto_approve=True)
    home.run("login", "--builder-id", "--no-browser")
    return home, simulator


@pytest.mark.clients
def test_programs_begin_with_what_the_service_names_else_with_the_newest_sonnet(
    signed_in: tuple[Home, Simulator],
) -> None:
    home, simulator = signed_in
    begun = [home.json("env", "claude")["variables"]["ANTHROPIC_MODEL"]]
    for settings in (RETIRED, RETIRED | {"defaultModel": "claude-haiku-5"}):
        simulator.ask("settings", settings)
        home.run("models")
        begun.append(home.json("env", "claude")["variables"]["ANTHROPIC_MODEL"])

    assert begun == ["auto", "claude-sonnet-6-2", "claude-haiku-5"]


def test_a_list_that_was_never_read_is_asked_for_before_a_program_begins(
    signed_in: tuple[Home, Simulator],
) -> None:
    home, simulator = signed_in
    simulator.ask("settings", RETIRED)
    (home.state / "models.json").unlink()

    assert home.json("env", "claude")["variables"]["ANTHROPIC_MODEL"] == "claude-sonnet-6-2"


def test_a_retired_model_is_told_with_the_nearest_one_that_is_listed(
    signed_in: tuple[Home, Simulator],
) -> None:
    home, simulator = signed_in
    simulator.ask("settings", RETIRED)
    home.run("models")

    told = home.run("run", "--model", "claude-sonnet-4-5", "codex").stderr
    assert "'claude-sonnet-4-5' is unknown, or not part of the account's plan or region (KA-MODEL)." in told
    assert "The nearest that is listed is claude-sonnet-4-6;" in told
    for known in ("claude-sonnet-4.6", "claude-sonnet-6-2-thinking"):
        assert home.run("run", "--model", known, "codex").stderr == ""
    home.environment["KIRO_MODEL_ALIASES"] = json.dumps({"Mine": "claude-haiku-5"})
    assert home.run("run", "--model", "mine", "codex").stderr == ""


def test_a_retired_model_is_refused_by_the_gateway_with_the_nearest_one(
    signed_in: tuple[Home, Simulator],
) -> None:
    home, simulator = signed_in
    simulator.ask("settings", RETIRED)
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}

    def asked(url: str, model: str) -> Answer:
        return Door(url).ask("POST", "/v1/messages", json.dumps(body | {"model": model}).encode())

    with home.gateway() as url:
        refused, answered = asked(url, "claude-sonnet-4-5"), asked(url, "claude-sonnet-4-6")

    assert refused.status == 404
    assert "The nearest that is listed is claude-sonnet-4-6;" in refused.failure("/v1/messages")["message"]
    assert answered.status == 200


def model(id_: str, *, default: bool = False) -> ModelCard:
    inputs = frozenset({"text"})
    return ModelCard(
        id=id_, name=id_, context_window=1000, max_output=10, inputs=inputs, thinks=False, default=default
    )


# --------------------------------------------------------------------------- one account for it

HEADERS, CONTENT = "ANTHROPIC_CUSTOM_HEADERS", "OPENCODE_CONFIG_CONTENT"
ADA, GRACE = "a" * 32, "b" * 32


@pytest.fixture
def two(home: Home) -> Home:
    store = HandStore(home.config, home.state / "locks")
    for id_, email in ((ADA, "ada@example.com"), (GRACE, "grace@example.com")):
        store.add_account({"id": id_, "realEmail": email, "accessToken": "t", "expiresAt": 4e12})
    return home


def codex_argument(home: Home, *options: str) -> list[str]:
    return [word for word in home.json("env", *options, "codex")["arguments"] if "http_headers" in word]


@pytest.mark.clients
def test_each_program_is_told_the_account_in_its_own_way(two: Home) -> None:
    told = two.json("env", "--account", "Grace@Example.com", "claude")["variables"]

    assert told[HEADERS] == f"x-kiro-account: {GRACE}"
    assert codex_argument(two, "--account", "ada") == [
        f'model_providers.kiro.http_headers.x-kiro-account="{ADA}"'
    ]
    kiro = content(two, "--account", "ada")["provider"]["kiro"]
    assert kiro["options"]["headers"] == {"x-kiro-account": ADA}
    assert kiro["options"]["baseURL"].startswith("http://127.0.0.1:")


def test_with_the_plugin_opencode_is_told_the_account_and_nothing_else(two: Home) -> None:
    two.run("install", "opencode")

    bound = {"provider": {"kiro": {"options": {"headers": {"x-kiro-account": ADA}}}}}
    assert content(two, "--account", "ada") == bound
    assert content(two, "--account", "ada", "--model", "m") == {"model": "kiro/m", **bound}


def test_without_an_account_nothing_is_said_of_one(two: Home) -> None:
    assert HEADERS not in two.json("env", "claude")["variables"]
    assert codex_argument(two) == []
    assert "headers" not in content(two)["provider"]["kiro"]["options"]


def test_headers_of_the_user_s_own_stay_and_an_earlier_account_goes(two: Home) -> None:
    two.environment[HEADERS] = f"x-team: red\nX-Kiro-Account: {ADA}\nx-other: a: b"

    told = two.json("env", "--account", "grace", "claude")["variables"]

    assert told[HEADERS] == f"x-team: red\nx-other: a: b\nx-kiro-account: {GRACE}"


@pytest.mark.parametrize("own", [None, "x-team: red"])
def test_env_without_an_account_undoes_one_of_before(two: Home, own: str | None) -> None:
    two.environment[HEADERS] = "\n".join(filter(None, [own, f"x-kiro-account: {ADA}"]))

    assert two.json("env", "claude")["variables"][HEADERS] == own


@pytest.mark.parametrize("has_plugin", [False, True])
@pytest.mark.clients
def test_env_without_an_account_undoes_one_of_before_for_opencode(two: Home, has_plugin: bool) -> None:
    if has_plugin:
        two.run("install", "opencode")
    two.environment[CONTENT] = '{"theme": "dark"}'
    plain = two.json("env", "opencode")["variables"].get(CONTENT)
    two.environment[CONTENT] = two.json("env", "--account", "ada", "opencode")["variables"][CONTENT]
    assert ADA in two.environment[CONTENT]

    after = two.json("env", "opencode")["variables"][CONTENT]

    assert json.loads(after) == json.loads(plain or '{"theme": "dark"}')


@pytest.mark.clients
def test_behind_a_proxy_env_says_too_that_opencode_with_the_plugin_needs_nothing_else(two: Home) -> None:
    two.run("install", "opencode")
    two.environment["HTTPS_PROXY"] = "http://127.0.0.1:9"

    done = two.run("env", "opencode")

    assert "NO_PROXY" in done.stdout
    assert "opencode has the plugin, which finds the gateway." in done.stderr


def test_lines_for_the_shell_hold_headers_of_several_lines(two: Home) -> None:
    two.environment[HEADERS] = "x-team: it's red"
    lines = two.run("env", "--account", "ada", "claude").stdout

    shown = subprocess.run(
        ["sh", "-c", f'eval "$LINES"; printf "%s" "${HEADERS}"'],
        env={"PATH": os.environ["PATH"], "LINES": lines},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown == f"x-team: it's red\nx-kiro-account: {ADA}"


@pytest.mark.parametrize("verb", ["run", "env"])
@pytest.mark.parametrize(
    ("account", "sentence"),
    [
        (
            "nobody",
            "No account is called 'nobody' (KA-ACCOUNT). Your accounts: a***@example.com, g***@example.com.",
        ),
        pytest.param(
            "example",
            "'example' fits more than one account: a***@example.com, g***@example.com (KA-ACCOUNT).",
            marks=pytest.mark.clients,
        ),
        pytest.param(
            "",
            "No account is called '' (KA-ACCOUNT). Your accounts: a***@example.com, g***@example.com.",
            marks=pytest.mark.clients,
        ),
        (
            "grace",
            "The account g***@example.com is disabled (KA-ACCOUNT). To use it again: kiro-auth ",
        ),
    ],
    ids=["unknown", "several", "empty", "disabled"],
)
def test_an_account_that_cannot_serve_it_is_refused_before_anything_starts(
    two: Home, verb: str, account: str, sentence: str
) -> None:
    two.run("accounts", "disable", "grace")
    done = two.run(verb, "--account", account, "codex", check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {sentence}")
    assert not (two.state / "gateway.json").exists()


@pytest.mark.clients
def test_opencode_2_which_has_one_service_for_all_windows_is_refused_by_name(two: Home) -> None:
    program = two.folder / "bin" / "opencode"
    program.write_text('#!/bin/sh\necho "opencode v2.1.0"\n')
    program.chmod(0o700)

    done = two.run("env", "--account", "ada", "opencode", check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "error: OpenCode 2.x sends the requests of all its windows from one service"
    )
    assert not (two.state / "gateway.json").exists()
    assert two.run("env", "opencode").returncode == 0


@pytest.mark.clients
def test_a_program_that_starts_with_nobody_signed_in_comes_with_a_note(home: Home) -> None:
    done = home.run("run", "codex")

    assert "note: No account yet. Sign in: kiro-auth login." in done.stderr
    assert done.stdout.startswith("started")
    home.environment["KIRO_API_KEY"] = "ksk_simulated_ada_0001"
    assert "note" not in home.run("run", "codex").stderr
