"""What commands say where the one account cannot be used, and where there is nothing to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.programs import Home, Services


@pytest.fixture
def alone(services: Services, tmp_path: Path) -> Home:
    home = Home(tmp_path)
    services.begin(home, auto_approve=True)
    return home


def test_with_one_account_the_reason_for_no_models_is_its_own(alone: Home) -> None:
    home = alone
    assert "No Kiro account is signed in (KA-NO-ACCOUNT)." in home.run("models", check=False).stderr

    home.run("login", "--builder-id", "--no-browser")
    name = home.json("accounts")["accounts"][0]["name"]
    home.run("accounts", "disable", name)
    done = home.run("models", check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: The account is disabled: switched off by you (KA-ACCOUNTS-BUSY). ")
    assert "kiro-auth accounts enable" in done.stderr


@pytest.mark.parametrize("verb", [("usage",), ("accounts", "verify")])
def test_a_refused_api_key_is_not_said_to_be_renewed(alone: Home, verb: tuple[str, ...]) -> None:
    home = alone
    home.environment["KIRO_API_KEY"] = "ksk_bad"

    done = home.run(*verb, check=False)

    assert (
        "Kiro does not accept the API key: it was revoked or mistyped, or the plan has no API keys "
        "(KA-LOGIN). Make a new one at https://app.kiro.dev, then put it into KIRO_API_KEY" in done.stderr
    )
    assert "refreshed" not in done.stderr


@pytest.mark.clients
def test_env_opencode_says_when_there_is_nothing_to_set(alone: Home) -> None:
    home = alone
    try:
        assert home.run("env", "opencode").stdout.startswith("export OPENCODE_CONFIG_CONTENT=")
        home.run("install", "opencode")
        done = home.run("env", "opencode")
    finally:
        home.stop_gateway()

    assert done.stdout == ""
    assert done.stderr == (
        "note: There is nothing to set: opencode has the plugin, which finds the gateway. "
        "Start it: opencode\n"
    )


def test_what_is_logged_is_a_note_to_a_person(alone: Home) -> None:
    alone.config.mkdir(parents=True)
    record = '{"accounts": [{"id": "abcdefgh", "accessToken": {"not": "a token"}}]}'
    (alone.config / "kiro-accounts.json").write_text(record)

    said = alone.process("models", check=False).stderr.splitlines()

    assert said[0].startswith(
        "note: The account abcdefgh cannot be read: its field accessToken holds what does not belong "
        "there (KA-STORE). "
    )
    assert [line.split(":")[0] for line in said] == ["note", "error"]


@pytest.mark.parametrize(
    "verb",
    [
        *("accounts", "stop"),
        *(pytest.param(verb, marks=pytest.mark.clients) for verb in ("status", "usage", "doctor", "install")),
    ],
)
def test_a_home_that_is_no_folder_is_told_in_plain_words(tmp_path: Path, verb: str) -> None:
    home = Home(tmp_path)
    (tmp_path / ".config").write_text("")
    (tmp_path / ".local").write_text("")

    done = home.process(verb, check=False)

    assert "Traceback" not in done.stderr
    assert "Errno" not in done.stdout + done.stderr
    if verb != "stop":
        assert "a part of its path is a file, not a folder" in done.stdout + done.stderr
