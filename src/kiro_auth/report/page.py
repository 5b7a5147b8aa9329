"""A report for somebody who looks into a fault: a page of text that its owner reads before sending it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from kiro_auth import __version__
from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.config import Config
from kiro_auth.doctor.finding import Finding
from kiro_auth.gateway.log_lines import Record
from kiro_auth.gateway.options import not_as_by_default
from kiro_auth.options import OPTIONS
from kiro_auth.report import log
from kiro_auth.report.redaction import Redaction, formed, settings
from kiro_auth.times import iso

CONTENTS: Final = (
    "the versions of kiro-auth, Python, the system, and the coding agents on your PATH",
    "the options that differ from the defaults; of texts only that they are set",
    "your accounts: kind, region and state, without names, e-mails and ids",
    "what kiro-auth doctor says",
    "the last turns that failed: codes, request ids and figures, no words of a conversation",
    "the end of the gateway's log, without names and without what was said",
)
FAILURES: Final = 20
LINES: Final = 150
"""How many of the last failures, and of the last lines of the log."""


class Facts(Struct, frozen=True, kw_only=True):
    """What a report is made of.  `now` is epoch seconds, `programs` are versions by name."""

    now: float
    programs: Mapping[str, str]
    config: Config
    accounts: Sequence[Account]
    findings: Sequence[Finding]
    records: Sequence[Record]


def page(facts: Facts, hide: Redaction) -> str:
    """The report, as Markdown."""
    sections = {
        "Versions": _versions(facts),
        "Options": [settings(not_as_by_default(facts.config))],
        "Accounts": list(_accounts(facts)) or ["none"],
        "Doctor": [_finding(finding, hide) for finding in facts.findings],
        f"The last {FAILURES} failures": list(log.failures(facts.records, hide, FAILURES)) or ["none"],
        f"The last {LINES} lines of the log": list(log.lines(facts.records[-LINES:], hide)) or ["none"],
    }
    text = ["# kiro-auth report", *_introduction(facts.now)]
    for heading, entries in sections.items():
        text += ["", f"## {heading}", "", *(f"- {entry}" for entry in entries)]
    return "\n".join(text) + "\n"


def _introduction(now: float) -> Iterator[str]:
    yield f"\nMade {iso(now * 1000)} by `kiro-auth report`; nothing was sent anywhere. In it are\n"
    yield from (f"- {content}" for content in CONTENTS)


def _versions(facts: Facts) -> list[str]:
    python = ".".join(map(str, sys.version_info[:3]))
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    ours = [f"kiro-auth {__version__}", f"Python {python} ({sys.implementation.name})", system]
    return ours + [f"{name} {version}" for name, version in facts.programs.items()]


def _accounts(facts: Facts) -> Iterator[str]:
    for number, account in enumerate(facts.accounts, 1):
        state = health.effective(account, facts.now)
        told = [f"#{number}: {account.kind}, served in {account.service_region}, {state}"]
        if state != "ready":
            told += [formed(account.state_code, "code")] if account.state_code else []
            told += [f"until {iso(account.state_until)}"] if account.state_until else []
        told.append(f"token until {iso(account.expires_at) or 'an unknown time'}")
        yield ", ".join(told)


def _finding(finding: Finding, hide: Redaction) -> str:
    check = hide(finding.check)
    if finding.check == "configuration" and finding.level != "ok":
        # The message quotes a value, which may be anything.
        names = [option.name for option in OPTIONS if option.name in finding.message]
        return f"{finding.level} {check}: {finding.code}, {', '.join(names) or 'no option'}"
    return f"{finding.level} {check}: {hide(finding.message)}"
