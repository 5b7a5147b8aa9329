"""`kiro-auth demo`: what a curious person runs first, wherever they are and whatever is on their PATH."""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.opencode import VERSIONS, OpenCode
from support.processes import processor_seconds
from support.programs import KIRO_AUTH, Home, as_usual

pytestmark = pytest.mark.timeout(240)

STEPS = (
    "Sign in with AWS Builder ID",
    "Sign in with an organisation",
    "Signed in: ",
    "Hello",
    "hello.txt holds: Hello from Kiro",
    "served in us-east-1",
    "served in eu-central-1",
    "What is left of each plan",
)
MINE = "Mine, and not to be touched.\n"


class Person:
    """Somebody with accounts, options and files of their own, in a folder of theirs."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.temporary = folder / "temporary"
        self.bin = folder / "bin"
        self.folder = folder / "work"
        for made in (self.home.config, self.temporary, self.bin, self.folder):
            made.mkdir(parents=True)
        for mine in ("opencode.txt", "hello.txt"):
            (self.folder / mine).write_text(MINE)
        # Files that a program which looked for its settings there would choke on, or would change.
        for file in (
            self.home.config / "kiro-accounts.json",
            self.home.config / "kiro.json",
            self.home.config / "opencode.json",
            self.folder / "opencode.json",
            self.temporary / "opencode.json",
        ):
            file.write_text("{ this is no JSON")
        self.home.environment |= {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "PWD": str(self.folder),
            "TMPDIR": str(self.temporary),
            "KIRO_ENDPOINT_OIDC": "http://127.0.0.1:9",
            "KIRO_ENDPOINT_RUNTIME": "http://127.0.0.1:9",
            "OPENCODE_CONFIG_CONTENT": "{ nor is this",
            "XDG_DATA_HOME": str(folder / "home" / "data"),
        }

    def put(self, script: str) -> None:
        """Put a program named opencode on the PATH."""
        program = self.bin / "opencode"
        program.write_text(script)
        program.chmod(0o755)

    def files(self) -> dict[str, str]:
        """Everything that is theirs, by path."""
        root = self.folder.parent
        found = [path for path in root.rglob("*") if not path.is_relative_to(self.bin)]
        return {
            str(path.relative_to(root)): path.read_text() if path.is_file() else "a folder" for path in found
        }

    @contextmanager
    def demo(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The demonstration, as started by hand in the person's folder."""
        process = subprocess.Popen(
            as_usual(*KIRO_AUTH, "demo", *arguments),
            cwd=self.folder,
            env=self.home.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def left_running(self) -> list[str]:
        """The programs that still run with something of the demonstration's."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes()
                words = (process / "cmdline").read_text(errors="replace")
            except OSError:
                continue
            if f"{self.temporary}/kiro-auth-demo-".encode() in environment:
                found.append(words)
        return found


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """Nothing of theirs may have changed when the test is over, and nothing of the demonstration is left."""
    person = Person(tmp_path)
    before = person.files()
    yield person
    assert person.files() == before
    end = time.monotonic() + 20  # what was ended, but not by its parent, ends as soon as the machine can
    while left := person.left_running():
        assert time.monotonic() < end, left
        time.sleep(0.05)


def shown(person: Person, *arguments: str) -> tuple[int, str]:
    """Exit code and words of a whole demonstration."""
    with person.demo(*arguments) as process:
        said, _ = process.communicate(timeout=600)
        return process.returncode, said


def test_it_shows_every_step_and_touches_nothing_of_the_person_s(person: Person) -> None:
    code, said = shown(person)

    assert code == 0, said
    assert [step for step in (*STEPS, "All of it worked", "kiro-auth login") if step not in said] == []
    assert "There is no OpenCode on your PATH; this step is left out." in said


@pytest.mark.real
@pytest.mark.clients
def test_with_the_real_opencode_on_the_path_all_steps_pass_and_the_person_s_files_stay(
    person: Person, tmp_path: Path
) -> None:
    elsewhere = Home(tmp_path / "bin" / "elsewhere")
    elsewhere.config.mkdir(parents=True)
    binary = OpenCode(VERSIONS[0], elsewhere, first_start=True).binary
    (person.bin / "opencode").symlink_to(binary)

    code, said = shown(person)

    assert code == 0, said
    last = ("opencode.txt holds: Written by OpenCode", "All of it worked", "kiro-auth install opencode")
    assert [step for step in (*STEPS, *last) if step not in said] == []
    assert (person.folder / "opencode.txt").read_text() == MINE


FINE = "case $1 in --version) echo 1.18.34; exit;; esac\n"


@pytest.mark.clients
@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("#!/bin/sh\nexit 3\n", "ended with exit code 3"),
        ("\x7fELF no program", "cannot be started: it is no program for this machine (KA-CONFIG)."),
        (f"#!/bin/sh\n{FINE}echo broken >&2\nexit 4\n", "ended with exit code 4"),
        (f"#!/bin/sh\n{FINE}kill -SEGV $$\n", "ended with exit code -11"),
        (f"#!/bin/sh\n{FINE}echo done\n", "did not write opencode.txt"),
        (
            "#!/bin/sh\ncase $1 in --version) echo 0.9.1; exit;; esac\nexit 5\n",
            "ended with exit code 5 (KA-CONFIG). If it does not, take one of 1.14.48, 1.17.19, 1.18.34",
        ),
    ],
    ids=["broken", "no program", "fails", "crashes", "does nothing", "old"],
)
def test_a_program_that_fails_is_told_in_one_sentence_with_the_remedy(
    person: Person, script: str, sentence: str
) -> None:
    person.put(script)

    code, said = shown(person)

    assert code == 1
    assert "Traceback" not in said
    [error] = [line for line in said.splitlines() if line.startswith("error: ")]
    assert sentence in error
    assert error.endswith("All other steps worked. Without it: kiro-auth demo --no-opencode")
    assert [step for step in STEPS if step not in said] == []


@pytest.mark.clients
@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("2.0.1", "OpenCode 2.0.1 cannot load the plugin. This step is left out. Update OpenCode to 2.0.4"),
        ("2.1.0", "OpenCode 2.1.0 works in the background and would stay there"),
    ],
)
def test_a_release_that_is_not_run_is_told_and_the_rest_still_counts(
    person: Person, version: str, sentence: str
) -> None:
    person.put(f'#!/bin/sh\ncase $1 in --version) echo "opencode v{version}";; *) touch "$PWD/ran";; esac\n')

    code, said = shown(person)

    assert (code, sentence in said) == (0, True), said
    assert "ran" not in {path.name for path in person.temporary.rglob("*")}


@pytest.mark.clients
@pytest.mark.parametrize(
    ("first", "sentence", "seconds"),
    [
        ("", "did not say its version within 20 seconds", 110),
        (FINE, "did not end within 120 seconds, and was ended (KA-CONFIG).", 300),
    ],
    ids=["always", "in its run"],
)
def test_a_program_that_hangs_is_ended_with_what_it_has_started(
    person: Person, first: str, sentence: str, seconds: float
) -> None:
    person.put(f"#!/bin/sh\n{first}trap '' TERM\nsleep 1000 &\nsleep 1000\n")
    begun = time.monotonic()

    code, said = shown(person)

    assert (code, sentence in said) == (1, True), said
    assert time.monotonic() - begun < seconds


@pytest.mark.clients
def test_without_opencode_means_that_the_one_on_the_path_is_not_even_asked(
    person: Person, tmp_path: Path
) -> None:
    person.put(f"#!/bin/sh\ntouch {tmp_path}/bin/asked\n")
    person.home.environment["PYTHONIOENCODING"] = "ascii"  # a terminal that cannot show every character

    code, said = shown(person, "--no-opencode")

    assert (code, "All of it worked" in said) == (0, True), said
    assert not (tmp_path / "bin" / "asked").exists()


@pytest.mark.parametrize(
    ("verb", "sentence"),
    [
        pytest.param(
            "usage",
            "error: `kiro-auth usage` ended with exit code 7 (KA-INTERNAL). Please report it",
            marks=pytest.mark.clients,
        ),
        pytest.param(
            "serve",
            "error: `kiro-auth serve --port 0` ended with exit code 7 (KA-INTERNAL). Please report it",
            marks=pytest.mark.clients,
        ),
        (
            "simulate",
            "error: `kiro-auth simulate --port 0 --auto-approve --json` ended with exit code 7 (KA-INTERNAL)",
        ),
    ],
)
def test_a_step_of_our_own_that_fails_is_one_sentence_as_well(
    person: Person, tmp_path: Path, verb: str, sentence: str
) -> None:
    # What Python runs before anything else: it ends that one command, as a damaged installation would.
    broken = tmp_path / "bin" / "sitecustomize.py"
    broken.write_text(f"import os, sys\nif {verb!r} in sys.orig_argv: os._exit(7)\n")
    person.home.environment["PYTHONPATH"] = str(broken.parent)

    code, said = shown(person)

    assert (code, sentence in said, "Traceback" in said) == (1, True, False), said


def test_the_first_words_come_at_once(person: Person) -> None:
    begun = time.monotonic()
    with person.demo() as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        seconds, worked = time.monotonic() - begun, processor_seconds(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(30)

    assert "against a simulated AWS" in first
    assert worked < 1.5, "about 0.3 seconds are usual"
    assert seconds < 20, "it waits for nothing"


@pytest.mark.clients
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["Ctrl-C", "ended", "terminal closed"],
)
@pytest.mark.parametrize("at", ["A simulated AWS", "The gateway", "its first start takes a while"])
def test_however_it_is_interrupted_it_leaves_nothing_behind(
    person: Person, number: signal.Signals, code: int, at: str
) -> None:
    person.put(f"#!/bin/sh\n{FINE}sleep 1000 &\nsleep 1000\n")
    with person.demo() as process:
        assert process.stdout is not None
        for line in process.stdout:
            if at in line:
                break
        time.sleep(0.5)
        process.send_signal(number)
        said = process.stdout.read()
        assert process.wait(30) == code

    assert "Traceback" not in said


@pytest.mark.clients
def test_with_keep_it_stays_up_until_it_is_interrupted(person: Person) -> None:
    with person.demo("--keep") as process:
        assert process.stdout is not None
        curl = next(line for line in process.stdout if "curl " in line)
        url = curl.split()[1].removesuffix("/v1/messages")
        with urllib.request.urlopen(f"{url}/health", timeout=30) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.mark.clients
def test_a_person_at_a_terminal_sees_how_long_a_silent_program_takes(person: Person) -> None:
    person.put(f"#!/bin/sh\n{FINE}sleep 8\nexit 6\n")
    terminal = person.home.terminal("demo", columns=80)

    terminal.expect(r"Kiro's own\r+\n  programs, in editors")  # wrapped at words, below its indent
    terminal.expect(r"  [2-8] s\r")
    terminal.expect("exit code 6")
    terminal.wait()
