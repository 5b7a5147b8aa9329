"""`kiro-auth report`: what helps is in it, and no word, name or secret, wherever they stand."""

from __future__ import annotations

import base64
import json
import os
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from kiro_auth.report.log import lines
from kiro_auth.report.redaction import Redaction
from support.programs import KEY, Home
from support.storing import HandStore

WORDS = "my-very-private-words"
LABEL = "Secret Project Falcon"
PRIVATE = {
    "words": WORDS,
    "label": LABEL,
    "old account": "builder-id-of-before",
    "e-mail": "ada@example.com",
    "organisation": "d-9876543210",
    "arn": "arn:aws:codewhisperer:us-east-1:123456789012:profile/PRIVATE",
    "profile": "Team of the Private Things",
    "alias": "my-private-alias",
    "option": "a-private-value",
    "host": "intranet.private.example",
    "proxy": "proxy-password",
    "key": KEY,
    "hand": "something-else-private",
}
SECRET_FIELDS = ("accessToken", "refreshToken", "clientId", "clientSecret")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Of a user whose name is in the path, with private things wherever they can be."""
    home = Home(tmp_path / "users" / "adalovelace")
    home.folder.mkdir(parents=True)
    home.environment |= {"KIRO_GATEWAY_KEY": KEY, "LOGNAME": "adalovelace", "USER": "adalovelace"}
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        account = home.accounts()[0]
        store = HandStore(home.config, home.state / "locks")
        store.change_account(account["id"], {"label": LABEL, "profileName": PRIVATE["profile"]})
        options = {
            "model_aliases": {PRIVATE["alias"]: "claude-haiku-4-5"},
            "sso_start_url": f"https://{PRIVATE['organisation']}.awsapps.com/start",
            "allow_host": [PRIVATE["host"]],
            "toast_level": PRIVATE["option"],
            "rate_limit_max_retries": 7,
        }
        (home.config / "kiro.json").write_text(json.dumps(options))
        with home.gateway() as url:
            ask(url, model="claude-sonnet-4-5")
            refusal = {"type": "ValidationException", "reason": "REQUEST_BODY_INVALID",
                       "message": f"No. {WORDS} {PRIVATE['e-mail']} {PRIVATE['arn']}"}  # fmt: skip
            simulator.script({"refuse": refusal})
            ask(url, model="claude-sonnet-4-5", tools=[tool(WORDS)])
            ask(url, model=WORDS, agent=f"{WORDS}/1")
            ask(url, model=PRIVATE["alias"])
            ask(url, model="claude-sonnet-4-5", agent="claude-cli/2.1", max_tokens=WORDS)
        with (home.state / "gateway.log").open("a") as log:
            log.write(f"{PRIVATE['hand']} was said by a program that did not start (KA-STORE)\n")
            log.write(f'  File "/home/ada/site-packages/kiro_auth/cli/{PRIVATE["hand"]}.py", line 3, in x\n')
            log.write('  File "/opt/kiro_auth/cli/serve.py", line 81, in serve\n')
            log.write(f"ValueError: {WORDS}\n")
            for event in ("turn", "account", "started", WORDS):
                log.write(json.dumps(forged(event)) + "\n")
        home.environment["HTTPS_PROXY"] = f"http://ada:{PRIVATE['proxy']}@{PRIVATE['host']}:3128"
        yield home


def forged(event: str) -> dict[str, object]:
    """A record in which every value is private, but the program's own text of it."""
    names = (
        *("client", "api", "kind", "model", "account", "served", "insteadOf", "because", "mended", "before"),
        *("ended", "failure", "reason", "request", "inputSource", "version", "url", "why", "state", "until"),
        *("traceback", "logger", "level", "signal"),
    )
    values = dict.fromkeys(names, f"{PRIVATE['hand']} {PRIVATE['old account']}")
    options = {PRIVATE["alias"]: PRIVATE["option"], "toast_level": WORDS}
    return {
        **values,
        "time": "2026-11-28T20:29:59.841+00:00",
        "message": f"{PRIVATE['old account']} {WORDS}",
        "event": event,
        "failure": "KA-QUOTA" if event == "turn" else PRIVATE["hand"],
        "options": options,
        "messages": WORDS,
        "seconds": WORDS,
    }


def tool(name: str) -> dict[str, object]:
    return {"name": name, "description": WORDS, "input_schema": {"type": "object"}}


def ask(url: str, *, model: str, agent: str = "codex_cli_rs/0.1", **fields: object) -> None:
    body = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": WORDS}], **fields}
    headers = {"x-api-key": KEY, "user-agent": agent}
    request = urllib.request.Request(f"{url}/v1/messages", json.dumps(body).encode(), headers)
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        error.close()


def test_nothing_private_is_in_it_and_what_helps_is(home: Home, tmp_path: Path) -> None:
    told = home.run("report", str(tmp_path / "report.md"))

    text = (tmp_path / "report.md").read_text()
    account = home.accounts()[0]
    secrets = {
        *PRIVATE.values(),
        account["id"],
        *(account[name] for name in SECRET_FIELDS if account.get(name)),
    }
    for secret in {*secrets, "adalovelace", str(home.folder), os.uname().nodename}:
        forms = {secret, urllib.parse.quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
        for form in forms:
            assert form not in text, [line for line in text.splitlines() if form in line]
    assert "rate_limit_max_retries 7" in text
    assert "sso_start_url set" in text
    assert "warning configuration: KA-CONFIG, toast_level" in text
    assert "#1: builder-id, served in us-east-1, " in text
    assert "client Codex, api /v1/messages, model claude-sonnet-4-5" in text
    assert "tools 1" in text
    assert "failure KA-BODY, reason REQUEST_BODY_INVALID, request " in text
    assert "text: KA-STORE" in text
    assert 'text: kiro_auth/cli/serve.py", line 81, in serve' in text
    assert "text: ValueError" in text
    assert "~/" in text or "fault" in text
    for heading in ("Versions", "Options", "Accounts", "Doctor", "failures", "lines of the log"):
        assert heading in text
    assert str(tmp_path / "report.md") in told.stdout
    assert "read it before you send it" in told.stdout
    assert WORDS not in told.stdout + told.stderr


def test_the_file_is_its_owner_s_alone_and_none_is_replaced_unasked(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.run("report", folder=tmp_path)
    [made] = tmp_path.glob("kiro-auth-report-*.md")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600

    mine = tmp_path / "mine.md"
    mine.write_text("mine")
    refused = home.run("report", str(mine), check=False)
    assert (refused.returncode, "is there already; nothing was written (KA-CONFIG)" in refused.stderr) == (
        1,
        True,
    )
    assert mine.read_text() == "mine"

    terminal = home.terminal("report", str(mine))
    terminal.expect("Replace it")
    terminal.sendline("n")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert mine.read_text() == "mine"

    home.run("report", str(mine), "--overwrite")
    assert mine.read_text().startswith("# kiro-auth report")


def test_an_address_of_this_machine_keeps_its_port_and_no_other_does() -> None:
    hide = Redaction([], Path("/home/ada"))

    assert hide("running at http://127.0.0.1:20589") == "running at //127.0.0.1:20589"
    assert hide("by http://ada:pw@proxy.lan:3128/x") == "by //…"


def test_a_gateway_that_has_moved_is_told_as_that() -> None:
    moved = {"time": "2026-11-28T20:29:59.841+00:00", "level": "warning", "event": "address",
             "template": "%s", "message": "It has moved (KA-PORT)."}  # fmt: skip

    assert list(lines([moved], Redaction([], Path("/home/ada")))) == [
        "2026-11-28T20:29:59.841+00:00 warning address: codes KA-PORT"
    ]


def test_a_place_that_cannot_be_written_is_named_with_a_remedy(tmp_path: Path) -> None:
    refused = Home(tmp_path).run("report", str(tmp_path / "nowhere" / "r.md"), check=False)

    assert refused.returncode == 1
    assert refused.stderr == (
        f"error: There is no folder {tmp_path}/nowhere; nothing was written (KA-CONFIG). "
        "Name a file in a folder where you may write: kiro-auth report FILE\n"
    )


def test_programs_on_the_path_are_asked_for_their_versions_and_none_holds_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kiro_auth.report import programs

    monkeypatch.setattr(programs, "SECONDS", 5.0)  # the others say theirs at once
    scripts = {
        "claude": "echo 2.1.331 '(Claude Code)'",
        "codex": "echo codex-cli 0.169.0",
        "opencode": "sleep 60 & sleep 60",
    }
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    began = time.monotonic()
    found = programs.versions([*scripts, "no-such-program"])

    assert time.monotonic() - began < 40, "the slow one sleeps for a minute"
    assert found == {
        "claude": "2.1.331",
        "codex": "0.169.0",
        "opencode": "did not say its version within 5 seconds",
        "no-such-program": "not on the PATH",
    }
