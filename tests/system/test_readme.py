"""README.md as a stranger uses it: every block of shell lines is pasted into a terminal in a fresh home.

What stands in for the world: the simulated AWS in place of Kiro and its sign-in (by the variables that
`kiro-auth simulate` prints), and a local clone in place of the one that a stranger makes.  pipx, uv, OpenCode
and Claude Code are the real ones; the two agents are kept from asking other machines.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from support.npm import npm_package
from support.opencode import OFFLINE, VERSIONS, written_under
from support.programs import Home, Simulator, Terminal, services
from support.pypi import python_with
from system.test_clients import CLAUDE_CODE

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
INSTALLERS = {"pipx": "pipx==1.18.4", "uv": "uv==0.13.9"}
OR: Final = re.compile(r"^(\S.*?)\s+# or: (.+)$", re.MULTILINE)

pytestmark = [pytest.mark.real, pytest.mark.clients, pytest.mark.timeout(600)]

ANSWERS: Mapping[str, tuple[tuple[str, str], ...]] = {"kiro-auth login\n": (("Choose", "\r"),)}
"""What a person types while the lines run: a question, and the answer to it."""
SHOWN: Mapping[str, tuple[str, ...]] = {
    "install .": (),
    "kiro-auth login\n": ("Signed in", "Next:", "kiro-auth install opencode"),
    "opencode run": ("kiro/auto", "Hello from the simulated model"),
    "make demo": ("All of it worked",),
    "run claude": ("Hello from the simulated model",),
    "curl ": ('"type":"message"', "Hello from the simulated model"),
    "git pull": ("Already up to date",),
    "uninstall": (),
    "rm -rf": (),
}
"""What each block shows at least, by words of it; every block is here, so each one is run."""
SENTINEL: Final = "all of it was"


def block(words: str) -> str:
    """The one block with these words."""
    [found] = [text for text in BLOCKS if words in text]
    return str(found)


def of_installer(text: str, installer: str) -> str:
    """The lines with what stands behind `# or:` in place of the line before it, for uv."""
    return text if installer == "pipx" else OR.sub(r"\2", text)


class Stranger:
    """A person with a fresh home and a clone, at a terminal of 80 columns."""

    def __init__(self, folder: Path, installer: str) -> None:
        self.home = Home(folder / "home")
        self.installer = installer
        self.clone = folder / "clone"
        programs = self.home.folder / ".local" / "bin"  # as the README says of PATH
        programs.mkdir(parents=True)
        installers = Path(python_with(INSTALLERS[installer])).parent
        tools = folder / "bin"
        tools.mkdir()
        (tools / installer).symlink_to(installers / installer)
        (tools / "python3").symlink_to(sys.executable)
        opencode = npm_package("opencode-linux-x64", VERSIONS[0]) / "bin" / "opencode"
        opencode.chmod(0o755)
        claude = npm_package("@anthropic-ai/claude-code-linux-x64", CLAUDE_CODE) / "claude"
        _kept_in(tools / "opencode", opencode, OFFLINE)
        _kept_in(tools / "claude", claude, {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"})
        self.home.environment["PATH"] = f"{programs}:{tools}:/usr/bin:/bin"
        for name in ("CI", "NO_COLOR", "PYTHONUNBUFFERED", "VIRTUAL_ENV"):
            self.home.environment.pop(name, None)
        subprocess.run(["git", "clone", "--quiet", _committed(folder), self.clone], check=True)

    def paste(self, text: str) -> str:
        """What the terminal shows after the lines were pasted; each must have gone well."""
        shell = Terminal(
            "bash",
            ["--norc", "--noprofile", "--noediting", "-i"],
            cwd=str(self.clone),
            env={**self.home.environment, "TERM": "xterm", "PS1": "$ "},
            encoding="utf-8",
            timeout=300,
            dimensions=(40, 80),
        )
        shell.setecho(False)  # what is shown is what the commands say
        shell.send("trap 'echo BROKEN: $BASH_COMMAND' ERR\n")
        shell.send(of_installer(text, self.installer))
        said = ""
        for question, answer in ANSWERS.get(text, ()):
            shell.expect(question)
            said += str(shell.before)
            shell.send(answer)
            shell.expect("Next:")
            said += f"{shell.before}{shell.after}"
        shell.send(f"echo {SENTINEL} 'run'\n")
        shell.expect(f"{SENTINEL} run")
        said += str(shell.before)
        shell.close(force=True)
        said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
        assert "BROKEN: " not in said, said
        return said

    def does(self, words: str) -> str:
        """Paste the block with these words, and see that it shows what it should."""
        said = self.paste(block(words))
        flat = said.replace("\r\n", "\n")
        assert [one for one in SHOWN[words] if one not in flat] == [], flat
        return flat


def _committed(folder: Path) -> Path:
    """A repository with one commit of what stands in this one now, committed or not."""
    source = folder / "source"
    source.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
            (source / name).chmod((ROOT / name).stat().st_mode)
    named = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    for words in (["init", "--quiet"], ["add", "--all"], [*named, "commit", "--quiet", "-m", "All"]):
        subprocess.run(["git", *words], cwd=source, check=True)
    return source


def _kept_in(path: Path, program: Path, variables: Mapping[str, str]) -> None:
    """The program under that name, with variables that keep it on this machine."""
    lines = [f"export {name}='{value}'" for name, value in variables.items()]
    path.write_text("\n".join(["#!/bin/sh", *lines, f'exec {program} "$@"\n']))
    path.chmod(0o755)


@pytest.fixture
def stranger(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Stranger, Simulator]]:
    stranger = Stranger(tmp_path, request.param)
    (tmp_path / "aws").mkdir()
    with services(Home(tmp_path / "aws")) as simulated:
        yield stranger, simulated.begin(stranger.home, auto_approve=True)


def test_every_block_is_one_that_is_run() -> None:
    assert len(BLOCKS) == len(SHOWN)
    assert sorted(block(words) for words in SHOWN) == sorted(BLOCKS)


def test_no_block_names_a_package_that_is_not_ours_yet() -> None:
    """Nothing of this name is published by us: what is installed is the clone."""
    for line in "".join(BLOCKS).splitlines():
        if re.search(r"\b(pip|pipx|uvx?|npm|npx)\b.*\binstall\b", line) and "uninstall" not in line:
            assert re.search(r" \.(\s|$)", line), line


@pytest.mark.parametrize("stranger", sorted(INSTALLERS), indirect=True)
def test_the_blocks_run_as_pasted_from_the_first_to_the_removal(
    stranger: tuple[Stranger, Simulator],
) -> None:
    person, simulator = stranger
    home = person.home
    before = written_under(home.folder)

    for words in ("install .", "kiro-auth login\n", "opencode run", "run claude", "curl ", "git pull"):
        person.does(words)
    assert len(home.accounts()) == 1
    plugin = home.config / "plugin" / "kiro.js"
    assert plugin.exists()
    assert {call["user"] for call in simulator.calls()} == {"ada@example.com"}

    person.does("uninstall")
    assert not (home.folder / ".local" / "bin" / "kiro-auth").exists()
    assert not plugin.exists()
    assert len(home.accounts()) == 1, "accounts stay"
    person.does("rm -rf")
    left = {name for name in written_under(home.folder) - before if "kiro" in name.lower()}
    assert {name for name in left if not name.startswith((".cache/", ".local/share/"))} == set()


@pytest.mark.parametrize("stranger", ["pipx"], indirect=True)
def test_the_demonstration_runs_as_pasted(stranger: tuple[Stranger, Simulator]) -> None:
    person, simulator = stranger

    person.does("make demo")

    assert simulator.calls() == [], "it asks a simulated AWS of its own"
