"""Every credential that Kiro issues, from where it is held to an answer of the running gateway."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from support import foreign
from support.programs import Home, Simulator
from support.serving import serving

KEY = "ksk_simulated_ada_0001"
CHAT, RENEW = "GenerateAssistantResponse", "CreateToken"
ODIC, SOCIAL, COMPANY = "kirocli:odic:token", "kirocli:social:token", "kirocli:external-idp:token"
EMAILS = {ODIC: "ada@example.com", SOCIAL: "joan@example.net", COMPANY: "hedy@example.com"}


class Stage:
    """A home, the services, and a kiro-cli that is signed in on the same machine."""

    def __init__(self, home: Home, simulator: Simulator) -> None:
        self.home = home
        self.simulator = simulator
        self.database = home.folder / ".local" / "share" / "kiro-cli" / "data.sqlite3"

    def kiro_cli(self, key: str, *, expired: bool = False) -> dict[str, Any]:
        """What kiro-cli holds of its sign-in."""
        tokens = self.simulator.ask("sign-in", {"user": EMAILS[key]})
        ends = 1.0 if expired else time.time() + tokens["expiresIn"]
        row = {
            "access_token": tokens["accessToken"], "refresh_token": tokens["refreshToken"],
            "expires_at": foreign.rfc3339(ends), "region": tokens["region"], "extra": "kept",
        }  # fmt: skip
        rows = {key: row}
        if key == ODIC:
            row["oauth_flow"] = "DeviceCode"
            registration = {"client_id": tokens["clientId"], "client_secret": tokens["clientSecret"]}
            rows["kirocli:odic:device-registration"] = registration
        else:
            row["profile_arn"] = tokens["profileArn"]
        if key == COMPANY:
            row["token_endpoint"] = self.simulator.url + tokens["tokenPath"]
            row["client_id"] = tokens["clientId"]
        foreign.kiro_cli(self.database, rows)
        return row

    def row(self, key: str) -> Any:
        return foreign.row_of(self.database, key)

    def calls(self, *operations: str) -> list[dict[str, Any]]:
        return [call for call in self.simulator.ask("calls")["calls"] if call["operation"] in operations]

    def imported(self) -> list[dict[str, Any]]:
        done = self.home.run("accounts", "import", "--from", "kiro-cli", "--yes", "--json")
        return json.loads(done.stdout)["imported"]


@pytest.fixture
def stage(served: tuple[Home, Simulator]) -> Stage:
    home, simulator = served
    home.environment["KIRO_ENDPOINT_EXTERNAL_IDP"] = simulator.url
    return Stage(home, simulator)


async def status_of_a_turn(stage: Stage) -> tuple[int, str]:
    async with serving(stage.home) as gateway:
        status, _, body = await gateway.ask()
    return status, body.get("error", {}).get("message", "")


# -------------------------------------------------------------------------------------------- API keys


async def test_a_key_is_read_from_stdin_checked_and_used_with_its_type(stage: Stage) -> None:
    done = stage.home.run("login", "--api-key", "--json", stdin=KEY + "\n")

    assert KEY not in done.stdout + done.stderr
    assert json.loads(done.stdout)["account"]["kind"] == "api-key"
    assert (await status_of_a_turn(stage))[0] == 200
    [chat] = stage.calls(CHAT)
    assert (chat["headers"]["tokentype"], chat["user"]) == ("API_KEY", "ada@example.com")
    assert stage.calls(RENEW) == []


async def test_a_key_is_judged_by_what_keys_may_ask_and_by_nothing_else(stage: Stage) -> None:
    """A list of profiles is refused to every key, good or not."""
    stage.home.run("login", "--api-key", stdin=KEY)
    verified = stage.home.run("accounts", "verify")
    doctor = stage.home.run("doctor", check=False)

    assert "works and is in use" in verified.stdout
    assert "account a***@example.com" in doctor.stdout
    assert (await status_of_a_turn(stage))[0] == 200
    assert stage.calls("ListAvailableProfiles", "GetProfile") == []


def test_a_second_key_of_the_same_person_replaces_the_first(stage: Stage) -> None:
    keys = [KEY, "ksk_another_one"]
    stage.simulator.ask("user", {"email": "ada@example.com", "apiKeys": keys})
    for key in keys:
        stage.home.run("login", "--api-key", stdin=key)

    [account] = stage.home.accounts()
    assert account["accessToken"] == keys[1]


@pytest.mark.parametrize(
    ("key", "words"),
    [("ksk_nobody_has_this", "Kiro does not accept the API key"), ("sk-123", "that is no kiro api key")],
)
def test_a_key_that_does_not_work_is_refused_with_the_next_step(stage: Stage, key: str, words: str) -> None:
    done = stage.home.run("login", "--api-key", stdin=key, check=False)

    assert done.returncode == 1
    assert words.lower() in done.stderr.lower()
    assert "https://app.kiro.dev" in done.stderr
    assert key not in done.stderr
    assert not (stage.home.config / "kiro-accounts.json").exists()


def test_a_key_in_the_environment_is_an_account_that_is_never_written_down(stage: Stage) -> None:
    stage.home.environment["KIRO_API_KEY"] = KEY

    [account] = stage.home.json("accounts")["accounts"]
    models = stage.home.json("models")["models"]

    assert (account["kind"], account["name"]) == ("api-key", "key in KIRO_API_KEY")
    assert models
    written = foreign.bytes_below(stage.home.folder)
    assert not any(KEY.encode() in data for data in written.values())


async def test_a_revoked_key_is_said_so_and_not_renewed(stage: Stage) -> None:
    stage.home.run("login", "--api-key", stdin=KEY)
    stage.simulator.ask("user", {"email": "ada@example.com", "apiKeys": []})

    status, message = await status_of_a_turn(stage)

    assert status == 424
    assert "login" in message
    assert stage.calls(RENEW) == []


# --------------------------------------------------------------------------------- imported sign-ins


@pytest.mark.parametrize(
    ("key", "renewal", "kind"),
    [
        (ODIC, RENEW, "builder-id"),
        (SOCIAL, "RefreshToken", "social"),
        (COMPANY, "TenantToken", "external-idp"),
    ],
)
async def test_a_sign_in_of_kiro_cli_serves_after_it_was_renewed_and_kiro_cli_is_told(
    stage: Stage, key: str, renewal: str, kind: str
) -> None:
    before = stage.kiro_cli(key, expired=True)

    [done] = stage.imported()
    status, message = await status_of_a_turn(stage)

    assert (done["change"], status, message) == ("added", 200, "")
    assert len(stage.calls(renewal)) == 1
    [account] = stage.home.json("accounts")["accounts"]
    assert account["kind"] == kind
    now = stage.row(key)
    assert now["refresh_token"] != before["refresh_token"]
    assert now["refresh_token"] == stage.home.accounts()[0]["refreshToken"]
    assert (now["extra"], now.keys()) == ("kept", before.keys())


async def test_a_fresh_token_of_kiro_cli_is_taken_over_without_a_renewal(stage: Stage) -> None:
    stage.kiro_cli(ODIC)
    stage.imported()
    tokens = stage.simulator.ask("sign-in", {"user": EMAILS[ODIC]})
    row = stage.row(ODIC) | {
        "access_token": tokens["accessToken"],
        "refresh_token": tokens["refreshToken"],
        "expires_at": foreign.rfc3339(time.time() + 3600),
    }
    foreign.put_row(stage.database, ODIC, row)
    stage.simulator.ask("advance", {"seconds": 1})
    expire_ours(stage)

    status, _ = await status_of_a_turn(stage)

    assert (status, stage.calls(RENEW)) == (200, [])
    assert stage.home.accounts()[0]["refreshToken"] == tokens["refreshToken"]


def expire_ours(stage: Stage) -> None:
    path = stage.home.config / "kiro-accounts.json"
    document = json.loads(path.read_text())
    document["accounts"][0]["expiresAt"] = 1
    path.write_text(json.dumps(document))


async def test_a_token_that_kiro_cli_spent_meanwhile_is_looked_up_again(stage: Stage) -> None:
    stage.kiro_cli(ODIC)
    stage.imported()
    tokens = stage.simulator.ask("sign-in", {"user": EMAILS[ODIC]})  # as after a sign-in in kiro-cli
    row = stage.row(ODIC) | {"refresh_token": tokens["refreshToken"], "expires_at": foreign.rfc3339(1.0)}
    foreign.put_row(stage.database, ODIC, row)
    registration = {"client_id": tokens["clientId"], "client_secret": tokens["clientSecret"]}
    foreign.put_row(stage.database, "kirocli:odic:device-registration", registration)
    stage.simulator.ask("advance", {"seconds": 7200})

    status, message = await status_of_a_turn(stage)

    assert (status, message) == (200, "")
    assert stage.row(ODIC)["refresh_token"] == stage.home.accounts()[0]["refreshToken"]


async def test_after_a_sign_out_in_kiro_cli_nothing_is_written_there(stage: Stage) -> None:
    stage.kiro_cli(ODIC, expired=True)
    stage.imported()
    foreign.put_row(stage.database, ODIC, None)
    stage.simulator.ask("advance", {"seconds": 7200})
    expire_ours(stage)

    status, message = await status_of_a_turn(stage)

    assert status == 424
    assert "kiro-cli has signed out" in message
    assert stage.row(ODIC) is None


async def test_an_identity_provider_that_nobody_knows_is_named_and_never_asked(stage: Stage) -> None:
    stage.kiro_cli(COMPANY, expired=True)
    stage.home.environment["KIRO_ENDPOINT_EXTERNAL_IDP"] = "https://login.example.com"

    [done] = stage.imported()
    status, message = await status_of_a_turn(stage)

    assert "127.0.0.1 is not asked" in done["trouble"]
    assert status == 424
    assert "endpoints.external_idp" in message
    assert stage.calls("TenantToken") == []


def test_an_import_lists_what_it_found_and_changes_nothing_until_it_may(stage: Stage) -> None:
    stage.kiro_cli(ODIC)
    before = foreign.bytes_below(stage.database.parent)

    done = stage.home.run("accounts", "import", check=False)

    assert done.returncode == 1
    assert "kiro-cli" in done.stdout
    assert done.stderr.endswith("kiro-auth accounts import --yes\n")
    assert not (stage.home.config / "kiro-accounts.json").exists()
    assert foreign.bytes_below(stage.database.parent) == before


def test_an_export_is_private_and_brings_the_accounts_to_another_home(stage: Stage, tmp_path: Path) -> None:
    stage.kiro_cli(SOCIAL)
    stage.imported()
    path = tmp_path / "mine.json"

    stage.home.run("accounts", "export", str(path))
    again = stage.home.run("accounts", "export", str(path), check=False)
    elsewhere = Home(tmp_path / "elsewhere")
    elsewhere.environment |= {k: v for k, v in stage.home.environment.items() if k.startswith("KIRO_")}
    elsewhere.folder.mkdir()
    elsewhere.run("accounts", "import", "--from", str(path), "--yes")

    assert path.stat().st_mode & 0o777 == 0o600
    assert (again.returncode, "is there already" in again.stderr) == (1, True)
    [there], [here] = elsewhere.accounts(), stage.home.accounts()
    assert (there["id"], there["refreshToken"]) == (here["id"], here["refreshToken"])
