"""Keys for people and programs, at a real gateway: what each may do, and who is refused by which rule."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from kiro_auth.keys.changes import Limits
from support.programs import KEY, Home, Simulator
from support.virtual import APIS, body_for
from system.test_ledger import until_written

HAIKU = "claude-haiku-4-5"


class Connection:
    """One kept-alive connection of a client that sends one key."""

    def __init__(self, url: str, key: str | None) -> None:
        self._http = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._key = key

    def ask(self, method: str, path: str, body: Any = None, **more: str) -> tuple[int, Any]:
        status, _, said = self.answer(method, path, body, **more)
        return status, said

    def answer(self, method: str, path: str, body: Any = None, **more: str) -> tuple[int, Any, Any]:
        headers = {"x-api-key": self._key} if self._key else {}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        self._http.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._http.getresponse()
        text = answer.read().decode()
        return answer.status, answer.headers, json.loads(text) if text.startswith("{") else text

    def turn(self, path: str = "/v1/messages", model: str = "claude-sonnet-4-5", **more: str) -> Any:
        return self.ask("POST", path, body_for(path, "Hi", model), **more)

    def begin(self, path: str = "/v1/messages") -> http.client.HTTPResponse:
        """A stream, as soon as it has begun."""
        body = json.dumps(body_for(path, "Hi", stream=True))
        self._http.request("POST", path, body, {"x-api-key": self._key or ""})
        return self._http.getresponse()

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def gateway(signed_in_twice: Home) -> Iterator[str]:
    with signed_in_twice.gateway() as url:
        yield url


@pytest.fixture
def signed_in_twice(home: Home, simulator: Simulator) -> Home:
    for _ in range(2):
        home.run("login", "--builder-id", "--no-browser")
    return home


def created(home: Home, name: str, *options: str) -> str:
    """A key that a real command made; its secret."""
    made = home.json("keys", "create", name, *options)
    assert made.keys() == {"id", "name", "key"}
    return str(made["key"])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--models", ""),
        ("--accounts", " , "),
        ("--budget", f"{'9' * 400}/day"),
        ("--concurrency", "9" * 30),
    ],
)
def test_a_limit_that_says_nothing_or_is_no_number_to_keep_makes_no_key(
    home: Home, option: str, value: str
) -> None:
    done = home.run("keys", "create", "ann", option, value, check=False)
    assert done.returncode == 2
    assert option in done.stderr
    assert home.json("keys", "list") == {"keys": []}


def test_a_new_key_counts_at_once_and_a_revoked_one_ends_on_a_connection_that_is_kept(
    home: Home, gateway: str
) -> None:
    made = json.loads(home.process("keys", "create", "ann", "--json").stdout)
    with closing(Connection(gateway, made["key"])) as ann:
        assert [ann.turn(path)[0] for path in APIS] == [200, 200, 200]
        assert ann.ask("GET", "/v1/models")[0] == 200
        assert ann.turn("/v1/messages/count_tokens")[0] == 200
        home.process("keys", "revoke", "ann")
        time.sleep(1.1)

        status, said = ann.turn()
        asked = [ann.turn(path)[0] for path in APIS[1:]]

    assert (status, asked) == (401, [401, 401])
    assert said["error"]["type"] == "authentication_error"
    assert "The key ann was revoked (KA-KEY-REVOKED). Ask the owner" in said["error"]["message"]


def test_a_rotated_key_is_another_secret_with_the_same_id(home: Home, gateway: str) -> None:
    old = home.json("keys", "create", "ann", "--budget", "5/day")
    with closing(Connection(gateway, old["key"])) as before:
        assert before.turn()[0] == 200
        new = home.json("keys", "rotate", "ann")
        time.sleep(1.1)
        with closing(Connection(gateway, new["key"])) as after:
            assert (new["id"], new["name"]) == (old["id"], old["name"])
            assert after.turn()[0] == 200
            assert before.turn()[0] == 401


def test_the_secret_is_shown_once_and_stands_in_no_file(home: Home, gateway: str) -> None:
    secret = created(home, "ann")
    with closing(Connection(gateway, secret)) as ann:
        ann.turn()
        ann.turn(f"/v1/messages?key={secret}")
    kept = [path for path in home.folder.rglob("*") if path.is_file()]

    assert [path for path in kept if secret.encode() in path.read_bytes()] == []
    assert {path.stat().st_mode & 0o777 for path in kept if "client-keys" in path.name} == {0o600}
    assert secret not in home.run("keys", "list").stdout + home.run("keys", "list", "--json").stdout


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/kiro/accounts"),
        ("GET", "/kiro/usage"),
        ("GET", "/kiro/notices"),
        ("GET", "//kiro//accounts"),
        ("GET", "/v1/../kiro/accounts"),
        ("GET", "/%6biro/accounts"),
        ("POST", "/kiro/login"),
        ("GET", "/kiro/login/any"),
        ("POST", "/kiro/stop"),
        ("POST", "/kiro//stop/"),
        ("POST", "/kiro/retire"),
        ("POST", "/kiro/stay"),
        ("POST", "/kiro/new-key"),
        ("GET", "/metrics"),
    ],
)
def test_a_client_key_administers_nothing(client: Connection, method: str, path: str) -> None:
    status, said = client.ask(method, path)

    assert status in ((403, 404) if ".." in path else (403,))
    if status == 403:
        assert said["error"]["type"] == "permission_error"
        assert "(KA-KEY-ADMIN)" in said["error"]["message"]
        assert "GET /kiro/me" in said["error"]["message"]
    assert client.turn()[0] == 200  # it runs still


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, services: Any) -> Iterator[Connection]:
    """Of one gateway for all of them."""
    home = Home(tmp_path_factory.mktemp("home"))
    services.begin(home, auto_approve=True)
    home.run("login", "--builder-id", "--no-browser")
    with home.gateway() as url, closing(Connection(url, created(home, "ann"))) as client:
        yield client


def test_a_key_in_the_address_lets_nobody_in(home: Home, gateway: str) -> None:
    secret = created(home, "ann")
    with closing(Connection(gateway, None)) as nobody:
        for name in ("key", "api_key", "x-api-key", "access_token"):
            status, said = nobody.turn(f"/v1/messages?{name}={secret}")
            assert (status, "KA-KEY" in said["error"]["message"]) == (401, True)
            assert secret not in json.dumps(said)


def test_each_rule_is_named_on_every_api(home: Home, gateway: str, simulator: Simulator) -> None:
    first, second = (account["name"] for account in home.json("accounts")["accounts"])
    keys = {
        "KA-KEY-MODEL": created(home, "models", "--models", "claude-haiku-*"),
        "KA-KEY-ACCOUNT": created(home, "accounts", "--accounts", first),
        "KA-KEY-BUDGET": created(home, "budget", "--budget", "0.01/month"),
        "KA-KEY-EXPIRED": created(home, "expires", "--expires", "1h"),
    }
    path = home.config / "client-keys.json"
    kept = json.loads(path.read_text())
    next(key for key in kept["keys"] if key["name"] == "expires")["expires"] = time.time() - 1
    path.write_text(json.dumps(kept))
    forbidden = (424, 403, 400)  # in the order of the APIs, by what their clients stop at and show
    statuses = {"KA-KEY-MODEL": forbidden, "KA-KEY-ACCOUNT": forbidden}
    statuses |= {"KA-KEY-BUDGET": (402,) * 3, "KA-KEY-EXPIRED": (401,) * 3}
    time.sleep(1.1)
    for code, key in keys.items():
        with closing(Connection(gateway, key)) as held:
            if code == "KA-KEY-BUDGET":
                assert held.turn()[0] == 200
            other = {"x_kiro_account": second} if code == "KA-KEY-ACCOUNT" else {}
            calls = len(simulator.calls())
            for api, expected in zip(APIS, statuses[code], strict=True):
                status, headers, said = held.answer("POST", api, body_for(api, "Hi"), **other)
                assert (status, code in said["error"]["message"]) == (expected, True), said
                assert headers["x-should-retry"] == "false"
            assert len(simulator.calls()) == calls


def test_a_key_for_some_models_and_one_account_is_served_by_these_alone(home: Home, gateway: str) -> None:
    first, second = (account["name"] for account in home.json("accounts")["accounts"])
    with closing(Connection(gateway, created(home, "a", "--models", HAIKU, "--accounts", second))) as held:
        served = [
            held.answer("POST", "/v1/messages", body_for("/v1/messages", "Hi", HAIKU)) for _ in range(4)
        ]
        assert [(status, headers["x-kiro-account"]) for status, headers, _ in served] == [(200, second)] * 4
        status, said = held.turn(model="auto")
        assert (status, "KA-KEY-MODEL" in said["error"]["message"]) == (424, True)
        _, listed = held.ask("GET", "/v1/models")
        names = {model["id"] for model in listed["data"]}
        assert names
        assert all(name.startswith("claude-haiku-4") for name in names)
        assert held.ask("GET", "/v1/models/claude-sonnet-4-5")[0] == 404
        status, said = held.turn(model=HAIKU, x_kiro_account="no-such-account")
        assert (status, first in json.dumps(said)) == (424, False)  # who else there is is not told


def test_concurrency_is_refused_as_passing_and_a_stream_that_ends_makes_room(
    home: Home, gateway: str, simulator: Simulator
) -> None:
    simulator.script({"steps": [{"text": "Hello"}, {"pause": 30}]})
    key = created(home, "ann", "--concurrency", "1")
    with closing(Connection(gateway, key)) as one, closing(Connection(gateway, key)) as other:
        assert one.begin().status == 200
        for path in APIS:
            status, headers, said = other.answer("POST", path, body_for(path, "Hi"))
            assert (status, headers["retry-after"]) == (429, "1")
            assert "KA-KEY-CONCURRENCY" in said["error"]["message"]
        _, me = other.ask("GET", "/kiro/me")
        assert me["concurrency"] == {"limit": 1, "running": 1}
        one.close()
        end = time.monotonic() + 60
        while other.turn()[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.usefixtures("one_day")
def test_me_tells_a_key_its_own_limits_usage_and_accounts_and_no_other_s(home: Home, gateway: str) -> None:
    first, _ = (account["name"] for account in home.json("accounts")["accounts"])
    limits = ("--accounts", first, "--budget", "5/day", "--models", "claude-*", "--expires", "30d")
    key = created(home, "ann", *limits)
    with closing(Connection(gateway, key)) as ann, closing(Connection(gateway, KEY)) as owner:
        assert ann.turn()[0] == 200
        assert owner.turn()[0] == 200
        end = time.monotonic() + 60
        while (me := ann.ask("GET", "/kiro/me")[1])["usage"]["today"]["turns"] == 0:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert (me["name"], me["models"], me["concurrency"]) == ("ann", ["claude-*"], None)
        used = {"turns": 1, "credits": me["budget"]["spent"], "failed": 0}
        assert me["usage"] == {"today": used, "month": used}
        assert me["budget"]["left"] == pytest.approx(5 - me["budget"]["spent"])
        assert [(a["name"], a["state"]) for a in me["accounts"]] == [(first, "ready")]
        assert "ada@" not in json.dumps(me)
        _, of_owner = owner.ask("GET", "/kiro/me")
        assert (of_owner["name"], of_owner["budget"], len(of_owner["accounts"])) == ("owner", None, 2)
        until_written(home, 2)
        assert f"ann ({me['id']})" in home.run("usage", "--by", "key").stdout
        assert {row["key"] for row in home.json("usage", "--by", "key")["rows"]} == {"owner", me["id"]}
        listed = home.json("keys", "list")["keys"][0]
        assert listed["credits"]["today"] == me["budget"]["spent"] > 0


def test_ready_says_draining_while_answers_are_finished(
    home: Home, gateway: str, simulator: Simulator
) -> None:
    simulator.script({"steps": [{"text": "Hello"}, {"pause": 8}, {"text": " you"}]})
    with (
        closing(Connection(gateway, None)) as balancer,
        closing(Connection(gateway, KEY)) as owner,
        closing(Connection(gateway, KEY)) as client,
    ):
        stream = client.begin()
        assert balancer.ask("GET", "/ready") == (200, {"status": "ready"})
        assert owner.ask("POST", "/kiro/retire")[0] == 204
        assert balancer.ask("GET", "/ready") == (503, {"status": "draining"})
        assert b"you" in stream.read()


def test_an_account_of_one_key_is_another_s_only_where_the_configuration_says_so(
    home: Home, signed_in_twice: Home
) -> None:
    first, second = (account["name"] for account in home.json("accounts")["accounts"])
    created(home, "ann", "--accounts", first)
    refused = home.run("keys", "create", "bob", "--accounts", f"{second},{first}", check=False)
    assert refused.returncode == 1
    assert "The key ann is for one of these accounts" in refused.stderr
    assert "share_accounts" in refused.stderr
    assert [key["name"] for key in home.json("keys", "list")["keys"]] == ["ann"]

    (home.config / "kiro.json").write_text('{"share_accounts": true}')
    home.environment |= {"LOGNAME": "somebody-else", "USER": "somebody-else"}
    created(home, "bob", "--accounts", f"{second},{first}")
    audit = home.json("keys", "list", "--audit")["audit"]

    assert [(row["what"], row["name"]) for row in audit] == [("create", "ann"), ("create", "bob")]
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert {row["who"] for row in audit} == {user}
    assert all(row["when"] for row in audit)
    assert msgspec.convert(audit[1]["limits"], Limits).accounts


def test_a_key_is_given_accounts_by_whole_names_as_a_part_of_one_may_be_another_person_s(
    home: Home, signed_in_twice: Home
) -> None:
    accounts = home.json("accounts")["accounts"]
    for whole in (accounts[0]["name"], accounts[1]["email"]):
        part = whole[:4].partition("*")[0]
        refused = home.run("keys", "create", "ann", "--accounts", part, check=False)
        assert (refused.returncode, "KA-ACCOUNT" in refused.stderr) == (1, True)
        home.run("keys", "create", f"key-of-{part}", "--accounts", whole)

    named = [key["accounts"] for key in home.json("keys", "list")["keys"]]
    assert named == [[account["id"]] for account in accounts]


def test_a_file_that_is_damaged_lets_no_client_in_and_the_owner_still(home: Home, gateway: str) -> None:
    key = created(home, "ann")
    with closing(Connection(gateway, key)) as ann, closing(Connection(gateway, KEY)) as owner:
        assert ann.turn()[0] == 200
        (home.config / "client-keys.json").write_text("{")
        time.sleep(1.1)
        status, said = ann.turn()
        assert (status, "client-keys.json" in said["error"]["message"]) == (424, True)
        assert owner.turn()[0] == 200


def test_another_model_answers_only_if_the_key_is_for_it(home: Home, simulator: Simulator) -> None:
    home.run("login", "--builder-id", "--no-browser")
    rule = {"model": "*", "on": ["KA-MODEL"], "use": HAIKU}
    (home.config / "kiro.json").write_text(json.dumps({"model_fallback": [rule]}))
    refusal = {"type": "ValidationException", "message": "No.", "reason": "INVALID_MODEL_ID", "status": 400}
    narrow, wide = created(home, "narrow", "--models", "claude-sonnet-*"), created(home, "wide")
    seen = []
    with home.gateway() as url:
        for key in (narrow, wide):
            simulator.script(*[{"refuse": refusal}] * 2)
            with closing(Connection(url, key)) as held:
                status, headers, _ = held.answer("POST", "/v1/messages", body_for("/v1/messages", "Hi"))
            seen.append((status, headers["x-kiro-model"]))

    assert seen == [(424, None), (200, "claude-haiku-4.5")]
    assert len(simulator.calls()) == 2 + 3
