"""`kiro-auth doctor` names what is broken, says what to do, and mends what it safely can."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pexpect
import pytest

from kiro_auth import __version__
from kiro_auth.store.protocol import Renewed
from kiro_auth.times import distance
from support.opencode import OpenCode
from support.ports import free_port
from support.programs import Home, Simulator
from support.storing import HandStore

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"
ENDPOINTS = [
    f"KIRO_ENDPOINT_{role}" for role in ("RUNTIME", "MANAGEMENT", "OIDC", "DESKTOP_AUTH", "EXTERNAL_IDP")
]
FAR = 4_102_444_800_000  # 2100 begins
START_URL = "https://d-1234567890.awsapps.com/start"


class Stage:
    """A home in which everything is in order, until a test breaks it."""

    def __init__(self, home: Home, simulator: Simulator) -> None:
        self.home = home
        self.simulator = simulator
        self.store = HandStore(home.config, home.state / "locks")

    def account(self, **fields: Any) -> None:
        self.store.change_account(self.home.accounts()[0]["id"], fields)

    def write(self, name: str, text: str) -> None:
        (self.home.config / name).write_text(text)

    def opencode(self, script: str) -> None:
        """Put a program `opencode` where the PATH finds it first."""
        program = self.home.folder / "bin" / "opencode"
        program.parent.mkdir(exist_ok=True)
        program.write_text(script)
        program.chmod(0o755)
        if not self.home.environment["PATH"].startswith(f"{program.parent}:"):
            self.home.environment["PATH"] = f"{program.parent}:{self.home.environment['PATH']}"

    def doctor(self, *options: str) -> tuple[int, Any]:
        done = self.home.run("doctor", "--json", *options, check=False)
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def stage(served: tuple[Home, Simulator]) -> Stage:
    home, simulator = served
    simulator.ask("settings", {"autoApprove": True})
    home.run("login", "--builder-id", "--no-browser")
    home.run("install", "opencode")
    stage = Stage(home, simulator)
    stage.opencode("#!/bin/sh\necho 1.18.34\n")
    return stage


def stale_gateway(stage: Stage) -> None:
    stage.home.state.mkdir(parents=True, exist_ok=True)
    announced = {"port": free_port(), "key": "k", "secret": "s", "pid": 1, "version": "0.0.1"}
    (stage.home.state / "gateway.json").write_text(json.dumps(announced))
    (stage.home.state / "gateway.json").chmod(0o600)


def key_for_others(stage: Stage) -> None:
    stage.home.run("key", "show")
    (stage.home.state / "address.json").chmod(0o644)


def moved_gateway(stage: Stage) -> None:
    change = {"why": "taken", "at": time.time(), "port": 20001, "newKey": False}
    stage.home.run("key", "show")
    kept = {"port": 20002, "key": "a-key-that-is-kept", "change": change}
    (stage.home.state / "address.json").write_text(json.dumps(kept))


def interpreter_gone(stage: Stage) -> None:
    path = stage.home.config / "plugin" / "kiro.js"
    text, number = re.subn(r"const START = \[.*\];", 'const START = ["/gone/python"];', path.read_text())
    assert number == 1
    path.write_text(text)


def older_plugin(stage: Stage) -> None:
    path = stage.home.config / "plugin" / "kiro.js"
    path.write_text(path.read_text().replace(f"plugin {__version__}\n", "plugin 0.0.1\n", 1))


def no_profile(stage: Stage) -> None:
    stage.account(authMethod="sso", ssoStartUrl=START_URL)


def nobody(stage: Stage) -> None:
    for account in stage.home.accounts():
        stage.home.run("accounts", "remove", account["id"])


def unreachable(stage: Stage) -> None:
    stage.home.environment["KIRO_ENDPOINT_MANAGEMENT"] = f"http://127.0.0.1:{free_port()}"


def other_plugin(stage: Stage) -> None:
    stage.write("opencode.json", '{"plugin": ["@zhafron/opencode-kiro-auth"]}')


def other_plugin_file(stage: Stage) -> None:
    path = stage.home.folder / ".opencode" / "plugin" / "opencode-kiro-auth.js"
    path.parent.mkdir(parents=True)
    path.write_text("export const Other = async () => ({})")


def no_plugin(stage: Stage) -> None:
    stage.write("opencode.json", "{}")
    (stage.home.config / "plugin" / "kiro.js").unlink()


def other_plugin_package(stage: Stage) -> None:
    path = stage.home.config / "plugins" / "opencode-kiro-auth" / "index.js"
    path.parent.mkdir(parents=True)
    path.write_text("export default {}")


def release(version: str) -> Callable[[Stage], object]:
    return lambda stage: stage.opencode(f"#!/bin/sh\necho opencode v{version}\n")


def switched_off(stage: Stage) -> None:
    release("2.1.0")(stage)
    stage.write("opencode.json", '{"plugins": ["-*", "opencode.lsp"]}')


def folder_of_its_own(stage: Stage) -> None:
    """One that OpenCode 2 reads instead of the usual one, after the plugin was installed into that."""
    release("2.1.0")(stage)
    stage.home.environment["OPENCODE_CONFIG_DIR"] = str(stage.home.folder / "own")


def catalogue(home: Home, text: str = '{"kiro": {"models": {"auto": {}, "claude-sonnet-4.6": {}}}}') -> Path:
    path = home.folder / ".cache" / "opencode" / "models.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def no_state_folder(stage: Stage) -> None:
    """A file is where it belongs, which stops root as well."""
    shutil.rmtree(stage.home.state)
    stage.home.state.write_text("")


def copy_for_all(stage: Stage) -> None:
    path = stage.home.config / "kiro-accounts.json.backup-20260101T000000Z"
    path.write_text("{}")
    path.chmod(0o644)


def for_a_group(stage: Stage) -> None:
    """A group that is not this user's own: no system has one of that number."""
    os.chown(stage.home.state, -1, 54321)
    stage.home.state.chmod(0o770)


def unsaved(stage: Stage) -> None:
    account = stage.store.accounts()[0]
    fields = {"accessToken": "new", "refreshToken": "newer", "generation": 9}
    stage.store.ahead.keep(Renewed(account["id"], account["refreshToken"], fields))


def no_keyring(stage: Stage) -> None:
    stage.home.environment["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nowhere"
    stage.write("kiro.json", '{"secrets": "keyring"}')


def cooling(stage: Stage) -> None:
    stage.account(state="cooling", stateCode="KA-THROTTLE", stateUntil=FAR)


@dataclass
class Broken:
    """A broken set-up: how, what must be said, how bad it is, and whether `--fix` mends it.

    With `none_serves` it is a reason for which no account can take a request, which is a fault too.
    """

    make: Callable[[Stage], object]
    check: str
    says: str
    level: str = "fault"
    fixable: bool = False
    none_serves: bool = False


BROKEN = {
    "an option out of its range": Broken(
        lambda s: s.write("kiro.json", '{"rate_limit_max_retries": 99}'), "configuration",
        "rate_limit_max_retries", "warning",
    ),
    "a configuration that is no JSON": Broken(
        lambda s: s.write("kiro.json", "{"), "configuration", "is not JSON", "warning"
    ),
    "a gateway's key that others can read": Broken(
        key_for_others, "files", "others can read", fixable=True
    ),
    "a gateway that had to move to another port": Broken(
        moved_gateway, "gateway", "The gateway has moved to port 20002, with the key it had.", "warning",
        fixable=True,
    ),
    "an accounts file that others can read": Broken(
        lambda s: (s.home.config / "kiro-accounts.json").chmod(0o644), "files", "others can read",
        fixable=True,
    ),
    "a copy of the accounts that others can read": Broken(
        copy_for_all, "files", "others can read", fixable=True
    ),
    "a folder that all may write": Broken(
        lambda s: s.home.config.chmod(0o777), "files", "all users of this machine can write in", fixable=True,
    ),
    "a folder above that all may write": Broken(
        lambda s: s.home.config.parent.chmod(0o757), "files", "all users of this machine can write in",
        fixable=True,
    ),
    "a folder that a group of others may write": Broken(
        for_a_group, "files", "other members of its group can write in", fixable=True,
    ),
    "a new token that could not be saved": Broken(
        unsaved, "files", "the new token of a***@example.com could not be saved",
    ),
    "a keyring that is not there": Broken(no_keyring, "secrets", "There is no keyring of the system here"),
    "an accounts file that is no JSON": Broken(
        lambda s: s.write("kiro-accounts.json", "{"), "accounts", "is not JSON"
    ),
    "nobody signed in": Broken(nobody, "accounts", "no account is signed in"),
    "a sign-in that has ended": Broken(
        lambda s: (s.simulator.ask("revoke", {"user": "ada@example.com"}), s.account(expiresAt=1)),
        "account a***@example.com", "The sign-in has ended",
    ),
    "a suspended account": Broken(
        lambda s: s.simulator.ask("user", {"email": "ada@example.com", "suspended": True}),
        "account a***@example.com", "AWS has locked the account",
    ),
    "a plan that is used up": Broken(
        lambda s: s.simulator.ask("user", {"email": "ada@example.com", "used": 1000}),
        "account a***@example.com", "100% of KIRO PRO is used", "warning", none_serves=True,
    ),
    "an organisation's account without a profile": Broken(
        no_profile, "account a***@example.com", "No Kiro profile assigned"
    ),
    "a registration that ends soon": Broken(
        lambda s: s.account(clientSecretExpiresAt=1), "account a***@example.com",
        "registration with AWS has ended",
        "warning",
    ),
    "endpoints that are none": Broken(
        lambda s: s.write("kiro.json", '{"endpoints": 5}'), "configuration", "endpoints in", "warning"
    ),
    "a state folder that cannot be written": Broken(
        no_state_folder, "files", "nothing can be written in"
    ),
    "a key in the environment that is none": Broken(
        lambda s: s.home.environment.update(KIRO_API_KEY="zzz"), "accounts",
        "KIRO_API_KEY holds no Kiro API key",
    ),
    "a key that Kiro does not accept": Broken(
        lambda s: s.home.environment.update(KIRO_API_KEY="ksk_bad"), "account key in KIRO_API_KEY",
        "Kiro does not accept the API key",
    ),
    "an account that was asked to slow down": Broken(
        cooling, "account a***@example.com",
        "throttled: Kiro asks the account to slow down (KA-THROTTLE). "
        f"Available again 2100-01-01 00:00 UTC, {distance(FAR / 1000 - time.time())}.",
        "warning", none_serves=True,
    ),
    "no plugin in OpenCode": Broken(
        no_plugin, "plugin", "no Kiro plugin", "warning", fixable=True
    ),
    "a file of somebody else where the plugin belongs": Broken(
        lambda s: s.write("plugin/kiro.js", "export const Mine = async () => ({})"), "plugin",
        "plugin/kiro.js was not written by this program", "warning",
    ),
    "a file that is another Kiro plugin": Broken(
        other_plugin_file, "plugin", "/.opencode/plugin/opencode-kiro-auth.js, which", "warning"
    ),
    "a configuration of OpenCode that is no JSON": Broken(
        lambda s: s.write("opencode.json", "{bad"), "plugin",
        "opencode.json is not JSON: see line 1, column 2.", "warning",
    ),
    "a plugin whose interpreter is gone": Broken(
        interpreter_gone, "plugin", "/gone/python, which is gone", fixable=True
    ),
    "a plugin of another version": Broken(
        older_plugin, "plugin", "the plugin is of another version", "warning", fixable=True
    ),
    "another Kiro plugin beside it": Broken(
        other_plugin, "plugin", "@zhafron/opencode-kiro-auth as well", "warning"
    ),
    "another Kiro plugin in the list of OpenCode 2": Broken(
        lambda s: s.write("opencode.json", '{"plugins": [{"package": "opencode-kiro-auth"}]}'), "plugin",
        "opencode-kiro-auth as well", "warning",
    ),
    "a package that is another Kiro plugin": Broken(
        other_plugin_package, "plugin", "OpenCode 2 loads", "warning"
    ),
    "an entry that keeps OpenCode 2 from loading the plugin": Broken(
        switched_off, "plugin", '"-*" in `plugins` of',
    ),
    "a folder that OpenCode 2 reads instead of the plugin's": Broken(
        folder_of_its_own, "plugin", "/own, which OPENCODE_CONFIG_DIR names, and not", fixable=True
    ),
    "a release of OpenCode that refuses the plugin": Broken(
        release("2.0.3"), "opencode", "OpenCode 2.0.3 cannot load the plugin."
    ),
    "a release of OpenCode that was not seen": Broken(
        release("1.19.0"), "opencode", "OpenCode 1.19.0 was not tried with the plugin", "warning"
    ),
    "a program opencode that does not start": Broken(
        lambda s: s.opencode("#!/bin/sh\nexit 7\n"), "opencode", "ended with exit code 7", "warning"
    ),
    "a provider that OpenCode hides": Broken(
        lambda s: s.write("opencode.json", '{"disabled_providers": ["kiro"]}'), "plugin",
        "disabled_providers",
    ),
    "a gateway that was killed": Broken(
        stale_gateway, "gateway", "does not answer", "warning", fixable=True
    ),
    "a host that cannot be reached": Broken(
        unreachable, "account a***@example.com", "refuses the connection or cannot be reached"
    ),
    "a clock that is wrong by hours": Broken(
        lambda s: s.simulator.ask("advance", {"seconds": 7200}), "clock",
        "this machine's clock is 2 hours slow", "warning",
    ),
}  # fmt: skip


def test_where_all_is_well_every_line_is_ok(stage: Stage) -> None:
    code, told = stage.doctor()

    assert (code, [line for line in told["checks"] if line["level"] != "ok"]) == (0, [])
    names = {line["check"].split()[0] for line in told["checks"]}
    assert names == {"version", "configuration", "files", "plugin", "opencode", "gateway", "account", "clock"}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named_with_its_remedy_and_mended_if_that_is_safe(stage: Stage, name: str) -> None:
    broken = BROKEN[name]
    broken.make(stage)

    code, told = stage.doctor()

    wrong = [line for line in told["checks"] if line["level"] != "ok"]
    if broken.none_serves:
        (none,) = (line for line in wrong if line["check"] == "accounts")
        wrong.remove(none)
        assert (none["level"], none["message"][:37]) == ("fault", "no account can take a request now (KA")
    found = [line for line in wrong if line["check"] == broken.check and broken.says in line["message"]]
    assert len(found) == 1, wrong
    assert len(wrong) == 1, wrong
    assert (found[0]["level"], found[0]["fixable"]) == (broken.level, broken.fixable)
    assert found[0]["remedy"]
    assert code == (1 if broken.level == "fault" or broken.none_serves else 0)

    code, told = stage.doctor("--fix")

    assert [line["check"] for line in told["fixed"]] == ([broken.check] if broken.fixable else [])
    still = [line for line in told["checks"] if line["level"] != "ok"]
    assert bool(still) == (not broken.fixable)


@pytest.mark.parametrize("text", ["{", '{"endpoints": {"runtime": "htps://kiro.example.com"}}'])
def test_addresses_that_may_be_named_but_are_not_known_are_a_fault_as_nothing_is_sent(
    stage: Stage, text: str
) -> None:
    """The other addresses come from the environment here."""
    del stage.home.environment["KIRO_ENDPOINT_RUNTIME"]
    stage.write("kiro.json", text)

    code, told = stage.doctor()

    [line] = [line for line in told["checks"] if line["check"] == "configuration" and line["level"] != "ok"]
    assert (code, line["level"]) == (1, "fault")
    assert "Nothing is sent to the public addresses" in line["message"]


@pytest.mark.skipif(os.name != "posix", reason="groups of POSIX")
def test_a_folder_that_the_user_s_own_group_may_write_is_well(stage: Stage) -> None:
    """So many systems make all folders: a group for each user, and a umask of 002."""
    stage.home.state.chmod(0o775)

    code, told = stage.doctor()

    assert code == 0, told
    assert said_of(told, "files") == [("ok", f"only you can read {stage.home.config / 'kiro-accounts.json'}")]


def test_status_says_that_a_new_token_is_not_saved_yet(stage: Stage) -> None:
    unsaved(stage)

    done = stage.home.run("status", check=False)

    assert "The new token of a***@example.com could not be saved yet (KA-STORE)" in done.stderr
    assert "newer" not in done.stdout + done.stderr


def test_an_account_that_waits_is_told_of_in_one_line(stage: Stage) -> None:
    cooling(stage)

    _, told = stage.doctor()

    assert len([line for line in told["checks"] if line["check"].startswith("account ")]) == 1


def test_where_the_service_does_not_answer_the_clock_is_not_judged(stage: Stage) -> None:
    unreachable(stage)
    assert said_of(stage.doctor()[1], "clock") == [("ok", "not known, as no service has said the time")]


def test_one_account_that_can_serve_is_enough(stage: Stage) -> None:
    stage.home.run("login", "--builder-id", "--no-browser")
    cooling(stage)

    code, told = stage.doctor()

    assert code == 0
    assert {line["level"] for line in told["checks"]} == {"ok", "warning"}


def test_a_key_that_kiro_does_not_accept_is_not_said_to_be_refreshed(stage: Stage) -> None:
    stage.home.environment["KIRO_API_KEY"] = "ksk_bad"

    _, told = stage.doctor()

    (line,) = (line for line in told["checks"] if line["check"] == "account key in KIRO_API_KEY")
    assert line["remedy"] == "Make a new one at https://app.kiro.dev, then put it into KIRO_API_KEY"
    assert "refreshed" not in json.dumps(told)


def test_where_every_account_is_disabled_no_request_can_be_served(stage: Stage) -> None:
    stage.home.run("accounts", "disable", "a***@example.com")

    code, told = stage.doctor()

    wrong = {line["check"]: line["level"] for line in told["checks"] if line["level"] != "ok"}
    assert (code, wrong) == (1, {"accounts": "fault", "account a***@example.com": "warning"})
    said = [line["message"] for line in told["checks"] if line["check"] == "account a***@example.com"]
    assert said == ["The account is disabled: switched off by you."]
    assert said_of(told, "clock")[0][1].startswith("not known")


def test_the_options_that_differ_are_named_and_those_of_the_first_file_do_not_count(stage: Stage) -> None:
    def said() -> str:
        _, told = stage.doctor()
        return next(line["message"] for line in told["checks"] if line["check"] == "configuration")

    redirected = [name.removeprefix("KIRO_ENDPOINT_").lower() for name in ENDPOINTS]
    assert said().startswith("differs from the defaults: endpoints.")
    assert all(f"endpoints.{role}" in said() for role in redirected)

    stage.home.environment["KIRO_TOAST_LEVEL"] = "none"
    assert said().startswith("differs from the defaults: toast_level, endpoints.runtime, ")

    del stage.home.environment["KIRO_TOAST_LEVEL"]
    for name in ENDPOINTS:
        stage.home.environment[name] = ""
    nobody(stage)  # so that nobody at AWS is asked
    assert said() == "all options have their defaults"


def test_where_there_is_no_opencode_no_plugin_is_missing(served: tuple[Home, Simulator]) -> None:
    home, simulator = served
    simulator.ask("settings", {"autoApprove": True})
    home.run("login", "--builder-id", "--no-browser")

    told = json.loads(home.run("doctor", "--json", "--fix").stdout)

    assert [line for line in told["checks"] if line["check"] in ("plugin", "opencode", "catalogue")] == []
    assert not (home.config / "plugin").exists()


def said_of(told: Any, check: str) -> list[tuple[str, str]]:
    return [(line["level"], line["message"]) for line in told["checks"] if line["check"] == check]


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 1.14.48", "OpenCode 1.14.48: the plugin was run with this release"),
        (
            "echo opencode v2.0.4",
            "OpenCode 2.0.4: the plugin is made from the source of 2.x, and was not run",
        ),
    ],
)
def test_a_release_that_is_known_is_named_with_what_is_known(stage: Stage, script: str, says: str) -> None:
    stage.opencode(f"#!/bin/sh\n{script}\n")

    code, told = stage.doctor()

    ((level, message),) = said_of(told, "opencode")
    assert (code, level, message[: len(says)]) == (0, "ok", says)
    assert ("opencode service restart" in message) == ("2.x" in says)


def test_a_plugin_without_a_program_on_the_path_is_no_fault(stage: Stage) -> None:
    (stage.home.folder / "bin" / "opencode").unlink()

    code, told = stage.doctor()

    says = "there is no program opencode on the PATH, so its release was not looked at"
    assert (code, said_of(told, "opencode")) == (0, [("ok", says)])


def test_a_release_that_refuses_the_plugin_is_no_fault_where_there_is_none(stage: Stage) -> None:
    stage.home.run("uninstall", "opencode")
    release("2.0.1")(stage)

    code, told = stage.doctor()

    assert (code, said_of(told, "opencode")) == (0, [("warning", "OpenCode 2.0.1 cannot load the plugin.")])


def test_what_hides_the_plugin_from_opencode_2_is_no_fault_in_1_x(stage: Stage) -> None:
    stage.write("opencode.json", '{"plugins": ["-kiro-auth"]}')

    code, told = stage.doctor()

    (message,) = (message for level, message in said_of(told, "plugin") if level == "warning")
    assert (code, message.startswith('"-kiro-auth" in `plugins` of ')) == (0, True)


def test_a_catalogue_with_kiro_is_told_of_with_what_it_means(stage: Stage) -> None:
    path = catalogue(stage.home)

    code, told = stage.doctor()

    ((level, message),) = said_of(told, "catalogue")
    assert (code, level) == (0, "ok")
    assert f"({path}) lists a provider kiro with 2 models; " in message
    assert "none is listed twice" in message

    stage.home.run("uninstall", "opencode")
    code, told = stage.doctor()

    ((level, message),) = said_of(told, "catalogue")
    assert (code, level) == (0, "warning")
    assert "They do not work without the plugin." in message


@pytest.mark.parametrize("text", ["", "[", '{"anthropic": {}}', '{"kiro": 5}'])
def test_a_catalogue_without_kiro_is_nothing_to_tell_of(stage: Stage, text: str) -> None:
    catalogue(stage.home, text)

    code, told = stage.doctor()

    assert (code, said_of(told, "catalogue")) == (0, [])


@pytest.mark.real
@pytest.mark.clients
def test_the_catalogue_is_read_where_the_real_opencode_keeps_it(stage: Stage) -> None:
    opencode = OpenCode("1.18.34", stage.home)
    stage.opencode(f'#!/bin/sh\nexec {opencode.binary} "$@"\n')
    with catalogue_served(b'{"kiro": {"id": "kiro", "name": "Kiro", "env": ["X"], "models": {}}}') as url:
        stage.home.environment["OPENCODE_MODELS_URL"] = url
        environment = {**opencode.environment, "OPENCODE_MODELS_URL": url}
        del environment["OPENCODE_DISABLE_MODELS_FETCH"]
        subprocess.run(
            [opencode.binary, "models", "--refresh"], env=environment, capture_output=True, timeout=200
        )

    code, told = stage.doctor()

    ((level, message),) = said_of(told, "catalogue")
    assert (code, level) == (0, "ok")
    assert re.search(r"/models-[0-9a-f]{40}\.json\) lists a provider kiro with 0 models", message)
    assert said_of(told, "opencode") == [("ok", "OpenCode 1.18.34: the plugin was run with this release")]


@contextlib.contextmanager
def catalogue_served(body: bytes) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{// of mine\n"a": [1, 2,], /* "x */ "url": "https://x//,}",\n}', '{"port": {env:PORT}}'],
)
def test_what_opencode_takes_is_no_broken_configuration(stage: Stage, text: str) -> None:
    stage.write("opencode.jsonc", text)

    code, told = stage.doctor()

    assert (code, [line for line in told["checks"] if line["level"] != "ok"]) == (0, [])


def test_a_fix_that_fails_is_told_beside_what_was_found(stage: Stage) -> None:
    shutil.rmtree(stage.home.config / "plugin")
    stage.write("plugin", "")
    stage.write("opencode.json", "{}")
    (stage.home.config / "kiro-accounts.json").chmod(0o644)

    code, told = stage.doctor("--fix")

    assert [line["check"] for line in told["fixed"]] == ["files"]
    wrong = [line["message"] for line in told["checks"] if line["level"] != "ok"]
    assert wrong[0] == "OpenCode has no Kiro plugin."
    assert wrong[1].startswith(f"--fix failed: {stage.home.config}/plugin/kiro.js cannot be used: ")
    assert (code, len(wrong)) == (0, 2)
    assert {"version", "gateway", "clock"} <= {line["check"] for line in told["checks"]}


def test_a_project_s_own_options_are_said_to_be_unread(stage: Stage) -> None:
    project = stage.home.folder / "project"
    (project / ".opencode").mkdir(parents=True)
    (project / ".opencode" / "kiro.json").write_text("{}")

    done = stage.home.run("doctor", folder=project)

    assert done.returncode == 0
    assert f"warning configuration: {project}/.opencode/kiro.json is not read" in done.stdout
    assert f"Put its options into {stage.home.config}/kiro.json." in done.stdout


def test_accounts_are_asked_at_the_same_time_and_told_of_in_their_order(stage: Stage) -> None:
    stage.home.run("login", "--builder-id", "--no-browser")
    names = [account["name"] for account in stage.home.json("accounts")["accounts"]]
    with answering_together(len(names)) as (url, together):
        stage.home.environment["KIRO_ENDPOINT_MANAGEMENT"] = url
        _, told = stage.doctor()

    assert together.is_set()
    accounts = [line["check"] for line in told["checks"] if line["check"].startswith("account ")]
    assert accounts == [f"account {name}" for name in names]


@contextlib.contextmanager
def answering_together(number: int) -> Iterator[tuple[str, threading.Event]]:
    """A service that refuses everybody once so many ask at a time; and whether that happened."""
    together = threading.Event()
    barrier = threading.Barrier(number, action=together.set)

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(40)
            self.send_response(500)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", together
        finally:
            server.shutdown()


def test_no_color_is_honoured_in_a_terminal(stage: Stage) -> None:
    plain, coloured = (in_terminal(stage.home, value) for value in ("1", ""))

    assert "ok      version" in plain
    assert "\x1b[" not in plain
    assert "\x1b[32mok" in coloured


def in_terminal(home: Home, no_color: str) -> str:
    environment = {**home.environment, "TERM": "xterm-256color", "NO_COLOR": no_color}
    child = home.terminal("doctor", environment=environment)
    child.expect(pexpect.EOF)
    child.close()
    return str(child.before)


def test_people_read_it_line_by_line(stage: Stage) -> None:
    os.chmod(stage.home.config / "kiro-accounts.json", 0o604)

    done = stage.home.run("doctor", check=False)
    assert "FAULT   files: others can read" in done.stdout
    assert "chmod 600" in done.stdout
    assert "(or --fix)" in done.stdout
    mended = stage.home.run("doctor", "--fix")
    assert "mended  files:" in mended.stdout


def test_the_page_names_every_check_that_there_is(stage: Stage) -> None:
    """Those that speak where all is well, and those that only tell of something broken."""
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))
    catalogue(stage.home)  # of which there is nothing to say until it lists Kiro
    _, told = stage.doctor()

    lines = [line["check"] for line in told["checks"]] + [broken.check for broken in BROKEN.values()]
    assert named == {line.split()[0] for line in lines}
