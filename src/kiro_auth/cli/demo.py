"""`kiro-auth demo`: everything at work against a simulated AWS, with the same commands a user types.

Runs in a folder of its own; the user's accounts and configuration are neither read nor changed.
"""

from __future__ import annotations

import contextlib
import json as json_
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

STEP_SECONDS = 60
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy
SELF = [sys.executable, "-m", "kiro_auth"]
ORGANISATION = ("https://d-1234567890.awsapps.com/start", "eu-north-1")
"""An organisation that the simulator knows, and the region of its identity centre."""
WRITE_FILE = {
    "name": "write_file",
    "description": "Write a text file.",
    "input_schema": {
        "type": "object",
        "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["path", "content"],
    },
}


def demo(
    keep: bool = typer.Option(False, "--keep", help="Stay up for playing until Ctrl-C."),
) -> None:
    """Show it at work against a simulated AWS: sign-in, streaming, tools, rotation, usage."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kiro-auth-demo-") as folder, contextlib.ExitStack() as running:
        stage = _Stage(Path(folder))
        _step("A simulated AWS: sign-in service, Kiro, two people with plans.")
        simulator = running.enter_context(stage.simulator())
        typer.echo(f"  listens at {simulator}")
        _sign_in(stage)
        _step("The gateway: kiro-auth serve")
        gateway = running.enter_context(stage.gateway())
        typer.echo(f"  listens at {gateway.url}")
        _stream(gateway)
        _use_a_tool(gateway, Path(folder))
        _rotate(gateway, simulator)
        _step("What is left of each plan: kiro-auth usage")
        stage.run("usage")
        if shutil.which("opencode"):
            _run_opencode(stage)
        typer.echo(f"\nAll of it worked, in {time.monotonic() - begun:.0f} seconds.")
        if keep:
            _stay(stage, gateway)


def _step(text: str) -> None:
    typer.echo(f"\n▸ {text}")


def _sign_in(stage: _Stage) -> None:
    _step("Sign in with AWS Builder ID: kiro-auth login --builder-id (the simulator confirms the code)")
    stage.run("login", "--builder-id", "--no-browser")
    start_url, region = ORGANISATION
    _step(f"Sign in with an organisation: kiro-auth login --start-url {start_url} --region {region}")
    stage.run("login", "--start-url", start_url, "--region", region, "--no-browser")
    _step("Both are kept, each with its own tokens and state: kiro-auth accounts")
    stage.run("accounts")


class _Gateway:
    """A client of the running gateway."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key

    def lines(self, body: dict[str, Any], session: str) -> Iterator[bytes]:
        """The lines of the answer to one Messages request, as they come."""
        request = urllib.request.Request(  # noqa: S310 (our own loopback address)
            f"{self.url}/v1/messages",
            data=json_.dumps({"model": "claude-sonnet-4-5", "max_tokens": 1000, **body}).encode(),
            headers={
                "x-api-key": self.key,
                "content-type": "application/json",
                "x-session-affinity": session,
            },
        )
        with _DIRECT.open(request, timeout=STEP_SECONDS) as answer:
            yield from answer

    def message(self, messages: list[Any], session: str, **more: Any) -> Any:
        """One whole answer."""
        return json_.loads(b"".join(self.lines({"messages": messages, **more}, session)))


def _stream(gateway: _Gateway) -> None:
    _step("A streamed answer: POST /v1/messages, word by word as it comes")
    question = [{"role": "user", "content": "Say hello to whoever reads this."}]
    typer.echo("  ", nl=False)
    for line in gateway.lines({"messages": question, "stream": True}, "demo-stream"):
        if line.startswith(b"data: "):
            delta = json_.loads(line[6:]).get("delta", {})
            typer.echo(delta.get("text", ""), nl=False)
    typer.echo()


def _use_a_tool(gateway: _Gateway, folder: Path) -> None:
    _step("A tool conversation: the model asks to write a file, we write it, it answers")
    messages: list[Any] = [
        {"role": "user", "content": "Write a file named hello.txt with the content: Hello from Kiro"}
    ]
    answer = gateway.message(messages, "demo-tool", tools=[WRITE_FILE])
    call = next(block for block in answer["content"] if block["type"] == "tool_use")
    typer.echo(f"  the model calls {call['name']} with {json_.dumps(call['input'])}")
    target = folder / Path(call["input"]["path"]).name
    target.write_text(call["input"]["content"])
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "Written."}
    messages += [
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": [result]},
    ]
    answer = gateway.message(messages, "demo-tool", tools=[WRITE_FILE])
    typer.echo(f"  {target.name} holds: {target.read_text()}")
    typer.echo(f"  the model answers: {answer['content'][0]['text']}")


def _rotate(gateway: _Gateway, simulator: str) -> None:
    _step("Four conversations take turns: strategy round-robin (by default the least used plan is taken)")
    for number in range(4):
        gateway.message([{"role": "user", "content": f"Conversation {number + 1}"}], f"demo-{number}")
    with _DIRECT.open(f"{simulator}/_control/calls", timeout=5) as answer:
        calls = json_.load(answer)["calls"]
    chats = [call for call in calls if call["operation"] == "GenerateAssistantResponse"]
    for number, call in enumerate(chats[-4:], 1):
        typer.echo(f"  conversation {number}: served in {call['region']} for {call['user']}")


def _run_opencode(stage: _Stage) -> None:
    _step("The real OpenCode, with the plugin shim: opencode run")
    stage.run("install", "opencode")
    project = stage.folder / "project"
    project.mkdir()
    prompt = "Write a file named opencode.txt with the content: Written by OpenCode"
    subprocess.run(  # noqa: S603
        ["opencode", "run", "-m", "kiro/claude-sonnet-4-5", prompt],  # noqa: S607 (the user's own, from PATH)
        cwd=project,
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        timeout=STEP_SECONDS * 2,
        check=True,
    )
    typer.echo(f"  opencode.txt holds: {(project / 'opencode.txt').read_text()}")


def _stay(stage: _Stage, gateway: _Gateway) -> None:
    with contextlib.suppress(KeyboardInterrupt):  # also while it still speaks
        typer.echo("\nIt stays up until Ctrl-C. In another terminal:\n")
        for name in _Stage.VARIABLES:
            if name in stage.environment:
                typer.echo(f"  export {name}={stage.environment[name]}")
        typer.echo(
            "  kiro-auth accounts; kiro-auth install opencode && opencode   # against the simulated AWS"
        )
        typer.echo(
            f"\n  curl {gateway.url}/v1/messages -H 'x-api-key: {gateway.key}' "
            "-H 'content-type: application/json' \\\n"
            """    -d '{"model": "claude-sonnet-4-5", "max_tokens": 500, "stream": true, """
            """"messages": [{"role": "user", "content": "Hello"}]}'"""
        )
        while True:
            time.sleep(3600)


class _Stage:
    """A folder with a home of its own, and the commands that run there."""

    VARIABLES = (
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "KIRO_ACCOUNT_SELECTION_STRATEGY",
        "KIRO_ENDPOINT_RUNTIME",
        "KIRO_ENDPOINT_MANAGEMENT",
        "KIRO_ENDPOINT_OIDC",
        "KIRO_ENDPOINT_DESKTOP_AUTH",
        "KIRO_ENDPOINT_EXTERNAL_IDP",
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # None of the user's own options: the demonstration has its own.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("KIRO_")}
        self.environment |= {
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "APPDATA": str(folder / "config"),
            "LOCALAPPDATA": str(folder / "state"),
            "PYTHONUNBUFFERED": "1",
            # The only strategy whose order does not depend on when usage was read.
            "KIRO_ACCOUNT_SELECTION_STRATEGY": "round-robin",
        }

    def run(self, *arguments: str) -> None:
        """Run one command of ours and show what it prints, indented."""
        done = subprocess.run(  # noqa: S603 (ourselves)
            [*SELF, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        for line in done.stdout.splitlines():
            if line.strip():
                typer.echo(f"  {line}")
        if done.returncode:
            raise SystemExit(f"`kiro-auth {' '.join(arguments)}` failed with exit code {done.returncode}.")

    @contextlib.contextmanager
    def simulator(self) -> Iterator[str]:
        """A running simulator; its address.  Points the commands of this stage at it."""
        with self._process("simulate", "--port", "0", "--auto-approve", "--json") as process:
            assert process.stdout is not None
            said = json_.loads(process.stdout.readline())
            self.environment |= said["environment"]
            yield said["url"]

    @contextlib.contextmanager
    def gateway(self) -> Iterator[_Gateway]:
        """A running gateway."""
        key = secrets.token_urlsafe(24)
        self.environment["KIRO_GATEWAY_KEY"] = key
        with self._process("serve", "--port", "0") as process:
            assert process.stdout is not None
            url = process.stdout.readline().split()[2].rstrip(";")  # "Listening at URL; the key is …"
            yield _Gateway(url, key)

    @contextlib.contextmanager
    def _process(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(  # noqa: S603 (ourselves)
            [*SELF, *arguments], env=self.environment, stdout=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)
            if process.stdout:
                process.stdout.close()
