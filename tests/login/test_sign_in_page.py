"""The page that shows a sign-in, in a real Chromium, served by the real command.

To take the pictures anew after a change that is meant: `KIRO_WRITE_DOCS=1`.
"""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageChops, ImageStat
from playwright.sync_api import Browser, Page, Request, expect

from kiro_auth.login.terms import REPORTED
from support.chromium import chromium
from support.ports import free_port
from support.programs import Home, Simulator

pytestmark = [pytest.mark.real, pytest.mark.timeout(700)]  # Chromium may have to be installed

PICTURES = Path(__file__).parent / "pictures"
LONGER_THAN_A_CODE_LASTS = 601
SMALL = (48, 64)
"""What a picture is made into before it is compared: layout and colours stay, fonts do not matter."""
USUAL_PORTS = range(19847, 19857)
PORTS = 10


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        home.environment.pop(name, None)
    # Its own, as other tests at the same time, and people, may have the usual ones.
    home.environment["KIRO_AUTH_SERVER_PORT_START"] = str(free_port(PORTS))
    return home


def first_port(home: Home) -> int:
    return int(home.environment["KIRO_AUTH_SERVER_PORT_START"])


@pytest.fixture
def simulator(home: Home) -> Iterator[Simulator]:
    with home.simulator() as simulator:
        yield simulator


@contextmanager
def signing_in(home: Home) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A sign-in that waits: its process, the code, and the page's address."""
    with home.started("login", "--builder-id", "--browser") as process:
        said = read_until(process, "This machine shows it too")
        yield process, codes(said)[0], said.split()[-1]


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What the process says, to the end of the line with these words."""
    assert process.stdout is not None
    said = ""
    while words not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said


def codes(said: str) -> list[str]:
    return re.findall(r"\n  ([A-Z]{4}-[A-Z]{4})\n", said)


@contextmanager
def opened(browser: Browser, url: str, *, dark: bool = False) -> Iterator[tuple[Page, list[Request]]]:
    """The page, and every request that it makes."""
    context = browser.new_context(
        viewport={"width": 720, "height": 960}, color_scheme="dark" if dark else "light"
    )
    requests: list[Request] = []
    page = context.new_page()
    page.on("request", lambda request: requests.append(request))  # noqa: PLW0108 (it wants a function)
    page.goto(url)
    try:
        yield page, requests
    finally:
        context.close()


def looks_as_before(page: Page, name: str) -> None:
    """Against the picture taken before, without what is another each time."""
    changing = [page.locator("#code"), page.locator("figure svg"), page.locator("p.quiet")]
    data = page.screenshot(mask=changing, animations="disabled")
    now = Image.open(io.BytesIO(data)).convert("RGB").resize(SMALL, Image.Resampling.BOX)
    path = PICTURES / f"{name}.png"
    if os.environ.get("KIRO_WRITE_DOCS"):
        PICTURES.mkdir(exist_ok=True)
        now.save(path)
    before = Image.open(path).convert("RGB")
    assert max(ImageStat.Stat(ImageChops.difference(now, before)).mean) < 6, name


def test_it_shows_code_and_link_follows_the_sign_in_and_ends_with_it(
    browser: Browser, home: Home, simulator: Simulator
) -> None:
    with signing_in(home) as (process, code, url), opened(browser, url) as (page, requests):
        assert urlsplit(url).port == first_port(home)
        expect(page.locator("#code")).to_have_text(code)
        expect(page.get_by_role("link", name="Open the page of AWS")).to_have_attribute(
            "href", re.compile(re.escape(code))
        )
        expect(page.get_by_role("img", name="QR code of the page of AWS")).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("Waiting for the confirmation…")
        looks_as_before(page, "waiting")

        simulator.ask("approve", {"userCode": code, "user": "ada@example.com"})

        expect(page.get_by_role("status")).to_contain_text(
            "You are signed in as a***@example.com", timeout=20_000
        )
        expect(page.locator("#code")).to_be_hidden()
        expect(page).to_have_title("Signed in to Kiro")
        looks_as_before(page, "done")
        assert process.wait(40) == 0
        with pytest.raises(OSError, match=r"refused|404") as gone:
            urllib.request.urlopen(url, timeout=60)
        if isinstance(gone.value, urllib.error.HTTPError):
            gone.value.close()  # another test's server has that port
        assert {urlsplit(request.url).netloc for request in requests} <= {urlsplit(url).netloc, ""}
        assert "ada@example.com" not in page.content()


def test_it_shows_why_a_sign_in_failed(browser: Browser, home: Home, simulator: Simulator) -> None:
    with signing_in(home) as (process, code, url), opened(browser, url) as (page, _):
        simulator.ask("deny", {"userCode": code})

        expect(page.get_by_role("status")).to_contain_text("was declined")
        expect(page.get_by_role("status")).to_contain_text("kiro-auth login")
        looks_as_before(page, "failed")
        assert process.wait(40) == 1


@pytest.mark.clients
def test_a_program_that_is_interrupted_leaves_a_page_that_says_so(
    browser: Browser, home: Home, simulator: Simulator
) -> None:
    with signing_in(home) as (process, _, url), opened(browser, url) as (page, _requests):
        process.send_signal(2)

        expect(page.get_by_role("status")).to_contain_text("The program has ended")
        assert process.wait(40) == 130
        assert not (home.config / "kiro-accounts.json").exists()


@pytest.mark.clients
def test_it_is_usable_by_keyboard_and_by_screen_reader(
    browser: Browser, home: Home, simulator: Simulator
) -> None:
    with signing_in(home) as (_, code, url), opened(browser, url, dark=True) as (page, _requests):
        reached = []
        for _ in range(3):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id"))
        outline = page.evaluate("getComputedStyle(document.getElementById('open')).outlineStyle")
        page.locator("#open").focus()
        focused = page.evaluate("getComputedStyle(document.getElementById('open')).outlineStyle")

        assert reached[:2] == ["open", "copy"]
        assert (outline, focused) == ("none", "solid")
        assert page.locator("html").get_attribute("lang") == "en"
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to Kiro")
        expect(page.get_by_role("main")).to_be_visible()
        spelled = " ".join(code.replace("-", ""))
        expect(page.get_by_text(f"Your code, letter by letter: {spelled}")).to_be_attached()
        expect(page.get_by_role("status")).to_have_attribute("aria-live", "polite")
        for name in ("h1", "#open", "#copy", "#state", "p.quiet >> nth=0"):
            assert contrast(page, name) >= 4.5, name
        looks_as_before(page, "dark")


@contextmanager
def two_tabs(browser: Browser, url: str) -> Iterator[tuple[Page, Page]]:
    """Two tabs of one window that show the same page; the second is in front."""
    context = browser.new_context()
    try:
        first, second = context.new_page(), context.new_page()
        for tab in (first, second):
            tab.goto(url)
        yield first, second
    finally:
        context.close()


@pytest.mark.clients
def test_two_tabs_follow_a_code_that_expires_is_renewed_and_confirmed(
    browser: Browser, home: Home, simulator: Simulator
) -> None:
    """The first code that runs out is renewed by itself, every other when a person asks for it."""
    with signing_in(home) as (process, first_code, url), two_tabs(browser, url) as tabs:
        for tab in tabs:
            expect(tab.locator("#code")).to_have_text(first_code)

        simulator.ask("advance", {"seconds": LONGER_THAN_A_CODE_LASTS})
        second_code = codes(read_until(process, "Waiting for"))[0]
        assert second_code != first_code
        for tab in tabs:
            expect(tab.locator("#code")).to_have_text(second_code)
            expect(tab.get_by_role("status")).to_contain_text("the one before has expired")

        simulator.ask("advance", {"seconds": LONGER_THAN_A_CODE_LASTS})
        for tab in tabs:
            expect(tab.get_by_role("status")).to_contain_text("The code has expired")
            expect(tab.locator("#code")).to_be_hidden()
            expect(tab).to_have_title("The code has expired")
        looks_as_before(tabs[0], "expired")
        tabs[1].reload()
        expect(tabs[1].get_by_role("status")).to_contain_text("The code has expired")
        assert process.poll() is None

        tabs[1].get_by_role("button", name="Get a new code").click()
        third_code = codes(read_until(process, "Waiting for"))[0]
        for tab in tabs:
            expect(tab.locator("#code")).to_have_text(third_code)
            expect(tab.get_by_role("button", name="Get a new code")).to_be_hidden()

        simulator.ask("approve", {"userCode": third_code, "user": "ada@example.com"})
        for tab in tabs:
            expect(tab.get_by_role("status")).to_contain_text("You are signed in")
        assert process.wait(40) == 0
        time.sleep(2)  # longer than a browser waits before it asks again
        for tab in tabs:
            expect(tab).to_have_title("Signed in to Kiro")


@pytest.mark.clients
def test_of_two_tabs_both_hear_of_a_failure_and_a_closed_one_holds_up_nothing(
    browser: Browser, home: Home, simulator: Simulator
) -> None:
    with signing_in(home) as (process, code, url), two_tabs(browser, url) as (first, second):
        with first.context.expect_page():
            first.evaluate("url => { window.open(url) }", url)
        first.context.pages[-1].close()
        simulator.ask("deny", {"userCode": code})

        for tab in (first, second):
            expect(tab.get_by_role("status")).to_contain_text("was declined")
            expect(tab).to_have_title("The sign-in to Kiro failed")
        assert process.wait(40) == 1


@pytest.mark.clients
def test_an_old_tab_gives_way_to_newer_ones_and_takes_over_when_it_is_reloaded(
    browser: Browser, home: Home, simulator: Simulator
) -> None:
    """A browser opens six connections to a host; a seventh tab would wait for ever."""
    with signing_in(home) as (process, code, url), two_tabs(browser, url) as (first, second):
        for _ in range(6):
            first.context.new_page().goto(url)
        expect(first.get_by_role("status")).to_contain_text("A newer tab shows this sign-in")
        first.reload()
        expect(first.locator("#code")).to_have_text(code)
        simulator.ask("approve", {"userCode": code, "user": "ada@example.com"})

        expect(first.get_by_role("status")).to_contain_text("You are signed in")
        expect(second.get_by_role("status")).to_contain_text("A newer tab")
        assert process.wait(40) == 0


@pytest.mark.clients
def test_a_tab_without_its_program_says_so_and_shows_no_failure(
    browser: Browser, home: Home, simulator: Simulator
) -> None:
    with signing_in(home) as (process, _, url), opened(browser, url) as (page, _requests):
        expect(page.locator("#code")).to_be_visible()
        process.kill()

        expect(page.get_by_role("status")).to_contain_text("The program has ended")
        expect(page).to_have_title("The sign-in to Kiro has ended")


@pytest.mark.clients
def test_the_page_says_that_aws_cannot_be_reached_and_goes_on_when_it_can(
    browser: Browser, home: Home, simulator: Simulator
) -> None:
    with signing_in(home) as (process, code, url), opened(browser, url) as (page, _):
        simulator.ask("fault", {"operation": "CreateToken", "times": 2})
        expect(page.get_by_role("status")).to_contain_text("Still waiting")
        expect(page.get_by_role("status")).to_have_text("Waiting for the confirmation…")
        simulator.ask("approve", {"userCode": code, "user": "ada@example.com"})

        expect(page.get_by_role("status")).to_contain_text("You are signed in")
        assert process.wait(40) == 0


@pytest.mark.clients
def test_what_is_reported_of_the_terms_is_said_at_the_first_sign_in_alone(
    browser: Browser, home: Home, simulator: Simulator
) -> None:
    for first in (True, False):
        with signing_in(home) as (process, code, url), opened(browser, url) as (page, _):
            expect(page.get_by_text(REPORTED)).to_have_count(int(first))
            simulator.ask("approve", {"userCode": code, "user": "ada@example.com"})
            expect(page.get_by_role("status")).to_contain_text("You are signed in")
            assert process.wait(40) == 0


def contrast(page: Page, selector: str) -> float:
    """Between an element's text and what is behind it, as WCAG counts it."""
    colours = page.locator(selector).evaluate(
        """element => {
          const back = (it) => getComputedStyle(it).backgroundColor
          let behind = element
          while (behind.parentElement && back(behind) === "rgba(0, 0, 0, 0)") behind = behind.parentElement
          return [getComputedStyle(element).color, back(behind)]
        }"""
    )
    lights = sorted(luminance(colour) for colour in colours)
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_nobody_else_s_page_can_read_it(home: Home, simulator: Simulator) -> None:
    del home.environment["KIRO_AUTH_SERVER_PORT_START"]
    with signing_in(home) as (_, _code, url):
        port = urlsplit(url).port
        assert port in USUAL_PORTS
        for other, host in ((url, "evil.example"), (f"http://127.0.0.1:{port}/", None)):
            request = urllib.request.Request(other, headers={"Host": host} if host else {})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=60)
            assert refused.value.code in (403, 404)
            refused.value.close()
        with urllib.request.urlopen(url, timeout=60) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] == "no-store"
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy


def test_the_next_free_port_is_taken(home: Home, simulator: Simulator) -> None:
    with ExitStack() as taken:
        for port in (first_port(home), first_port(home) + 1):
            taken.enter_context(socket.create_server(("127.0.0.1", port)))
        with signing_in(home) as (_, _code, url):
            assert urlsplit(url).port == first_port(home) + 2


ORGANISATION = ("--start-url", "https://d-1234567890.awsapps.com/start", "--region", "eu-north-1")


@pytest.mark.parametrize(
    ("ways", "name"), [(("--builder-id",), "a***@example.com"), (ORGANISATION, "l***@example.org")]
)
def test_with_every_port_taken_and_no_browser_the_terminal_is_enough(
    home: Home, simulator: Simulator, ways: tuple[str, ...], name: str
) -> None:
    home.environment["KIRO_AUTH_SERVER_PORT_RANGE"] = "3"
    simulator.ask("settings", {"autoApprove": True})
    with ExitStack() as taken:
        for port in range(first_port(home), first_port(home) + 3):
            taken.enter_context(socket.create_server(("127.0.0.1", port)))
        done = home.run("login", *ways)

    assert re.search(r"\n  [A-Z]{4}-[A-Z]{4}\n", done.stdout)
    assert "http" in done.stdout
    assert "This machine shows it too" not in done.stdout
    assert f"Signed in: {name}" in done.stdout
    assert len(home.accounts()) == 1
