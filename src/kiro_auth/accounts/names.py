"""What an account can be called, as its owner recognises it, from what is known of it: without any I/O.

No name has more of an e-mail than `masked` shows, as names stand in tables, logs and failures.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import urlsplit

from kiro_auth.kinds import KINDS

_PLACEHOLDERS: Final = frozenset(row.placeholder for row in KINDS.values() if row.placeholder)
_PLACEHOLDER_HOST: Final = "@awsapps.local"
"""How the e-mails end that later versions of the original plugin make up."""

_EMAIL: Final = r"[^\s@*()<>,;:]+@[^\s@()<>,;:]+\.\w[^\s@()<>,;:]*"


def folded(text: str) -> str:
    """The text without what people do not tell apart: case, forms of the same letter, white space."""
    if text.isascii():
        return " ".join(text.casefold().split())
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def masked(email: str | None) -> str:
    """An e-mail that its owner recognises and a screenshot does not give away: `j***@example.com`."""
    if not email or "@" not in email:
        return ""
    name, _, domain = email.rpartition("@")
    return f"{name[:1]}***@{domain}"


def without_emails(text: str) -> str:
    """The text with every e-mail in it masked."""
    return re.sub(_EMAIL, lambda found: masked(found[0]), text)


def is_placeholder(email: str) -> bool:
    """Whether a stored e-mail stands for one that is not known, as in files of the original plugin."""
    return email in _PLACEHOLDERS or email.endswith(_PLACEHOLDER_HOST)


def organisation(start_url: str | None) -> str:
    """What tells one organisation's start URL from another's: `d-1234567890`; empty where it has no host."""
    try:
        parts = urlsplit(start_url or "")
        host = parts.hostname or ""
    except ValueError:
        return ""
    if host.endswith(".awsapps.com"):
        return host.removesuffix(".awsapps.com")
    last = parts.path.strip("/").split("/")[-1]
    return last if last.startswith("ssoins-") else host
