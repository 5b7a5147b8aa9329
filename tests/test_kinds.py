"""The table of kinds: what a record says is read back as the kind that wrote it."""

from __future__ import annotations

from typing import get_args

import pytest

from kiro_auth.kinds import BUILDER_ID_START_URL, KINDS, Kind, stored_kind

START_URL = "https://d-1234567890.awsapps.com/start"


def test_every_kind_has_its_row() -> None:
    assert tuple(KINDS) == get_args(Kind)


def test_no_word_of_a_file_means_two_kinds() -> None:
    words = [word for row in KINDS.values() for word in row.stored]

    assert len(words) == len(set(words))


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_is_read_as_the_kind_that_has_it(kind: Kind) -> None:
    assert {stored_kind(word, None) for word in KINDS[kind].stored} == {kind}


@pytest.mark.parametrize(
    ("method", "start_url", "kind"),
    [
        ("idc", BUILDER_ID_START_URL, "builder-id"),
        ("idc", f"{BUILDER_ID_START_URL}/#/", "builder-id"),
        ("idc", "", "builder-id"),
        ("idc", START_URL, "idc"),
        ("sso", None, "idc"),
        ("social", START_URL, "social"),
        ("of-a-later-version", None, "social"),
    ],
)
def test_the_original_s_word_for_builder_id_means_an_organisation_with_its_start_url(
    method: str, start_url: str | None, kind: Kind
) -> None:
    assert stored_kind(method, start_url) == kind


@pytest.mark.parametrize(
    ("kind", "start_url", "command"),
    [
        ("builder-id", None, "kiro-auth login --builder-id"),
        ("idc", START_URL, f"kiro-auth login --start-url {START_URL} --region eu-north-1"),
        ("idc", None, "kiro-auth login"),
        ("social", None, "kiro-auth login"),
        ("external-idp", None, "kiro-auth login"),
        ("api-key", None, "kiro-auth login --api-key"),
    ],
)
def test_every_kind_says_how_to_sign_in_again(kind: Kind, start_url: str | None, command: str) -> None:
    assert KINDS[kind].sign_in_command(start_url, "eu-north-1") == command
