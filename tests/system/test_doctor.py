"""`kiro-auth doctor` names what is broken, says what to do, and mends what it safely can."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.cli import checks
from kiro_auth.store.files import FileStore
from support.programs import Home, Simulator

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"
START_URL = "https://d-1234567890.awsapps.com/start"


class Stage:
    """A home in which everything is in order, until a test breaks it."""

    def __init__(self, home: Home, simulator: Simulator) -> None:
        self.home = home
        self.simulator = simulator
        self.store = FileStore(home.config, home.state / "locks")

    def account(self, **fields: Any) -> None:
        self.store.change_account(self.home.accounts()[0]["id"], fields)

    def write(self, name: str, text: str) -> None:
        (self.home.config / name).write_text(text)

    def doctor(self, *options: str) -> tuple[int, Any]:
        done = self.home.run("doctor", "--json", *options, check=False)
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def stage(served: tuple[Home, Simulator]) -> Stage:
    home, simulator = served
    simulator.ask("settings", {"autoApprove": True})
    home.run("login", "--builder-id", "--no-browser")
    home.run("install", "opencode")
    return Stage(home, simulator)


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def stale_gateway(stage: Stage) -> None:
    stage.home.state.mkdir(parents=True, exist_ok=True)
    announced = {"port": closed_port(), "key": "k", "pid": 1, "version": "0.0.1"}
    (stage.home.state / "gateway.json").write_text(json.dumps(announced))


def interpreter_gone(stage: Stage) -> None:
    path = stage.home.config / "plugin" / "kiro.js"
    text = re.sub(r"const start = \(\) => \[.*?\]", 'const start = () => ["/gone/python"]', path.read_text())
    path.write_text(text)


def no_profile(stage: Stage) -> None:
    stage.account(authMethod="sso", ssoStartUrl=START_URL)


def nobody(stage: Stage) -> None:
    for account in stage.home.accounts():
        stage.home.run("accounts", "remove", account["id"])


def unreachable(stage: Stage) -> None:
    stage.home.environment["KIRO_ENDPOINT_MANAGEMENT"] = f"http://127.0.0.1:{closed_port()}"


def other_plugin(stage: Stage) -> None:
    stage.write("opencode.json", '{"plugin": ["@zhafron/opencode-kiro-auth"]}')


@dataclass
class Broken:
    """A broken set-up: how, what must be said, how bad it is, and whether `--fix` mends it."""

    make: Callable[[Stage], object]
    check: str
    says: str
    level: str = "fault"
    fixable: bool = False


BROKEN = {
    "an option out of its range": Broken(
        lambda s: s.write("kiro.json", '{"rate_limit_max_retries": 99}'), "configuration",
        "rate_limit_max_retries", "warning",
    ),
    "a configuration that is no JSON": Broken(
        lambda s: s.write("kiro.json", "{"), "configuration", "is not JSON", "warning"
    ),
    "an accounts file that others can read": Broken(
        lambda s: (s.home.config / "kiro-accounts.json").chmod(0o644), "files", "others can read",
        fixable=True,
    ),
    "an accounts file that is no JSON": Broken(
        lambda s: s.write("kiro-accounts.json", "{"), "accounts", "is not JSON"
    ),
    "nobody signed in": Broken(nobody, "accounts", "nobody is signed in"),
    "a sign-in that has ended": Broken(
        lambda s: (s.simulator.ask("revoke", {"user": "ada@example.com"}), s.account(expiresAt=1)),
        "account Builder ID 1", "The sign-in has ended",
    ),
    "a suspended account": Broken(
        lambda s: s.simulator.ask("user", {"email": "ada@example.com", "suspended": True}),
        "account Builder ID 1", "AWS has locked the account",
    ),
    "a plan that is used up": Broken(
        lambda s: s.simulator.ask("user", {"email": "ada@example.com", "used": 1000}),
        "account Builder ID 1", "100% of KIRO PRO is used", "warning",
    ),
    "an organisation's account without a profile": Broken(
        no_profile, "account Builder ID 1", "no Kiro profile"
    ),
    "a registration that ends soon": Broken(
        lambda s: s.account(clientSecretExpiresAt=1), "account Builder ID 1", "registration has ended",
        "warning",
    ),
    "no plugin in OpenCode": Broken(
        lambda s: (s.home.config / "plugin" / "kiro.js").unlink(), "plugin", "no Kiro plugin", "warning",
        fixable=True,
    ),
    "a plugin whose interpreter is gone": Broken(
        interpreter_gone, "plugin", "/gone/python, which is gone", fixable=True
    ),
    "another Kiro plugin beside it": Broken(
        other_plugin, "plugin", "@zhafron/opencode-kiro-auth as well", "warning"
    ),
    "a provider that OpenCode hides": Broken(
        lambda s: s.write("opencode.json", '{"disabled_providers": ["kiro"]}'), "plugin",
        "disabled_providers",
    ),
    "a gateway that was killed": Broken(
        stale_gateway, "gateway", "does not answer", "warning", fixable=True
    ),
    "a host that cannot be reached": Broken(
        unreachable, "account Builder ID 1", "refuses the connection or cannot be reached"
    ),
    "a clock that is wrong by hours": Broken(
        lambda s: s.simulator.ask("advance", {"seconds": 7200}), "clock", "off by -120 minutes", "warning"
    ),
}  # fmt: skip


def test_where_all_is_well_every_line_is_ok(stage: Stage) -> None:
    code, told = stage.doctor()

    assert (code, [line for line in told["checks"] if line["level"] != "ok"]) == (0, [])
    names = {line["check"].split()[0] for line in told["checks"]}
    assert names == {"version", "configuration", "files", "plugin", "gateway", "account", "clock"}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named_with_its_remedy_and_mended_if_that_is_safe(stage: Stage, name: str) -> None:
    broken = BROKEN[name]
    broken.make(stage)

    code, told = stage.doctor()

    wrong = [line for line in told["checks"] if line["level"] != "ok"]
    found = [line for line in wrong if line["check"] == broken.check and broken.says in line["message"]]
    assert len(found) == 1, wrong
    assert len(wrong) == 1, wrong
    assert (found[0]["level"], found[0]["fixable"]) == (broken.level, broken.fixable)
    assert found[0]["remedy"]
    assert code == (1 if broken.level == "fault" else 0)

    code, told = stage.doctor("--fix")

    assert [line["check"] for line in told["fixed"]] == ([broken.check] if broken.fixable else [])
    still = [line for line in told["checks"] if line["level"] != "ok"]
    assert bool(still) == (not broken.fixable)


def test_people_read_it_line_by_line(stage: Stage) -> None:
    os.chmod(stage.home.config / "kiro-accounts.json", 0o604)

    done = stage.home.run("doctor", check=False)
    assert "FAULT   files: others can read" in done.stdout
    assert "chmod 600" in done.stdout
    assert "(or --fix)" in done.stdout
    mended = stage.home.run("doctor", "--fix")
    assert "mended  files:" in mended.stdout


def test_the_page_names_every_check() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))
    source = Path(checks.__file__).read_text()

    assert told == set(re.findall(r'Finding\(\s*"(\w+)"', source)) | {"account"}
