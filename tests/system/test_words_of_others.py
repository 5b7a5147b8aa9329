"""What the service says and what stands in files of others is only data: it steers no terminal and no page,
and quotes no secret, wherever it comes out.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from kiro_auth.accounts.health import READY
from kiro_auth.texts import LONGEST
from support.in_process import run
from support.programs import KEY, Home, Services, Simulator
from support.storing import HandStore

pytestmark = pytest.mark.timeout(240)

STEERING = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b31m\x08\x7f\r\u202e\u2066\u2028\u200b"
PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
COMMANDS = (
    *("accounts", "status", "usage", "models", "doctor", "accounts verify", "logs", "explain KA-BODY"),
    *("config show",),
)
REFUSALS = [
    ("ValidationException", None),
    ("ValidationException", "{}"),
    ("ThrottlingException", "MONTHLY_REQUEST_COUNT"),
    ("AccessDeniedException", None),
]


def steers(text: str) -> set[str]:
    """The characters in it that must not be there; line feeds and tabs may."""
    return {letter for letter in text if not letter.isprintable() and letter not in "\n\t"}


def texts_in(answer: str) -> str:
    """The texts of an answer as its client reads them: of one JSON value, or of each event of a stream."""
    lines = [line.removeprefix("data: ") for line in answer.splitlines()]
    return "\n".join(text for line in lines if line.startswith("{") for text in _texts(json.loads(line)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


class Story:
    """A gateway whose service is hostile; `said` is what came out, by where."""

    def __init__(self, home: Home, simulator: Simulator) -> None:
        self.home = home
        self.simulator = simulator
        self.said: dict[str, str] = {}

    @property
    def account(self) -> dict[str, Any]:
        return self.home.accounts()[0]

    def words(self) -> str:
        account = self.account
        secrets = (account["accessToken"], account["refreshToken"], account["clientSecret"], KEY)
        return f"No.{STEERING} {' '.join(secrets)} {'and so on ' * 2000}"

    def command(self, *arguments: str) -> None:
        """In a pipe, and in a terminal without colours."""
        for columns in (None, 80):
            done = run(arguments, {**self.home.environment, "NO_COLOR": "1"}, columns=columns)
            # What shows that it works on is ours, and is taken away again.
            shown = (done.stdout + done.stderr).replace("\r\x1b[K", "").replace("\r", "")
            self.said[f"{' '.join(arguments)}, {columns} columns"] = shown

    def turn(self, url: str, path: str, *, stream: bool, number: int) -> None:
        body: dict[str, Any] = {"model": "claude-sonnet-4-5", "stream": stream, "max_tokens": 10}
        body |= {"input": "Hi"} if path == PATHS[2] else {"messages": [{"role": "user", "content": "Hi"}]}
        request = urllib.request.Request(url + path, json.dumps(body).encode(), {"x-api-key": KEY})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                said = answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                said = f"{error.headers}".replace("\r", "") + error.read().decode()
        self.said[f"{path} {stream} {number}"] = said + texts_in(said)

    def forgive(self) -> None:
        HandStore(self.home.config, self.home.state / "locks").change_account(self.account["id"], READY)


def spoil(home: Home) -> None:
    """What another program may have written into the file of accounts."""
    path = home.config / "kiro-accounts.json"
    held = json.loads(path.read_text())
    for account in held["accounts"]:
        account |= {
            "label": f"work{STEERING}",
            "email": f"ada{STEERING}@example.com",
            "profileName": f"Team{STEERING}",
            "profileArn": f"arn:aws:codewhisperer:us-east-1:1:profile/{STEERING}",
            "stateReason": f"because{STEERING}",
            "kiroAuth": {**account.get("kiroAuth", {}), "plan": f"PRO{STEERING}"},
        }
    path.write_text(json.dumps(held))


def test_words_of_others_steer_nothing_and_quote_no_secret(tmp_path: Path, services: Services) -> None:
    home = Home(tmp_path)
    home.environment |= {"KIRO_ENABLE_LOG_API_REQUEST": "1", "KIRO_RATE_LIMIT_MAX_RETRIES": "0"}
    simulator = services.begin(home, auto_approve=True)
    home.run("login", "--builder-id", "--no-browser")
    story = Story(home, simulator)
    with home.gateway() as url:
        for number, (kind, reason) in enumerate(REFUSALS):
            said = {"type": kind, "message": story.words()}
            said |= {"reason": reason.format(story.account["accessToken"])} if reason else {}
            for path in PATHS:
                simulator.script(*[{"refuse": said}] * 3)
                story.turn(url, path, stream=number % 2 == 0, number=number)
                if path == PATHS[0]:
                    assert len(story.account.get("stateReason") or "") <= LONGEST
                    for verb in ("accounts", "status"):
                        story.command(verb)
                        story.command(verb, "--json")
                story.forgive()
        simulator.script(
            {"steps": [{"text": "a"}, {"exception": {"type": "error", "message": story.words()}}]}
        )
        story.turn(url, PATHS[0], stream=True, number=99)
        for operation in ("GetUsageLimits", "ListAvailableModels"):
            simulator.ask(
                "fault",
                {"operation": operation, "status": 400, "body": {"message": story.words()}, "times": 40},
            )
        spoil(home)
        for verb in COMMANDS:
            story.command(*verb.split())
            story.command(*verb.split(), "--json")
        story.command("accounts", "show", story.account["id"])
        for path in ("/kiro/accounts", "/kiro/notices", "/kiro/usage"):
            request = urllib.request.Request(url + path, headers={"x-api-key": KEY})
            with urllib.request.urlopen(request, timeout=20) as answer:
                story.said[path] = answer.read().decode()
        secrets = {story.account[name] for name in ("accessToken", "refreshToken", "clientSecret")} | {KEY}
    for name in ("gateway.log", "requests.jsonl"):
        story.said[name] = (home.state / name).read_text()

    for place, text in story.said.items():
        assert not steers(text), f"{place}: {steers(text)}"
        for secret in secrets:
            assert secret not in text, f"a secret in {place}"
    assert "No.]0;owned" in "".join(story.said.values())


def test_a_client_that_sends_a_key_as_a_name_has_it_written_down_and_shown_nowhere(
    tmp_path: Path, services: Services
) -> None:
    home = Home(tmp_path)
    services.begin(home, auto_approve=True)
    home.environment["KIRO_GATEWAY_KEY"] = KEY  # which commands know as well
    home.run("login", "--builder-id", "--no-browser")
    with home.gateway(KIRO_ENABLE_LOG_API_REQUEST="1") as url:
        for name in (KEY, f"a\x9b31m\u202e\u2028b{KEY}"):
            body = {"model": name, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
            sent = {"x-api-key": KEY, "user-agent": KEY, "x-kiro-project": quote(name, safe="")}
            request = urllib.request.Request(f"{url}/v1/messages", json.dumps(body).encode(), sent)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=60)
            with refused.value as answer:
                assert KEY.encode() not in answer.read()
        verbs = (
            "logs",
            "logs --json",
            "status",
            *(f"usage --by {by}" for by in ("model", "project", "client")),
        )
        said = [home.run(*verb.split()).stdout for verb in verbs]
        said += [home.run(*verb.split(), "--json").stdout for verb in verbs if "usage" in verb]

    for text in said:
        assert KEY not in text
        assert not steers(text)
    assert '"model":"' in (home.state / "requests.jsonl").read_text()
    for file in home.state.rglob("*"):
        found = file.read_bytes() if file.is_file() else b""
        assert KEY.encode() not in found, file.name
        if file.suffix in (".log", ".jsonl"):
            assert not steers(found.decode()), file.name
