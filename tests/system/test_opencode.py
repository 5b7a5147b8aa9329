"""The whole way with the real OpenCode: installed, signed in, asked; the simulated services behind."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from support.opencode import VERSIONS, OpenCode, Served, written_under
from support.programs import Home, Simulator

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

START_URL = "https://d-1234567890.awsapps.com/start"
MODEL = "kiro/claude-sonnet-4-5"


def png() -> bytes:
    """A picture of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>endobj
trailer<</Root 1 0 R>>
%%EOF
"""


@pytest.fixture
def home(home: Home) -> Home:
    home.run("install", "opencode")
    return home


@pytest.fixture
def ready(signed_in: Home, opencode: OpenCode) -> OpenCode:
    """OpenCode after the two steps that the README names."""
    return opencode


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@pytest.mark.clients
def test_sign_in_by_builder_id_and_by_organisation_from_opencode(
    opencode: OpenCode, simulator: Simulator, home: Home
) -> None:
    with opencode.terminal("auth", "login", "-p", "kiro", "-m", "AWS Builder ID (IDC)") as terminal:
        terminal.expect(r"user_code=[A-Z]{4}-[A-Z]{4}")
        terminal.expect("Login successful")
    with opencode.terminal("auth", "login", "-p", "kiro", "-m", "AWS SSO (IAM Identity Center)") as terminal:
        terminal.expect("Start URL")
        terminal.send(START_URL + "\r")
        terminal.expect("region")
        terminal.send("eu-north-1\r")
        terminal.expect("Login successful")

    # Sign-ins in OpenCode itself are enough to list what the plan has.
    assert "kiro/claude-opus-4-6" in opencode.run("models", "kiro").stdout
    accounts = [(a["authMethod"], a["region"], a.get("profileRegion")) for a in home.accounts()]
    assert accounts == [("idc", "us-east-1", None), ("sso", "eu-north-1", "eu-central-1")]
    # Older releases print nothing of a reply that comes in one burst.
    steps = [{"text": "Hello"}, {"pause": 0.6}, {"text": " there."}, {"pause": 0.6}]
    simulator.script({"steps": steps, "when": {"tools": True}})
    done = opencode.run("run", "-m", MODEL, "Say hello.")
    assert done.returncode == 0, done.stderr
    assert "Hello there." in plain(done.stdout)


def test_the_models_are_listed_without_any_configuration(ready: OpenCode) -> None:
    listed = ready.run("models", "kiro").stdout.split()

    assert {
        "kiro/claude-sonnet-4-5",
        "kiro/claude-sonnet-4-5-thinking",
        "kiro/claude-haiku-4-5",
    } <= set(listed)


@pytest.mark.early
def test_the_model_writes_a_file_through_a_tool_of_opencode(ready: OpenCode, simulator: Simulator) -> None:
    done = ready.run("run", "-m", MODEL, "Write a file named hello.txt with the content: Hello from Kiro")

    assert done.returncode == 0, done.stderr
    assert (ready.project / "hello.txt").read_text().strip() == "Hello from Kiro"
    with_tools = [
        call["body"]["conversationState"]
        for call in simulator.calls()
        if "tools"
        in call["body"]["conversationState"]["currentMessage"]["userInputMessage"].get(
            "userInputMessageContext", {}
        )
    ]
    context = with_tools[0]["currentMessage"]["userInputMessage"]["userInputMessageContext"]
    names = {tool["toolSpecification"]["name"] for tool in context["tools"]}
    assert {"bash", "read", "write"} <= names
    assert "orking directory" in json.dumps(with_tools[0]), "the system prompt did not arrive"
    last = with_tools[-1]["currentMessage"]["userInputMessage"]["userInputMessageContext"]
    assert [result["status"] for result in last["toolResults"]] == ["success"]
    assert with_tools[0]["conversationId"] == with_tools[-1]["conversationId"]


@pytest.mark.clients
def test_a_key_in_the_environment_is_enough(opencode: OpenCode, home: Home, simulator: Simulator) -> None:
    home.environment["KIRO_API_KEY"] = "ksk_simulated_ada_0001"

    done = opencode.run("run", "-m", MODEL, "Write a file named hello.txt with the content: Hello from Kiro")

    assert done.returncode == 0, done.stderr
    assert (opencode.project / "hello.txt").read_text().strip() == "Hello from Kiro"
    assert not (home.config / "kiro-accounts.json").exists()


@pytest.mark.clients
def test_neither_the_project_s_files_nor_a_proxy_have_a_part_in_it(ready: OpenCode) -> None:
    (ready.project / "secrets.py").write_text("raise SystemExit('code of the project ran')")
    seen = {name: value for name, value in ready.environment.items() if name.lower() != "no_proxy"}
    command = ready.command(
        "run", "-m", MODEL, "Write a file named hello.txt with the content: Hello from Kiro"
    )

    done = subprocess.run(
        command,
        cwd=ready.project,
        env=seen,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )

    assert done.returncode == 0, done.stderr
    assert (ready.project / "hello.txt").read_text().strip() == "Hello from Kiro", done.stderr


@pytest.mark.clients
def test_an_image_and_a_pdf_arrive_as_such(ready: OpenCode, simulator: Simulator) -> None:
    (ready.project / "dot.png").write_bytes(png())
    (ready.project / "page.pdf").write_bytes(PDF)

    done = ready.run("run", "-m", MODEL, "What is this?", "-f", "dot.png", "-f", "page.pdf")

    assert done.returncode == 0, done.stderr
    messages = [
        entry["userInputMessage"]
        for call in simulator.calls()
        for entry in [
            *call["body"]["conversationState"]["history"],
            call["body"]["conversationState"]["currentMessage"],
        ]
        if "userInputMessage" in entry
    ]
    images = [image for message in messages for image in message.get("images", [])]
    documents = [document for message in messages for document in message.get("documents", [])]
    assert base64.b64decode(images[0]["source"]["bytes"]) == png()
    assert base64.b64decode(documents[0]["source"]["bytes"]) == PDF
    assert (images[0]["format"], documents[0]["format"]) == ("png", "pdf")


BUDGETS = {"low": 8192, "medium": 16384, "high": 24576, "max": 32768}


@pytest.mark.clients
def test_every_variant_changes_what_the_service_receives(ready: OpenCode, simulator: Simulator) -> None:
    asked = [("claude-sonnet-4-5", variant) for variant in BUDGETS]
    asked += [("claude-sonnet-4-5-thinking", variant) for variant in ("low", "max")]
    with ready.serving() as server:
        for model, variant in asked:
            body = asked_with(server, simulator, model, variant)
            assert f"<max_thinking_length>{BUDGETS[variant]}<" in json.dumps(body)
        for variant in ("low", "medium", "high", "max"):
            body = asked_with(server, simulator, "claude-opus-4-6", variant)
            fields = body["additionalModelRequestFields"]
            assert (fields["output_config"], fields["thinking"]["type"]) == ({"effort": variant}, "adaptive")
        for variant in ("low", "xhigh"):
            body = asked_with(server, simulator, "gpt-5-6-sol", variant)
            assert body["additionalModelRequestFields"] == {"reasoning": {"effort": variant}}


def asked_with(server: Served, simulator: Simulator, model: str, variant: str) -> dict[str, Any]:
    """What the service receives when this variant of a model is asked something."""
    before = len(simulator.calls())
    server.ask("Think.", model=model, variant=variant)
    [call] = simulator.calls()[before:]
    return dict(call["body"])


@pytest.mark.clients
def test_a_variant_of_the_command_line_reaches_the_service(ready: OpenCode, simulator: Simulator) -> None:
    done = ready.ask("Think.", "--variant", "high", "--title", "A title")

    assert done.returncode == 0, done.stderr
    [call] = simulator.calls()
    assert f"<max_thinking_length>{BUDGETS['high']}<" in json.dumps(call["body"])


@pytest.mark.clients
def test_a_failure_of_the_account_stops_opencode_at_once_with_the_reason(
    ready: OpenCode, simulator: Simulator
) -> None:
    email = next(call["user"] for call in simulator.calls("GetUsageLimits"))
    simulator.ask("user", {"email": email, "used": 1000, "limit": 1000})

    done = ready.run("run", "-m", MODEL, "Say hello.")

    assert done.returncode == (0 if opencode_is_old(ready) else 1)
    # The older release does not print all of it when `run` ends quickly.
    shown = "\n".join(ready.kept()) if opencode_is_old(ready) else plain(done.stderr + done.stdout)
    assert "The account's plan limit for this month is used up (KA-QUOTA)." in shown
    assert len(simulator.calls()) <= 2  # the turn, and the title that is asked for beside it


def opencode_is_old(opencode: OpenCode) -> bool:
    """Releases before 1.15 end with 0 whatever happened."""
    return "1.14." in str(opencode.binary)


@pytest.mark.clients
def test_a_gateway_that_was_killed_is_started_anew(ready: OpenCode, home: Home) -> None:
    assert ready.run("run", "-m", MODEL, "Say hello.").returncode == 0
    first = json.loads((home.state / "gateway.json").read_text())
    os.kill(first["pid"], 9)

    done = ready.run("run", "-m", MODEL, "Say hello again.")

    assert done.returncode == 0, done.stderr
    assert json.loads((home.state / "gateway.json").read_text())["pid"] != first["pid"]


# ------------------------------------------------------------------------ people without an account


def traced(opencode: OpenCode, trace: Path) -> tuple[set[str], set[str]]:
    """The programs that a command of OpenCode starts, and the addresses it connects to."""
    command = ["strace", "-f", "-qq", "-s", "200", "-e", "trace=execve,connect", "-o", str(trace)]
    done = subprocess.run(
        [*command, str(opencode.binary), "models"],
        cwd=opencode.project,
        env=opencode.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=600,
    )
    assert done.returncode == 0
    text = trace.read_text(errors="replace")
    started = set(re.findall(r'execve\("([^"]+)"', text))
    connected = set(re.findall(r"connect\([^{]*\{(sa_family=AF_INET.*?)\}", text))
    return started, connected


@pytest.mark.clients
@pytest.mark.parametrize("version", VERSIONS)
def test_without_an_account_nothing_happens(home: Home, version: str, tmp_path: Path) -> None:
    """No process, no connection, no file: the same with the plugin as without it."""
    opencode = OpenCode(version, home, first_start=True)
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            raise RuntimeError("strace is needed; .ci/run installs it")
        pytest.skip("strace is not installed")
    opencode.run("models")  # what OpenCode itself does at its first start
    before = written_under(home.folder)
    started, connected = traced(opencode, tmp_path / "with.trace")
    after = written_under(home.folder)
    # OpenCode installs a package for any plugin, so the comparison is with one that does nothing.
    (home.config / "plugin" / "kiro.js").write_text("export const Nothing = async () => ({})\n")
    started_by_others, connected_by_others = set[str](), set[str]()
    for number in range(12):  # what it does at one start it need not do at the next
        bare = traced(opencode, tmp_path / f"without-{number}.trace")
        started_by_others |= bare[0]
        connected_by_others |= bare[1]
        if started <= started_by_others and connected <= connected_by_others:
            break

    assert started <= started_by_others
    assert connected <= connected_by_others
    assert not any("kiro" in name for name in after - before)
    assert not home.state.exists()
    assert not (home.config / "kiro-accounts.json").exists()
