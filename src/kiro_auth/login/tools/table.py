"""The programs whose sign-ins can be taken over, one row each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kiro_auth.login.tools.kiro_cli import KiroCli
from kiro_auth.login.tools.kiro_ide import KiroIde
from kiro_auth.login.tools.original import Original
from kiro_auth.login.tools.tool import SharingTool, Tool

SHARING: Final[Mapping[str, SharingTool]] = {
    "kiro-cli": KiroCli("kiro-cli"),
    "amazon-q": KiroCli("amazon-q"),
    "kiro-ide": KiroIde(),
}
"""Those that go on using the sign-ins that were taken over."""
TOOLS: Final[Mapping[str, Tool]] = {**SHARING, "original": Original()}
"""All, in the order in which they are looked at."""
