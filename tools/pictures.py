"""Make the pictures of README.md from the real programs, against the simulated AWS.

    make pictures

`kiro-auth usage` as a terminal of 80 columns shows it, and the window of the real OpenCode with a toast.
Each becomes an SVG file in docs/pictures, which asks no other machine for anything, fonts included.
"""

from __future__ import annotations

import argparse
import io
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pexpect
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from support.opencode import VERSIONS, OpenCode
from support.programs import Home, Simulator
from support.window import opened

ROOT: Final = Path(__file__).parents[1]
PICTURES: Final = ROOT / "docs" / "pictures"
COLUMNS: Final = 80
ORGANISATION: Final = ("--start-url", "https://d-1234567890.awsapps.com/start", "--region", "eu-north-1")
FONTS: Final = re.compile(r"\s*@font-face \{\{.*?\}\}", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__)
    parser.add_argument("--to", type=Path, default=PICTURES, help="another folder")
    folder = parser.parse_args().to
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in drawn().items():
        (folder / name).write_text(picture)
        print(f"written: {folder / name}")


def drawn() -> dict[str, str]:
    """The pictures by the names of their files."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.environment.pop("NO_COLOR")
        with home.simulator("--auto-approve") as simulator:
            sign_in(home, simulator)
            try:
                return {
                    "usage.svg": usage(home),
                    "toast.svg": toast(OpenCode(VERSIONS[0], home)),
                }
            finally:
                home.stop_gateway()


def sign_in(home: Home, simulator: Simulator) -> None:
    """Three accounts of one person, which have used different shares of their plans."""
    for arguments in (("--builder-id",), ("--builder-id",), ORGANISATION):
        home.run("login", *arguments, "--no-browser")
    for email, used in (("ada@example.com", 822.4), ("grace@example.com", 3.27), ("linus@example.org", 1311)):
        simulator.ask("user", {"email": email, "used": used})
    home.run("install", "opencode")


def usage(home: Home) -> str:
    child = home.terminal(
        "usage", columns=COLUMNS, environment={**home.environment, "TERM": "xterm-256color"}
    )
    child.expect(pexpect.EOF)
    return svg(str(child.before).splitlines(), "kiro-auth usage", COLUMNS)


def toast(opencode: OpenCode) -> str:
    """OpenCode after a turn; the account with the least used share has answered."""
    opencode.home.environment["KIRO_ACCOUNT_SELECTION_STRATEGY"] = "round-robin"
    with opened(opencode, "Claude Opus 4.6", columns=100, lines=16) as window:
        window.say("Say hello.")
        window.wait_for("credits left")
        return svg(window.screen(), "OpenCode", 100)


def svg(lines: Sequence[str], title: str, columns: int) -> str:
    """Lines of a terminal, with their colours, as a picture."""
    console = Console(
        record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    for line in lines:
        console.print(Text.from_ansi(line.rstrip()), no_wrap=True, overflow="crop", crop=True)
    name = re.sub(r"\W+", "-", title.lower())
    picture = console.export_svg(title=title, code_format=FONTS.sub("", CONSOLE_SVG_FORMAT), unique_id=name)
    return "\n".join(line.rstrip() for line in picture.splitlines()) + "\n"


if __name__ == "__main__":
    main()
