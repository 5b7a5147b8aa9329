"""`login`: what it asks and how it takes the answers, what it shows where, and how it ends."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from kiro_auth.login.terms import REPORTED
from support.programs import Home, Services, Simulator

REMOTE = {"SSH_CONNECTION": "203.0.113.7 50022 198.51.100.4 22", "SSH_TTY": "/dev/pts/0"}
SCREEN = {"DISPLAY": ":99"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def simulator(home: Home, services: Services) -> Simulator:
    return services.begin(home, auto_approve=True)


def asked(child: pexpect.spawn, *exchange: tuple[str, str]) -> str:
    """The answers to these questions, then the end; all that the program said."""
    said = ""
    for question, answer in exchange:
        child.expect(r"\n" + re.escape(question) + r"[^:\n]*: ")
        said += str(child.before)
        child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    return re.sub(r"\s+", " ", said + str(child.before))


# ----------------------------------------------------------------------------------- what it asks


def test_a_number_that_is_no_choice_is_told_and_asked_again(home: Home, simulator: Simulator) -> None:
    child = home.terminal("login")
    said = asked(child, ("Choose", "5"), ("Choose", "0"), ("Choose", "one"), ("Choose", "1"))

    for wrong in ("5", "0", "one"):
        assert f"error: {wrong} is no choice. Type 1, 2 or 3." in said
    assert "Signed in: a***@example.com" in said
    assert child.exitstatus == 0


START_URL, REGION = "Start URL of your organisation", "AWS region of your IAM Identity Center"


def test_no_wrong_value_ends_the_questions_and_what_was_typed_stays(home: Home, simulator: Simulator) -> None:
    child = home.terminal("login")
    said = asked(
        child,
        ("Choose", "2"),
        (START_URL, ""),
        (START_URL, "ada@example.com"),
        (START_URL, "nobody"),
        (REGION, "Atlantis"),
        (REGION, "eu-nort-1"),
        (f"{START_URL} [nobody]", "D-1234567890"),
        (f"{REGION} (not of Kiro) [eu-nort-1]", "Stockholm"),
    )

    for words in (
        "error: The start URL is empty (KA-CONFIG).",
        "error: ada@example.com is no start URL, but looks like an e-mail address (KA-CONFIG).",
        "error: 'Atlantis' is not an AWS region (KA-CONFIG).",
        "error: The start URL https://nobody.awsapps.com/start is unknown in region eu-nort-1",
        "Did you mean eu-north-1 (Stockholm)",
        "The start URL is taken as https://d-1234567890.awsapps.com/start.",
        "The region is taken as eu-north-1 (Stockholm).",
    ):
        assert words in said
    # What became of the answers stands beside them, and the terms before the page that they are about.
    assert said.index("The start URL is taken as") < said.index("Users quote") < said.index("Open this page")
    assert child.exitstatus == 0
    [account] = home.accounts()
    assert account["region"] == "eu-north-1"


def test_a_key_is_asked_for_again_when_it_is_none_and_when_kiro_refuses_it(
    home: Home, simulator: Simulator
) -> None:
    child = home.terminal("login")
    key = ("Kiro API key", "ksk_simulated_ada_0001")
    said = asked(child, ("Choose", "3"), (key[0], "nothing"), (key[0], "ksk_of_nobody"), key)

    assert "error: That is no Kiro API key: it must begin with ksk_" in said
    assert "error: Kiro does not accept the API key" in said
    assert child.exitstatus == 0
    assert "ksk_" not in said.replace("begin with ksk_", "")


@pytest.mark.parametrize(
    "words", [("--start-url", "nobody"), ("--start-url", "ada@example.com"), ("--api-key",)]
)
def test_in_a_pipe_a_wrong_value_ends_it(home: Home, simulator: Simulator, words: tuple[str, ...]) -> None:
    done = home.run("login", *words, stdin="wrong\nksk_simulated_ada_0001\n", check=False)

    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert list(home.folder.rglob("kiro-accounts.json")) == []


def test_builder_id_at_the_question_for_a_start_url_is_understood(home: Home, simulator: Simulator) -> None:
    child = home.terminal("login")
    said = asked(child, ("Choose", "2"), (START_URL, "builder id"))

    assert "builder id means AWS Builder ID" in said
    assert [account["authMethod"] for account in home.accounts()] == ["idc"]


@pytest.mark.parametrize("region", ["eu-west-1", "xx-moon-1"])
def test_a_key_in_a_region_without_kiro_is_not_told_to_be_wrong(
    home: Home, simulator: Simulator, region: str
) -> None:
    done = home.run("login", "--api-key", "--region", region, stdin="ksk_simulated_ada_0001\n", check=False)

    assert done.returncode == 1
    assert f"does not work in {region}" in done.stderr
    assert "us-east-1 (N. Virginia) and eu-central-1 (Frankfurt)" in done.stderr
    assert "revoked" not in done.stderr


def test_a_profile_that_was_not_given_is_named(home: Home, simulator: Simulator) -> None:
    home.environment["KIRO_SSO_PROFILE_ARN"] = "arn:aws:codewhisperer:us-east-1:1:profile/NOBODYS"
    done = home.run("login", "--start-url", "d-1234567890", "--region", "eu-north-1")

    assert "sso_profile_arn names a profile that you were not given: arn:aws" in done.stderr


def test_the_region_of_a_profile_is_not_taken_for_that_of_the_sign_in(
    home: Home, simulator: Simulator
) -> None:
    done = home.run("login", "--builder-id", "--profile-region", "eu-west-1", check=False)

    said = re.sub(r"[\s│]+", " ", done.stderr)
    assert done.returncode == 2
    assert "--profile-region" in said
    assert "kiro-auth accounts set NAME --profile-region REGION" in said

    home.run("login", "--builder-id")
    [account] = home.accounts()
    wrong = home.run("accounts", "set", account["id"], "--profile-region", "eu-west1", check=False)
    assert "'eu-west1' is not an AWS region (KA-CONFIG). Did you mean" in wrong.stderr
    assert "eu-nort-1 is no region that this program knows" in (
        home.run("accounts", "set", account["id"], "--profile-region", "eu-nort-1").stderr
    )
    home.run("accounts", "set", account["id"], "--profile-region", "Frankfurt")
    assert home.accounts()[0]["profileRegion"] == "eu-central-1"


@pytest.mark.parametrize("end", ["sendintr", "sendeof"])
@pytest.mark.parametrize(("words", "question"), [(("--api-key",), "Kiro API key"), ((), "Choose")])
def test_one_ctrl_c_or_ctrl_d_at_a_question_ends_it(
    home: Home, words: tuple[str, ...], question: str, end: str
) -> None:
    child = home.terminal("login", *words)
    child.expect(f"{question}.*: ")  # with the space, as until then what is typed is thrown away
    getattr(child, end)()
    child.expect(pexpect.EOF)
    child.close()

    assert "Cancelled; nothing was changed." in str(child.before)
    assert child.exitstatus == 130
    assert list(home.folder.rglob("kiro-accounts.json")) == []


# ------------------------------------------------------------------------------- what it shows where


@pytest.fixture
def opened(home: Home) -> Iterator[Path]:
    """A desktop's `xdg-open` that notes what it was to open; nothing else tells of a person's screen."""
    folder, noted = home.folder / "bin", home.folder / "opened"
    folder.mkdir()
    (folder / "xdg-open").write_text(f'#!/bin/sh\necho "$1" >> {noted}\n')
    (folder / "xdg-open").chmod(0o755)
    for name in ("CI", "DISPLAY", "WAYLAND_DISPLAY", *REMOTE, "SSH_CLIENT"):
        home.environment.pop(name, None)
    home.environment["PATH"] = f"{folder}:{home.environment['PATH']}"
    return noted


@pytest.mark.parametrize("environment", [{}, REMOTE, SCREEN | REMOTE, SCREEN | {"container": "podman"}])
def test_where_nobody_sees_a_window_there_is_no_page_and_no_browser(
    home: Home, simulator: Simulator, opened: Path, environment: dict[str, str]
) -> None:
    home.environment |= environment
    done = home.run("login", "--builder-id")

    assert done.stdout.startswith("Open this page in any browser, on any machine:\n\n  http")
    assert re.search(r"\n  [A-Z]{4}-[A-Z]{4}\n", done.stdout)
    assert "This machine" not in done.stdout
    assert not opened.exists()


def test_a_browser_opens_the_page_where_somebody_sees_it(
    home: Home, simulator: Simulator, opened: Path
) -> None:
    home.environment |= SCREEN
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        assert "This machine" not in home.run("login", "--builder-id").stdout
        return
    done = home.run("login", "--builder-id")

    [url] = re.findall(r"This machine shows it too: (\S+)", done.stdout)
    for _ in range(1000):
        if opened.exists():
            break
        time.sleep(0.05)
    assert opened.read_text().split() == [url]


def test_over_ssh_a_page_that_is_wanted_comes_with_the_way_to_it(
    home: Home, simulator: Simulator, opened: Path
) -> None:
    home.environment |= REMOTE | SCREEN
    done = home.run("login", "--builder-id", "--browser")

    [port] = re.findall(r"This machine shows it too: http://127\.0\.0\.1:(\d+)/", done.stdout)
    assert f"ssh -N -L {port}:127.0.0.1:{port} 198.51.100.4\n" in done.stdout
    assert done.stdout.index("Open this page in any browser") < done.stdout.index("This machine")
    assert not opened.exists()


def test_what_is_reported_of_the_terms_is_said_once_before_the_first_sign_in(
    home: Home, simulator: Simulator
) -> None:
    first = home.run("login", "--builder-id")
    second = home.run("login", "--builder-id")

    assert first.stderr.count(REPORTED) == 1
    assert REPORTED not in second.stderr
    assert REPORTED not in first.stdout + second.stdout


# ---------------------------------------------------------------------------------- the way to AWS


def test_a_network_that_fails_while_it_waits_is_told_and_lived_through(
    home: Home, simulator: Simulator
) -> None:
    simulator.ask("fault", {"operation": "CreateToken", "times": 2})
    done = home.run("login", "--builder-id")

    assert re.search(r"note: .* Still waiting, as the code is good until \d\d:\d\d\.", done.stderr)
    assert done.stderr.count("Still waiting") == 1
    assert "Signed in: a***@example.com" in done.stdout


@pytest.mark.parametrize("arguments", [["--builder-id", "--no-browser"], ["--api-key"]])
def test_a_store_that_cannot_be_used_is_told_before_anybody_confirms_anything(
    home: Home, arguments: list[str]
) -> None:
    home.state.mkdir(parents=True)
    (home.state / "locks").write_text("no folder")
    with home.simulator("--auto-approve") as simulator:
        done = home.run("login", *arguments, stdin="ksk_simulated_ada_0001\n", check=False)

        assert (done.returncode, done.stdout) == (1, "")
        assert "cannot be read or written" in done.stderr
        assert simulator.ask("calls")["calls"] == []


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("opencode", "kiro-auth install opencode"),
        pytest.param("claude", "kiro-auth run claude", marks=pytest.mark.clients),
    ],
)
def test_in_a_terminal_it_ends_with_what_is_next_for_what_is_installed(
    home: Home, program: str, command: str
) -> None:
    programs = home.folder / "bin"
    programs.mkdir()
    (programs / program).write_text("#!/bin/sh\n")
    (programs / program).chmod(0o755)
    home.environment["PATH"] = f"{programs}:/usr/bin:/bin"
    with home.simulator("--auto-approve"):
        child = home.terminal("login", "--builder-id", "--no-browser", columns=80)
        child.expect("Signed in: ")
        child.expect("Next:")
        child.expect(command)
        child.expect("kiro-auth usage")
        child.expect(pexpect.EOF)
        piped = home.run("login", "--builder-id", "--no-browser").stdout

    assert "Next:" not in piped, "a program that reads the output is told the facts alone"
