"""`kiro-auth key`: the key alone, and another one in its place."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from support.programs import KEY, KIRO_AUTH, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def status(url: str, key: str) -> int:
    """What the gateway answers to a program with this key."""
    request = urllib.request.Request(f"{url}/kiro/accounts", headers={"x-api-key": key})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_show_prints_the_key_alone_and_the_gateway_takes_that_one(home: Home) -> None:
    before = home.run("key", "show")  # before there was any gateway
    with home.started("serve") as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(";")

        key = home.run("key", "show").stdout
        assert (key, before.stderr) == (before.stdout, "")
        assert key.count("\n") == 1
        assert status(url, key.strip()) == 200
    assert stat.S_IMODE((home.state / "address.json").stat().st_mode) == 0o600


def test_rotate_has_the_running_gateway_take_the_new_key_at_once_and_the_old_one_no_more(home: Home) -> None:
    home.keep_address()
    with home.started("serve") as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(";")
        old = home.run("key", "show").stdout.strip()
        done = home.run("key", "rotate")
        new = home.run("key", "show").stdout.strip()

        assert new != old
        assert [status(url, key) for key in (new, old)] == [200, 401]
        assert json.loads((home.state / "gateway.json").read_text())["key"] == new
        assert home.json("env", "claude")["variables"]["ANTHROPIC_AUTH_TOKEN"] == new
        assert home.json("status")["running"] is True
    assert not [key for key in (old, new) if key in done.stdout + done.stderr]
    for words in ("Run kiro-auth env again", "by hand", "kiro-auth run has started need nothing"):
        assert words in done.stdout
    assert done.stderr == ""
    with home.started("serve") as process:
        assert process.stdout is not None
        assert process.stdout.readline().split()[2].rstrip(";") == url
        assert [status(url, key) for key in (new, old)] == [200, 401]


def test_a_key_of_one_s_own_choice_counts_beside_the_kept_one_and_only_where_it_is_set(home: Home) -> None:
    home.keep_address()
    kept = home.run("key", "show").stdout.strip()
    home.environment["KIRO_GATEWAY_KEY"] = KEY
    with home.started("serve") as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(";")
        assert [status(url, key) for key in (KEY, kept, "another")] == [200, 200, 401]
        assert home.json("env", "claude")["variables"]["ANTHROPIC_AUTH_TOKEN"] == kept
        assert "KIRO_GATEWAY_KEY is set here" in home.run("key", "rotate").stderr
        assert status(url, KEY) == 200
    del home.environment["KIRO_GATEWAY_KEY"]
    with home.started("serve") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert status(url, KEY) == 401


@pytest.mark.clients
def test_a_gateway_of_a_release_that_knows_no_other_key_is_named_with_what_to_do(home: Home) -> None:
    """As one that hangs: it runs, and does not answer to that."""
    with home.started("serve") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        done = home.run("key", "rotate")
        process.send_signal(signal.SIGCONT)

    assert "The gateway that runs has the old key still. End it with kiro-auth stop." in done.stderr


@pytest.mark.parametrize("words", [["key", "show"], ["key", "rotate"], ["serve"], ["env", "claude"]])
def test_a_state_folder_that_cannot_be_written_is_named_with_the_remedy(home: Home, words: list[str]) -> None:
    home.environment["XDG_STATE_HOME"] = "/proc/self"  # where nobody can make a folder, root included

    refused = home.run(*words, check=False)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "/proc/self/kiro-auth" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert refused.stderr.endswith("or set XDG_STATE_HOME to another folder.\n")


@pytest.mark.parametrize(
    ("words", "code"), [("key show", 0), ("key rotate", 1), ("serve", 1), ("env claude", 1), ("status", 1)]
)
def test_in_a_state_folder_that_is_read_only_the_key_is_shown_and_nothing_else_is_done(
    home: Home, words: str, code: int
) -> None:
    key = home.run("key", "show").stdout
    (home.state / "address.lock").unlink()
    home.state.chmod(0o500)
    # Nothing is read-only for root, unless that is taken from it.
    as_others = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    try:
        done = subprocess.run(
            [*as_others, *KIRO_AUTH, *words.split()],
            env=home.environment, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
    finally:
        home.state.chmod(0o700)

    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if words == "key show":
        assert (done.stdout, done.stderr) == (key, "")
    elif words == "status":
        assert done.stdout.startswith("Not running.")
    else:
        assert str(home.state) in done.stderr
        assert "writable, or set XDG_STATE_HOME to another folder." in done.stderr
    assert home.run("key", "show").stdout == key
