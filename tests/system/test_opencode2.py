"""The plugin in OpenCode 2.x: an imitated plugin host drives the real plugin, gateway and simulator."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.opencode.install import install_shim
from kiro_auth.surfaces.wording import final_wording
from support.opencode import written_under
from support.opencode2 import Host, HostError, events_of, host, opened
from support.programs import KIRO_AUTH, Home, Simulator

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

RUNTIMES = ["node", pytest.param("bun", marks=pytest.mark.clients)]
REFUSED = "Plugin must export a default definition with an id and an effect or setup function."
START_URL = "https://d-1234567890.awsapps.com/start"
CATALOGUE = [
    {
        "info": {"id": "kiro", "name": "Kiro", "activation": "auto", "package": "aisdk:kiro-acp-ai-provider"},
        "models": [{"id": id_, "modelID": id_, "enabled": True} for id_ in ("auto", "claude-sonnet-4.6")],
    }
]
WRITE = {
    "name": "write",
    "description": "Write a file.",
    "input_schema": {
        "type": "object",
        "properties": {"filePath": {"type": "string"}, "content": {"type": "string"}},
        "required": ["filePath", "content"],
    },
}


def wait_until(right: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not right():
        assert time.monotonic() < end
        time.sleep(0.1)


def running(home: Home) -> dict[str, Any]:
    return dict(json.loads((home.state / "gateway.json").read_text()))


@pytest.fixture(params=RUNTIMES)
def two(request: pytest.FixtureRequest, signed_in: Home) -> Iterator[Host]:
    """The plugin as `install` leaves it, in one location, with an account."""
    with opened(signed_in, runtime=request.param) as service:
        yield service


# ------------------------------------------------------------------------------------ what is loaded


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param("export const Kiro = async () => ({})", 'Missing key at ["default"]', id="named"),
        pytest.param("export default async () => ({})", 'Expected object at ["default"]', id="function"),
        pytest.param("export default { id: 'x', server() {} }", '["setup"]', id="only for 1.x"),
        pytest.param("export default { setup() {} }", '["id"]', id="without an id"),
    ],
)
def test_the_host_refuses_what_2x_refuses(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / "bad.mjs").write_text(text)
    with host(Home(tmp_path)) as service, pytest.raises(HostError) as refused:
        service.ask("load", file=str(tmp_path / "bad.mjs"))
    assert str(refused.value).startswith(REFUSED)
    assert cause in str(refused.value)


def test_what_install_writes_is_loaded_from_its_folders_and_refused_as_a_path_of_the_list(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    plugin = install_shim(home.config, ["never started"])
    with host(home) as service:
        files = service.ask("discover", root=str(home.config))
        loaded = [service.ask("load", file=file) for file in files]
        with pytest.raises(HostError, match="must be a directory"):
            service.ask("discover", root=str(home.config), listed=[str(plugin)])
    assert files == [str(plugin), str(home.config / "plugins" / "kiro-auth" / "index.js")]
    assert [one["id"] for one in loaded] == ["kiro-auth", "kiro-auth-window"]


@pytest.mark.parametrize("context", ["preview", "2.0.3"])
def test_in_previews_and_before_2_0_4_nothing_is_registered(signed_in: Home, context: str) -> None:
    with opened(signed_in, context=context) as service:
        assert service.ask("methods")["methods"] == []
        assert service.models() == []
        service.ask("close")
        said = service.said()
    needs = "The Kiro plugin needs OpenCode 2.0.4 or newer; this is 2.0.3. Run: opencode upgrade\n"
    assert said == (needs if context == "2.0.3" else "")


# --------------------------------------------------------------------------------- without an account


def test_without_an_account_there_is_the_sign_in_and_nothing_else_happens(home: Home, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            raise RuntimeError("strace is needed; .ci/run installs it")
        pytest.skip("strace is not installed")
    home.run("install", "opencode")
    before, trace = written_under(home.folder), tmp_path / "trace"
    tracing = ("strace", "-f", "-qq", "-e", "trace=execve,connect", "-o", str(trace))

    with opened(home, before=tracing, catalogue=CATALOGUE, integrations={"kiro": "Kiro"}) as service:
        time.sleep(2.5)  # files are looked at every two seconds
        listed = service.ask("available")
        methods = [method["id"] for method in service.ask("methods")["methods"]]
        service.ask("close")

    assert (listed, methods) == ([], ["builder-id", "idc"])
    assert written_under(home.folder) - {"host.log", "trace"} == before - {"host.log", "trace"}
    calls = trace.read_text()
    assert calls.count("execve(") == 1  # the host itself
    assert "AF_INET" not in calls


# ------------------------------------------------------------------------------------------- sign-in


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_sign_in_with_builder_id_then_a_turn(home: Home, simulator: Simulator, runtime: str) -> None:
    home.run("install", "opencode")
    with opened(home, runtime=runtime, catalogue=CATALOGUE) as service:
        shown = service.ask("authorize", method="builder-id", answer={})
        credential = service.ask("credential", method="builder-id")

        assert shown["url"].startswith("http")
        assert shown["instructions"].startswith("Confirm the code ")
        assert shown["expiresAt"] > time.time() * 1000 + 600_000  # OpenCode itself waits ten minutes
        assert (credential["refresh"], credential["access"]) == ("", "kept-by-the-gateway")
        assert credential["expires"] > time.time() * 1000 + 1e10  # OpenCode does not renew it
        assert "provider" in service.ask("reloads")
        wait_until(lambda: "claude-opus-4-6" in service.models())
        assert "claude-sonnet-4.6" not in service.models()  # the catalogue's
        turn = service.turn("Say hello.")
    assert turn["status"] == 200
    assert "Hello from the simulated model" in turn["words"]
    assert [account["authMethod"] for account in home.accounts()] == ["idc"]


@pytest.mark.parametrize(
    "typed",
    [pytest.param(True, id="typed"), pytest.param(False, id="as configured", marks=pytest.mark.clients)],
)
def test_sign_in_with_an_organisation(home: Home, simulator: Simulator, typed: bool) -> None:
    answer = {"startUrl": START_URL, "region": "eu-north-1"}
    if not typed:
        home.environment |= {"KIRO_SSO_START_URL": START_URL, "KIRO_SSO_REGION": "eu-north-1"}
        answer = {}
    home.run("install", "opencode")
    with opened(home) as service:
        (method,) = [one for one in service.ask("methods")["methods"] if one["id"] == "idc"]
        service.ask("authorize", method="idc", answer=answer)
        service.ask("credential", method="idc")

    assert method["label"] == "AWS SSO (IAM Identity Center)"
    assert [field["key"] for field in method["form"]] == ["startUrl", "region"]
    assert {field["type"] for field in method["form"]} == {"string"}
    (account,) = home.accounts()
    assert (account["ssoStartUrl"], account["region"]) == (START_URL, "eu-north-1")


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        pytest.param(lambda s, code: s.ask("deny", {"userCode": code}), "declined", id="denied"),
        pytest.param(
            lambda s, _: s.ask("advance", {"seconds": 3600}),
            "expired",
            id="expired",
            marks=pytest.mark.clients,
        ),
    ],
)
def test_a_sign_in_that_fails_says_why(
    home: Home, order: Callable[[Simulator, str], Any], reason: str
) -> None:
    with home.simulator() as simulator:
        home.run("install", "opencode")
        with opened(home) as service:
            shown = service.ask("authorize", method="builder-id", answer={})
            order(simulator, shown["instructions"].split()[3].rstrip("."))
            with pytest.raises(HostError) as failed:
                service.ask("credential", method="builder-id")
    assert reason in str(failed.value)
    assert "undefined" not in str(failed.value)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        pytest.param({"startUrl": "not an address"}, "not an address", id="no address"),
        pytest.param({"startUrl": START_URL, "region": "nowhere"}, "nowhere", id="no region"),
    ],
)
def test_a_sign_in_that_cannot_begin_names_what_is_wrong(
    home: Home, simulator: Simulator, answer: dict[str, str], names: str
) -> None:
    home.run("install", "opencode")
    with opened(home) as service, pytest.raises(HostError, match=names):
        service.ask("authorize", method="idc", answer=answer)


def test_a_sign_in_without_a_gateway_says_what_to_do(home: Home) -> None:
    install_shim(home.config, ["/nowhere/python"])
    with opened(home) as service, pytest.raises(HostError) as failed:
        service.ask("authorize", method="builder-id", answer={})
    assert "The Kiro gateway did not start: " in str(failed.value)
    assert "kiro-auth install opencode" in str(failed.value)


def test_a_sign_in_ends_with_the_location(home: Home) -> None:
    with home.simulator():
        home.run("install", "opencode")
        with opened(home) as service:
            service.ask("authorize", method="builder-id", answer={})
            service.ask("close")
            with pytest.raises(HostError, match="given up"):
                service.ask("credential", method="builder-id")


# ---------------------------------------------------------------------------------- models and turns


def test_models_have_limits_variants_modalities_and_families(signed_in: Home) -> None:
    signed_in.run("models")  # which writes the plan's list down
    with opened(signed_in, catalogue=CATALOGUE) as service:
        (kiro,) = service.ask("available")
    models = {model["id"]: model for model in kiro["models"]}

    assert kiro["provider"]["activation"] == "enabled"
    assert kiro["provider"]["package"] == "@opencode/ai/providers/anthropic"
    assert "claude-sonnet-4.6" not in models
    sonnet, haiku, opus = (models[f"claude-{name}"] for name in ("sonnet-4-5", "haiku-4-5", "opus-4-6"))
    assert sonnet["limit"] == {"context": 200_000, "output": 64_000}
    assert sonnet["capabilities"] == {"tools": True, "input": ["text", "image", "pdf"], "output": ["text"]}
    assert [one["id"] for one in sonnet["variants"]] == ["low", "medium", "high", "max"]
    assert sonnet["variants"][-1]["settings"] == {"thinking": {"type": "enabled", "budgetTokens": 32768}}
    assert opus["variants"][0]["settings"] == {"thinking": {"type": "adaptive"}, "effort": "low"}
    assert (haiku["family"], haiku["variants"]) == ("claude-haiku", [])  # the small model, for titles
    assert {model["modelID"] for model in kiro["models"]} == set(models)
    for model in kiro["models"]:
        assert (model["providerID"], model["status"], model["enabled"]) == ("kiro", "active", True)
        assert set(model["compatibility"].values()) == {False}


def test_every_listed_model_answers(signed_in: Home) -> None:
    signed_in.run("models")
    with opened(signed_in, catalogue=CATALOGUE) as service:
        models = service.models()
        statuses = {model: service.turn("Say hello.", model)["status"] for model in models}
    assert len(models) == len(set(models)) > 5
    assert set(statuses.values()) == {200}


def test_a_variant_reaches_the_service(two: Host, simulator: Simulator) -> None:
    two.turn("Think.", variant="max")
    [call] = simulator.calls()
    assert "<max_thinking_length>32768<" in json.dumps(call["body"])


def test_a_turn_with_a_tool_call_and_its_result(two: Host, simulator: Simulator) -> None:
    ask = {"role": "user", "content": "Write a file named a.txt with the content: A"}
    first = two.ask("request", model="claude-sonnet-4-5", body={"messages": [ask], "tools": [WRITE]})
    events = events_of(first["text"])
    (call,) = [event["content_block"] for event in events if event.get("content_block", {}).get("name")]
    written = "".join(event["delta"].get("partial_json", "") for event in events if "delta" in event)
    answer = {"type": "tool_result", "tool_use_id": call["id"], "content": "written"}
    messages = [
        ask,
        {"role": "assistant", "content": [{**call, "input": json.loads(written)}]},
        {"role": "user", "content": [answer]},
    ]

    second = two.ask("request", model="claude-sonnet-4-5", body={"messages": messages, "tools": [WRITE]})

    assert (first["status"], second["status"]) == (200, 200)
    assert json.loads(written)["content"] == "A"
    last = simulator.calls()[-1]["body"]["conversationState"]["currentMessage"]["userInputMessage"]
    (result,) = last["userInputMessageContext"]["toolResults"]
    assert (result["toolUseId"], result["content"][0]["text"]) == (call["id"], "written")


def test_a_large_request_goes_through_whole(two: Host, simulator: Simulator) -> None:
    text = "".join(f"{number:07d} " for number in range(60_000))  # half a megabyte
    assert two.turn(text)["status"] == 200
    assert text in json.dumps(simulator.calls()[-1]["body"])


def test_titles_and_summaries_are_told_by_their_kind(signed_in: Home) -> None:
    signed_in.environment["KIRO_ENABLE_LOG_API_REQUEST"] = "1"
    kinds = ["primary", "title", "compaction", "generate"]
    with opened(signed_in) as service:
        for kind in kinds:
            service.turn("Say hello.", kind=kind)
    lines = (signed_in.state / "requests.jsonl").read_text().splitlines()
    assert [json.loads(line).get("kind") for line in lines] == kinds


def test_requests_to_the_user_s_own_address_are_left_alone(two: Host, home: Home) -> None:
    """Nothing listens at the port; the plugin's gateway would have answered."""
    with pytest.raises(HostError, match=r"fetch failed|Unable to connect|ECONNREFUSED"):
        two.ask("request", model="claude-sonnet-4-5", base="http://127.0.0.1:9/v1")


# ------------------------------------------------------------------------- a gateway that comes and goes


def test_a_gateway_that_was_killed_between_turns_is_started_anew(two: Host, home: Home) -> None:
    assert two.turn("Say hello.")["status"] == 200
    first = running(home)
    os.kill(first["pid"], 9)

    assert two.turn("Say hello.")["status"] == 200

    assert running(home)["pid"] != first["pid"]


def test_another_key_and_secret_are_found(two: Host, home: Home) -> None:
    assert two.turn("Say hello.")["status"] == 200
    first = running(home)
    home.run("stop")
    home.environment["KIRO_GATEWAY_KEY"] = "another key that somebody chose"
    with home.started("serve") as process:
        assert process.stdout is not None
        process.stdout.readline()

        assert two.turn("Say hello.")["status"] == 200

        second = running(home)
        assert second["pid"] == process.pid
    assert (second["key"], second["secret"]) != (first["key"], first["secret"])


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        pytest.param(["/nowhere/python"], "Run again: kiro-auth install opencode", id="missing"),
        pytest.param([sys.executable, "-c", "raise SystemExit(3)"], "exit code 3 (see ", id="silent"),
        pytest.param(
            [*KIRO_AUTH, "serve", "--quiet", "--host", "0.0.0.0"], "Other machines could reach", id="refused"
        ),
    ],
)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_gateway_that_does_not_start_is_one_real_400(
    home: Home, runtime: str, command: list[str], reason: str
) -> None:
    home.config.mkdir(parents=True)
    (home.config / "kiro-accounts.json").write_text('{"version": 1, "accounts": [{"id": "a"}]}')
    install_shim(home.config, command)
    with opened(home, runtime=runtime) as service:
        refused = service.turn("Say hello. " * 100_000)  # more than a socket holds
    error = json.loads(refused["text"])["error"]
    assert (refused["status"], error["type"]) == (400, "invalid_request_error")
    assert refused["headers"]["x-should-retry"] == "false"
    assert error["message"].startswith("The Kiro gateway did not start: ")
    assert reason in error["message"]
    assert final_wording(reason) == reason  # no words that are taken for passing


# ------------------------------------------------------------------------- what happens outside of it


def test_accounts_that_come_and_go_outside_are_seen(home: Home, simulator: Simulator) -> None:
    home.run("install", "opencode")
    with opened(home) as service:
        service.ask("open", location="two")
        assert service.models() == []

        home.run("login", "--builder-id", "--no-browser")
        wait_until(lambda: service.ask("reloads") != [] and service.models() != [])
        wait_until(lambda: service.ask("reloads", location="two") != [])

        seen = len(service.ask("reloads"))
        home.run("logout", home.json("accounts")["accounts"][0]["name"])
        wait_until(lambda: len(service.ask("reloads")) > seen and service.models() == [])


def test_a_location_that_closes_leaves_the_others_alone_and_the_last_one_nothing(signed_in: Home) -> None:
    with opened(signed_in) as service:
        assert service.ask("resources") == ["Timeout"]  # it looks at files
        service.ask("close")
        assert service.ask("resources") == []

        for location in ("one", "two"):
            service.ask("open", location=location)
        assert service.turn("Say hello.")["status"] == 200
        service.ask("close", location="one")
        assert service.turn("Say hello.", location="two")["status"] == 200
        assert {"Timeout", "TCPSERVERWRAP"} <= set(service.ask("resources"))
        service.ask("close", location="two")

        wait_until(lambda: service.ask("resources") == [])


def test_a_closed_service_can_be_opened_again(two: Host) -> None:
    assert two.turn("Say hello.")["status"] == 200
    two.ask("close")
    two.ask("open")
    assert two.turn("Say hello.")["status"] == 200


# --------------------------------------------------------------------------------- the part for the window


def test_the_window_shows_what_the_gateway_has_to_say_after_a_turn(
    signed_in: Home, simulator: Simulator
) -> None:
    with opened(signed_in) as service:
        assert service.turn("Say hello.")["status"] == 200
        file = signed_in.config / "plugins" / "kiro-auth" / "tui.js"
        toasts = service.ask("window", file=str(file), turns=10)  # what is left may be known after a while
    assert [toast["title"] for toast in toasts] == ["Kiro"] * len(toasts)
    assert any("credits left" in toast["message"] for toast in toasts)


@pytest.mark.clients
def test_the_window_starts_no_gateway(signed_in: Home) -> None:
    signed_in.run("stop")
    with opened(signed_in) as service:
        toasts = service.ask("window", file=str(signed_in.config / "plugins" / "kiro-auth" / "tui.js"))
    assert toasts == []
    with contextlib.suppress(FileNotFoundError):
        pytest.fail(str(running(signed_in)))
