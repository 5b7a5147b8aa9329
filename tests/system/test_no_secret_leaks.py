"""Secrets stay where they belong: everything goes wrong, all logs are on, and every byte is searched."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.accounts.health import READY
from support import foreign
from support.programs import KEY, KIRO_AUTH, Home, Simulator
from support.storing import HandStore

EMAILS = ("ada@example.com", "grace@example.com", "linus@example.org")
API_KEY = "ksk_simulated_ada_0001"
START_URL = "https://d-1234567890.awsapps.com/start"
SECRET_FIELDS = ("accessToken", "refreshToken", "clientId", "clientSecret")
PRIVATE_WORDS = "my-very-private-words"
PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
REFUSALS = [
    ("AccessDeniedException", None), ("AccessDeniedException", "FEATURE_NOT_SUPPORTED"),
    ("ThrottlingException", "USER_REQUEST_RATE_EXCEEDED"), ("ThrottlingException", "MONTHLY_REQUEST_COUNT"),
    ("ServiceQuotaExceededException", "OVERAGE_REQUEST_LIMIT_EXCEEDED"), ("InternalServerException", None),
    ("ValidationException", "REQUEST_BODY_INVALID"), ("ValidationException", "THINKING_SIGNATURE_INVALID"),
    ("ValidationException", None), ("ServiceUnavailableException", None), ("ConflictException", None),
]  # fmt: skip
"""Those that the gateway tries again after seconds."""


class Story:
    """One home with everything on; `said` is all that was printed and answered."""

    def __init__(self, home: Home, simulator: Simulator) -> None:
        self.home = home
        self.simulator = simulator
        self.said: list[bytes] = []
        self.secrets: set[str] = {API_KEY, PRIVATE_WORDS, KEY, *EMAILS}

    def command(self, *arguments: str, stdin: str = "") -> None:
        done = self.home.run(*arguments, stdin=stdin, check=False)
        self.said += [done.stdout.encode(), done.stderr.encode()]
        self.learn()

    def learn(self) -> None:
        """Remember every secret that the store holds by now; the store is where they belong."""
        if (self.home.config / "kiro-accounts.json").exists():
            for account in self.home.accounts():
                self.secrets |= {account[name] for name in SECRET_FIELDS if account.get(name)}

    def turn(self, url: str, path: str, *, stream: bool) -> None:
        words: Any = [{"role": "user", "content": PRIVATE_WORDS}]
        body = {"model": "claude-sonnet-4-5", "stream": stream, "max_tokens": 10}
        body |= {"input": words} if path == "/v1/responses" else {"messages": words}
        headers = {"x-api-key": KEY, "content-type": "application/json"}
        request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                self.said.append(answer.read().replace(PRIVATE_WORDS.encode(), b"(the model's echo)"))
        except urllib.error.HTTPError as error:
            with error:
                self.said += [error.read(), str(error.headers).encode()]
        self.learn()

    def forgive(self) -> None:
        """All accounts may serve again."""
        store = HandStore(self.home.config, self.home.state / "locks")
        for account in self.home.accounts():
            store.change_account(account["id"], READY)

    def talkative(self) -> str:
        """What a service might say, with everything in it that must not be passed on."""
        account = self.home.accounts()[0]
        arn = "arn:aws:codewhisperer:us-east-1:123456789012:profile/PRIVATE"
        self.secrets.add(arn)
        words = (EMAILS[0], account["accessToken"], account["refreshToken"], arn, API_KEY, KEY)
        return f"No.\x1b]0;{account.get('clientSecret')}\x07\u202e {' '.join(words)}"


def everything_that_can_go_wrong(story: Story, url: str) -> None:
    simulator = story.simulator
    for number, (kind, reason) in enumerate(REFUSALS):
        refusal = {"type": kind, "message": story.talkative(), "reason": reason or story.talkative()}
        simulator.script(*[{"refuse": refusal}] * 6)
        story.turn(url, PATHS[number % 3], stream=number % 2 == 0)
        story.forgive()
    while simulator.ask("state")["script"]:  # what nobody asked for yet
        story.turn(url, PATHS[0], stream=False)
        story.forgive()
    for path in PATHS:
        for ending in ({"cut": "frame"}, {"exception": {"type": "error", "message": story.talkative()}}):
            simulator.script({"steps": [{"text": "Half"}, {"pause": 0.1}, ending]})
            story.turn(url, path, stream=True)
    for body in ({"message": story.talkative()}, f"<html>{story.talkative()}</html>"):
        simulator.ask(
            "fault", {"operation": "GenerateAssistantResponse", "status": 502, "body": body, "times": 9}
        )
        story.turn(url, PATHS[0], stream=True)
        simulator.ask("settings", {"tokenSeconds": 3600})
    simulator.ask(
        "fault", {"operation": "GetUsageLimits", "body": {"message": story.talkative()}, "times": 9}
    )
    simulator.ask("fault", {"operation": "CreateToken", "body": {"error_description": story.talkative()}})
    simulator.ask("advance", {"seconds": 7200})
    story.turn(url, PATHS[0], stream=False)
    for email in EMAILS:
        simulator.ask("revoke", {"user": email})
    story.turn(url, PATHS[1], stream=False)


@pytest.mark.clients
@pytest.mark.early
@pytest.mark.timeout(240)
def test_no_secret_is_found_outside_the_store_of_credentials(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.environment |= {
        "KIRO_ENABLE_LOG_API_REQUEST": "1",
        "KIRO_GATEWAY_KEY": KEY,
        "KIRO_RATE_LIMIT_RETRY_DELAY_MS": "1000",
        "KIRO_RATE_LIMIT_MAX_RETRIES": "1",
    }
    with home.simulator("--auto-approve") as simulator:
        story = Story(home, simulator)
        story.command("login", "--builder-id", "--no-browser")
        story.command("login", "--api-key", "--json", stdin=API_KEY)
        story.command(
            "login", "--start-url", "https://d-1234567890.awsapps.com/start", "--region", "eu-north-1"
        )
        with subprocess.Popen(
            [*KIRO_AUTH, "serve", "--verbose"],
            env=home.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as gateway:  # fmt: skip
            assert gateway.stdout is not None
            url = gateway.stdout.readline().split()[2].rstrip(b";").decode()
            everything_that_can_go_wrong(story, url)
            for verb in ("accounts", "usage", "models", "status", "accounts verify", "config show", "doctor"):
                story.command(*verb.split())
                story.command(*verb.split(), "--json")
            for account in home.accounts():
                story.command("accounts", "show", account["id"])
            gateway.terminate()
            story.said += gateway.communicate(timeout=120)

    files = foreign.bytes_below(home.folder)
    assert files[".local/state/kiro-auth/requests.jsonl"].count(b"\n") > 15
    assert not any(name.endswith("gateway.json") for name in files)
    for name in [name for name in files if "kiro-accounts.json" in name]:
        del files[name]
    places = {**files, **{f"output {number}": said for number, said in enumerate(story.said)}}
    for secret in story.secrets:
        forms = {secret, urllib.parse.quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
        for name, data in places.items():
            assert not any(form.encode() in data for form in forms), (
                f"{secret[:6]}… of {len(secret)} in {name}"
            )
    for said in story.said:
        assert not any(sign.encode() in said for sign in ("\x1b", "\x07", "\u202e"))
    log = home.state / "requests.jsonl"
    assert log.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"KA-BODY", "KA-SERVICE", "KA-ACCOUNTS-BUSY"} <= {line.get("failure") for line in lines}
    assert any(line["ended"] == "failed" and "account" in line for line in lines)  # in the middle of a stream
    assert all(line["api"] in PATHS and line["seconds"] >= 0 for line in lines)
