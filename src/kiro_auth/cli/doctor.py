"""`kiro-auth doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from kiro_auth.cli.output import print_json
from kiro_auth.failures import ConfigFailed

if TYPE_CHECKING:
    from kiro_auth.doctor.finding import Finding
    from kiro_auth.failures import Failure

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
    from kiro_auth.doctor.finding import mended

    findings = looked()
    fixed: list[Finding] = []
    if fix:
        tried = [(finding, mended(finding)) for finding in findings if finding.fix is not None]
        fixed = [finding for finding, failed in tried if failed is None]
        findings = looked() if fixed else findings
        findings += [failed for _, failed in tried if failed is not None]
    if json:
        print_json({"checks": [_described(f) for f in findings], "fixed": [_described(f) for f in fixed]})
    else:
        for line in _lines(findings, fixed):
            typer.echo(line)
    if any(finding.level == "fault" for finding in findings):
        raise typer.Exit(1)


def looked() -> list[Finding]:
    """All that there is to say, one check after the other."""
    return asyncio.run(_looked(_wrong_key()))


def _wrong_key() -> Failure | None:
    """What there is to say of an API key in the environment that is none."""
    from kiro_auth.gateway.options import environment_key
    from kiro_auth.login.api_key import key_record

    try:
        if key := environment_key():
            key_record(key)
    except ConfigFailed as error:
        return error.failure
    return None


async def _looked(wrong_key: Failure | None) -> list[Finding]:
    from kiro_auth.doctor.accounts import accounts
    from kiro_auth.doctor.machine import of_this_machine
    from kiro_auth.gateway.own_store import kept_store, own_store
    from kiro_auth.gateway.parts import open_own_parts

    # The other checks go on without a key that is none.
    async with open_own_parts(kept_store() if wrong_key else own_store()) as service:
        return [*of_this_machine(service.config), *await accounts(service, wrong_key)]


def _described(finding: Finding) -> dict[str, str | bool | None]:
    return {
        "check": finding.check,
        "level": finding.level,
        "code": finding.code,
        "message": finding.message,
        "remedy": finding.remedy,
        "fixable": finding.fix is not None,
    }


def _lines(findings: list[Finding], fixed: list[Finding]) -> Iterator[str]:
    for finding in fixed:
        yield f"mended  {finding.check}: {finding.message}"
    for finding in findings:
        yield f"{_mark(finding)} {finding.check}: {finding.message}"
        if finding.remedy:
            yield f"        {finding.remedy}{' (or --fix)' if finding.fix else ''}"


def _mark(finding: Finding) -> str:
    mark = MARKS[finding.level]
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return typer.style(mark, fg=COLOURS[finding.level]) if coloured else mark
