"""API keys: the form of one, where a wrong one came from, and what a refusal of one means."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_auth.failures import ConfigFailed, Failure, SignInFailed
from kiro_auth.login.api_key import checked, key_record, rejected
from support.programs import Home

REFUSED = Failure(code="KA-TOKEN", message="Kiro no longer accepts the access token.")


@pytest.mark.parametrize("key", ["zzz", "ksk_ab c", "ksk_ab...yz", "ksk_é"])
def test_a_key_that_cannot_be_one_is_refused_and_one_of_the_environment_by_the_variable(key: str) -> None:
    with pytest.raises(SignInFailed, match="That is no Kiro API key"):
        checked(key)
    with pytest.raises(ConfigFailed, match=r"KIRO_API_KEY holds no Kiro API key.*unset KIRO_API_KEY"):
        key_record(key)


def test_white_space_around_a_key_is_taken_off() -> None:
    assert checked(" ksk_a\n") == key_record(" ksk_a\n")["accessToken"] == "ksk_a"


def test_a_refused_key_is_not_said_to_be_refreshed() -> None:
    stored, of_environment = rejected(REFUSED), rejected(REFUSED, str(key_record("ksk_a")["id"]))

    assert stored.message.startswith("Kiro does not accept the API key")
    assert str(stored.next_step).endswith("kiro-auth login --api-key")
    assert str(of_environment.next_step).endswith("put it into KIRO_API_KEY")


def test_another_failure_of_a_key_is_told_as_it_is() -> None:
    failure = Failure(code="KA-NETWORK", message="Kiro cannot be reached.")

    assert rejected(failure) is failure


def test_a_command_names_the_variable_that_holds_no_key(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.environment["KIRO_API_KEY"] = "zzz"

    refused = home.run("accounts", check=False)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: KIRO_API_KEY holds no Kiro API key")
