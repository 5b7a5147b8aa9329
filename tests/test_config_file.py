"""`kiro.json` for people who edit it: the published schema, the first file, the commands about it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kiro_auth.config import load
from kiro_auth.config_file import published, schema, write_template
from kiro_auth.options import OPTIONS
from support.programs import KEY, Home

PUBLISHED = json.loads(published())
VALIDATOR = Draft202012Validator(PUBLISHED)


def test_the_published_schema_is_the_one_of_the_options() -> None:
    """After a change that is meant: `kiro_auth.config_file.schema()` says what to publish."""
    Draft202012Validator.check_schema(PUBLISHED)
    assert schema() == PUBLISHED


values = st.one_of(
    st.none(), st.booleans(), st.integers(-10, 700_000), st.sampled_from(["sticky", "us-east-1", "x", ""]),
    st.sampled_from(["https://d-1.awsapps.com/start", "ftp://x", "http://127.0.0.1:1"]),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([option.name for option in OPTIONS]), values, max_size=4))
def test_what_the_program_takes_without_a_word_the_schema_takes(
    tmp_path_factory: pytest.TempPathFactory, given_options: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("config")
    (folder / "kiro.json").write_text(json.dumps(given_options))

    problems = load(environment={}, folder=folder).problems

    if not problems:
        assert VALIDATOR.is_valid(given_options)


@pytest.mark.parametrize(
    "endpoints",
    [
        {"runtime": "https://a.example"},
        {"oidc": ["http://127.0.0.1:1/{region}", {"url": "https://a.example", "protocol": "rest"}]},
    ],
)
def test_endpoints_are_in_the_schema(endpoints: Any) -> None:
    assert VALIDATOR.is_valid({"endpoints": endpoints})
    assert not VALIDATOR.is_valid({"endpoints": {"nowhere": "https://a.example"}})
    assert not VALIDATOR.is_valid({"rate_limit_max_retrys": 1})


def test_the_first_one_clears_what_a_gateway_left_that_was_killed_while_it_wrote_one(tmp_path: Path) -> None:
    (tmp_path / ".kiro.json-0123abcd").write_text("{")

    write_template(tmp_path)

    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_first_file_holds_the_defaults_names_its_schema_and_is_never_written_over(tmp_path: Path) -> None:
    write_template(tmp_path)
    written = json.loads((tmp_path / "kiro.json").read_text())

    assert VALIDATOR.is_valid(written)
    assert json.loads((tmp_path / written["$schema"]).read_text()) == PUBLISHED
    config = load(environment={}, folder=tmp_path)
    assert config.problems == ()
    assert all(getattr(config, option.name) == option.default for option in OPTIONS)

    (tmp_path / "kiro.json").write_text('{"rate_limit_max_retries": 1}')
    write_template(tmp_path)
    assert (tmp_path / "kiro.json").read_text() == '{"rate_limit_max_retries": 1}'


def test_it_is_written_for_people_who_use_kiro_and_for_nobody_else(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.simulator("--auto-approve"):
        for verb in ("accounts", "usage", "config show", "status"):
            home.run(*verb.split(), check=False)
        with home.gateway():
            pass
        assert not home.config.exists() or list(home.config.iterdir()) == []

        home.run("login", "--builder-id", "--no-browser")
        with home.gateway() as url:
            asked = urllib.request.Request(f"{url}/v1/models", headers={"x-api-key": KEY})
            with urllib.request.urlopen(asked, timeout=10) as answer:
                assert answer.status == 200

    assert (home.config / "kiro.json").exists()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.config.mkdir(parents=True)
    (home.config / "kiro.json").write_text(
        '{\n  // mine\n  "rate_limit_max_retries": 1,\n  "default_region": "the moon",\n}'
    )
    home.environment["KIRO_USAGE_SYNC_MAX_RETRIES"] = "2"
    return home


def test_show_says_of_every_option_where_its_value_comes_from(home: Home) -> None:
    told = home.json("config", "show")
    by_name = {row["name"]: row for row in told["options"]}

    assert by_name["rate_limit_max_retries"]["value"] == 1
    assert by_name["rate_limit_max_retries"]["from"] == str(home.config / "kiro.json")
    assert by_name["usage_sync_max_retries"]["from"] == "KIRO_USAGE_SYNC_MAX_RETRIES"
    assert by_name["default_region"] | {"allowed": ""} == {
        "name": "default_region", "value": "us-east-1", "from": "default", "default": "us-east-1",
        "allowed": "", "environment": "KIRO_DEFAULT_REGION",
    }  # fmt: skip
    assert "the moon" in told["problems"][0]
    home.environment["KIRO_BUDGETS"] = '{"day": 5}'
    shown = home.run("config", "show")
    assert "usage_sync_max_retries" in shown.stdout
    assert '{"day": 5' in shown.stdout  # as kiro.json has it, not as Python writes it
    assert "the moon" in shown.stderr


def test_check_names_what_cannot_be_used(home: Home) -> None:
    done = home.run("config", "check", check=False)
    assert (done.returncode, "default_region" in done.stdout) == (1, True)

    (home.config / "kiro.json").write_text("{}")
    done = home.run("config", "check")
    assert done.stdout == "All options can be used.\n"


def test_what_cannot_be_used_is_told_in_whole_sentences(home: Home) -> None:
    path = home.config / "kiro.json"
    path.write_text(
        '{"endpoints": {"nope": "https://x", "runtime": {"url": "https://x", "protocol": "soap"}}'
    )
    broken = home.run("config", "check", check=False)
    assert broken.stdout == (
        f"{path} is not JSON: see line 1, column 89 (KA-CONFIG). Correct {path}; its options are not used.\n"
    )

    path.write_text(path.read_text() + "}")
    done = home.run("config", "check", check=False)
    assert done.returncode == 1
    assert f"endpoints.nope in {path} is no option (KA-CONFIG). There are runtime, " in done.stdout
    assert (
        'is "soap", but must be one of rest, rpc (KA-CONFIG). Correct endpoints.runtime.protocol'
        in done.stdout
    )


def test_a_project_s_own_file_is_said_to_be_unread(home: Home, tmp_path: Path) -> None:
    (home.config / "kiro.json").write_text("{}")
    project = tmp_path / "project"
    (project / ".opencode").mkdir(parents=True)
    (project / ".opencode" / "kiro.json").write_text("{}")

    done = home.run("config", "check", folder=project)

    assert (done.returncode, done.stdout) == (0, "All options can be used.\n")
    assert done.stderr == (
        f"note: {project}/.opencode/kiro.json is not read: there is one gateway for all projects "
        "(KA-CONFIG). "
        f"Put its options into {home.config}/kiro.json.\n"
    )
    assert home.run("config", "check").stderr == ""


def test_path_and_schema_are_for_editors(home: Home) -> None:
    assert home.run("config", "path").stdout.strip() == str(home.config / "kiro.json")
    assert json.loads(home.run("config", "schema").stdout) == PUBLISHED


def test_a_link_to_dotfiles_that_are_not_there_is_left_alone(tmp_path: Path) -> None:
    """What they hold may name addresses; a file of defaults in their place would hide that."""
    (tmp_path / "kiro.json").symlink_to(tmp_path / "dotfiles" / "kiro.json")
    (tmp_path / "dotfiles").mkdir()

    write_template(tmp_path)

    assert list((tmp_path / "dotfiles").iterdir()) == []
