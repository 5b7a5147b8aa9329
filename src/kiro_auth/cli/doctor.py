"""`kiro-auth doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import typer

from kiro_auth.cli.output import print_json

if TYPE_CHECKING:
    from kiro_auth.cli.checks import Finding

MARKS = {"ok": "ok     ", "warning": "warning", "fault": "FAULT  "}
COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "fault": typer.colors.RED}


def doctor(
    fix: bool = typer.Option(False, "--fix", help="Mend what can be mended safely, then look again."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Look at everything that must be right: files, options, plugin, gateway, accounts, the way to AWS.

    Each line is ok, a warning or a fault, with its remedy. Exit code 1 when there is a fault. Nothing is
    changed without --fix.
    """
    found = asyncio.run(_looked())
    mended = []
    if fix:
        mended = [finding for finding in found if finding.level != "ok" and finding.fix is not None]
        for finding in mended:
            assert finding.fix is not None
            finding.fix()
        found = asyncio.run(_looked()) if mended else found
    if json:
        print_json({"checks": [_described(f) for f in found], "fixed": [_described(f) for f in mended]})
    else:
        for line in _lines(found, mended):
            typer.echo(line)
    if any(finding.level == "fault" for finding in found):
        raise typer.Exit(1)


async def _looked() -> list[Finding]:
    from kiro_auth.cli import checks
    from kiro_auth.cli.service import open_service
    from kiro_auth.config import config_folder, state_folder
    from kiro_auth.opencode.install import opencode_folder

    async with open_service() as service:
        found = list(
            chain(
                checks.version(),
                checks.configuration(service.config),
                checks.files(config_folder()),
                checks.plugin(opencode_folder()),
                checks.gateway(state_folder()),
            )
        )
        return found + [finding async for finding in checks.accounts(service)]


def _described(finding: Finding) -> dict[str, str | bool | None]:
    return {
        "check": finding.check,
        "level": finding.level,
        "message": finding.message,
        "remedy": finding.remedy,
        "fixable": finding.fix is not None,
    }


def _lines(found: list[Finding], mended: list[Finding]) -> Iterator[str]:
    for finding in mended:
        yield f"mended  {finding.check}: {finding.message}"
    for finding in found:
        yield f"{_mark(finding)} {finding.check}: {finding.message}"
        if finding.remedy:
            yield f"        {finding.remedy}{' (or --fix)' if finding.fix else ''}"


def _mark(finding: Finding) -> str:
    mark = MARKS[finding.level]
    return typer.style(mark, fg=COLOURS[finding.level]) if sys.stdout.isatty() else mark
