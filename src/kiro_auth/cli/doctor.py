"""`kiro-auth doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import typer

from kiro_auth.cli.output import print_json, spoken
from kiro_auth.cli.terminal import fitted, styled
from kiro_auth.cli.waiting import waiting
from kiro_auth.failures import ConfigFailed, Failure

if TYPE_CHECKING:
    from kiro_auth.doctor.finding import Finding

MARKS = {"ok": "ok     ", "warning": "warning", "fault": "FAULT  "}
COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}


def doctor(
    fix: bool = typer.Option(False, "--fix", help="Mend what can be mended safely, then look again."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Check everything that must be right, and say what to do about what is not.

    Looks at files, options, plugin, gateway, accounts and the way to AWS. Each line is ok, a warning or a
    fault, with its remedy. Exit code 1 when there is a fault, or no account can serve. Nothing is changed
    without --fix.
    """
    from kiro_auth.doctor.finding import mended

    words = Failure.sentence if json else spoken
    findings = looked(words)
    fixed: list[Finding] = []
    if fix:
        tried = [(finding, mended(finding)) for finding in findings if finding.fix is not None]
        fixed = [finding for finding, failed in tried if failed is None]
        findings = looked(words) if fixed else findings
        findings += [failed for _, failed in tried if failed is not None]
    if json:
        print_json({"checks": [_described(f) for f in findings], "fixed": [_described(f) for f in fixed]})
    else:
        for line in _lines(findings, fixed):
            print(line, flush=True)
    if any(finding.level == "fault" for finding in findings):
        raise typer.Exit(1)


def looked(words: Callable[[Failure], str] = Failure.sentence) -> list[Finding]:
    """All that there is to say, one check after the other; `words` tells a failure with its times."""
    with waiting("Looking"):
        return asyncio.run(_findings(_wrong_key(), words))


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


async def _findings(wrong_key: Failure | None, words: Callable[[Failure], str]) -> list[Finding]:
    from kiro_auth.doctor.accounts import accounts
    from kiro_auth.doctor.machine import of_this_machine
    from kiro_auth.gateway.own_store import kept_store, own_store
    from kiro_auth.gateway.parts import open_own_parts

    # The other checks go on without a key that is none.
    async with open_own_parts(kept_store() if wrong_key else own_store()) as service:
        return [*of_this_machine(service.config), *await accounts(service, wrong_key, words)]


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
        yield _under_mark("mended ", f"{finding.check}: {finding.message}")
    for finding in findings:
        mark = styled(MARKS[finding.level], COLOURS[finding.level], sys.stdout)
        yield _under_mark(mark, f"{finding.check}: {finding.message}")
        if finding.remedy:
            yield _under_mark(" " * len(MARKS["ok"]), _remedy(finding))


def _remedy(finding: Finding) -> str:
    if not finding.fix:
        return finding.remedy or ""
    sentence = (finding.remedy or "").removesuffix(".")
    return f"{sentence} (or --fix){'.' if sentence != finding.remedy else ''}"


def _under_mark(mark: str, text: str) -> str:
    """A line that goes on below its words, not below its mark."""
    return f"{mark} {fitted(text, sys.stdout, margin=len(MARKS['ok']) + 1)}"
