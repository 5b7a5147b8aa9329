"""Make the pictures of the dashboard in docs/dashboard, from the real gateway in the system's Chromium.

make pictures
"""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, expect

from support.chromium import chromium
from support.furnished import furnish
from support.programs import Home

FOLDER: Final = Path(__file__).parents[1] / "docs" / "dashboard"
ACCOUNTS: Final = ("ready", "throttled", "signed-out", "quota")
COLOURS: Final = 96
"""Of a palette, which makes a picture a third as large and looks the same."""
SCENES: Final = {"light": (1280, False), "dark": (1280, True), "phone": (390, False)}
"""How wide the window is, and whether it is dark."""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        home = Home(Path(folder))
        with home.simulator() as simulator:
            furnish(home, simulator, time.time(), only=ACCOUNTS)
            with home.gateway():
                for name, (width, dark) in SCENES.items():
                    address = home.run("dashboard", "--no-browser").stdout.strip()
                    taken(browser, address, width, dark=dark).save(FOLDER / f"{name}.png", optimize=True)
                    print(f"written: {FOLDER / name}.png")


def taken(browser: Browser, address: str, width: int, *, dark: bool) -> Image.Image:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#spending-table tbody tr")).to_have_count(3)
    page.wait_for_timeout(600)  # until the bars have their width
    data = page.screenshot(full_page=True)
    context.close()
    return Image.open(io.BytesIO(data)).convert("RGB").quantize(COLOURS)


if __name__ == "__main__":
    main()
