"""The system's own Chromium, driven from outside; it is not downloaded but installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# What is looked for is there within a moment, but not on a machine that has much else to do.
expect.set_options(timeout=30_000)


def program() -> str:
    """Its path.  In CI it is installed when it is missing; elsewhere the test is skipped."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI"):
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=300)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=True, timeout=600)
        found = shutil.which("chromium")
    if found is None:
        pytest.skip("Chromium is not installed")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program(),
            # Root has no sandbox in containers; nothing but pages of this machine is opened.
            args=["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb", "--hide-scrollbars"],
        )
        try:
            yield browser
        finally:
            browser.close()
