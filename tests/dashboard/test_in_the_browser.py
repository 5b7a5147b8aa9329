"""The dashboard in a real Chromium, served by the real gateway and opened by the real command."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from support.chromium import chromium
from support.furnished import HOSTILE, furnish
from support.npm import npm_package
from support.openid import SECRET, openid
from support.programs import KEY, Home, Services, Simulator

pytestmark = [pytest.mark.real, pytest.mark.clients, pytest.mark.timeout(700)]

AXE = ("axe-core", "4.14.1")
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def simulator(home: Home, services: Services) -> Simulator:
    return services.begin(home, auto_approve=False)


@pytest.fixture
def gateway(home: Home, simulator: Simulator) -> Iterator[str]:
    """Its address, with an account in each state and a month of turns."""
    furnish(home, simulator, time.time())
    with home.gateway() as url:
        yield url


def link(home: Home) -> str:
    """What the command prints: one address, and nothing else."""
    done = home.run("dashboard", "--no-browser")
    [address] = done.stdout.splitlines()
    return address


@contextmanager
def opened(browser: Browser, link: str, *, width: int = 1280, dark: bool = False) -> Iterator[Page]:
    """The dashboard; nothing may be asked of another host, and no rule of the page may be broken."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    hosts, trouble = set(), []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("console", lambda said: trouble.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(link)
    expect(page.locator("#link-words")).to_have_text("Live")
    try:
        yield page
        assert hosts == {urlsplit(link).netloc}
        assert trouble == []
    finally:
        context.close()


def ask(url: str, **more: Any) -> None:
    """One request of a client, whatever becomes of it."""
    body = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi."}]}
    headers = {"x-api-key": KEY, "content-type": "application/json", "user-agent": "claude-cli/2.1"}
    request = urllib.request.Request(f"{url}/v1/messages", json.dumps(body | more).encode(), headers)
    try:
        urllib.request.urlopen(request, timeout=90).read()
    except urllib.error.HTTPError as error:
        error.close()


def card(page: Page, account: str) -> Any:
    return page.locator(f"#account-{account}")


def problems(page: Page) -> list[str]:
    """What axe-core finds that keeps people from using the page."""
    page.evaluate((npm_package(*AXE) / "axe.min.js").read_text())
    found = page.evaluate("axe.run()")
    serious = [one for one in found["violations"] if one["impact"] in SERIOUS]
    return [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in serious]


def test_each_state_of_an_account_is_shown_with_reason_end_and_next_step(
    browser: Browser, home: Home, gateway: str
) -> None:
    with opened(browser, link(home)) as page:
        shown = {
            "ready": ("ready", "618.40 of 1,000 credits · 61%", "resets", "At your pace"),
            "throttled": ("throttled", "slow down", re.compile("in (2[5-9]|30) min"), "Just wait"),
            "paused": ("paused", "unusual activity", "Leave the account alone"),
            "quota": ("out of credits", "plan limit is used up", "Available again", "100%"),
            "suspended": ("suspended", "AWS has locked the account", "Ask AWS for a review"),
            "signed-out": ("signed out", "sign-in of the account has ended", "kiro-auth login --builder-id"),
            "disabled": ("disabled", "Switched off by you", "kiro-auth accounts enable"),
        }
        for account, words in shown.items():
            for text in words:
                expect(card(page, account)).to_contain_text(text)
        expect(page.get_by_role("heading", level=1)).to_have_text("Works, with 1 of 6 accounts")
        expect(page.get_by_text("Credits left")).to_be_visible()
        expect(page.locator("#part-summary")).to_contain_text("1,141.35 of 3,000")
        expect(card(page, "suspended").get_by_role("heading")).to_have_text(HOSTILE)
        assert page.locator("#part-accounts img").count() == 0
        assert page.title() == "Kiro accounts"


def test_what_spends_the_credits_is_a_chart_with_a_table_by_each_kind(
    browser: Browser, home: Home, gateway: str
) -> None:
    with opened(browser, link(home)) as page:
        rows = page.locator("#spending-table tbody tr")
        expect(rows).to_have_count(3)
        expect(rows.first).to_contain_text("claude-opus-4.6")
        assert drawn(page), "the chart has colours in it"
        page.get_by_label("Project").check()
        expect(page.locator("#by-head")).to_have_text("Project")
        expect(page.locator("#spending-table")).to_contain_text("infra")
        page.get_by_label("7 days").check()
        page.get_by_label("Client").check()
        expect(page.locator("#spending-table")).to_contain_text("claude-cli")
        figures = page.locator("#spending-table tbody td:nth-child(2)").all_inner_texts()
        page.get_by_label("24 hours").check()
        expect(page.locator("#spending-table tbody td:nth-child(2)")).not_to_have_text(figures)


def drawn(page: Page) -> bool:
    """Whether there is something in the chart's canvas in the colour of the first row."""
    return page.evaluate(
        """() => {
          const [red, green, blue] = getComputedStyle(document.querySelector(".swatch.c0"))
            .backgroundColor.match(/\\d+/g).map(Number)
          const canvas = document.querySelector("#plot canvas")
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
          for (let at = 0; at < data.length; at += 4)
            if (data[at] === red && data[at + 1] === green && data[at + 2] === blue) return true
          return false
        }"""
    )


def test_turns_failures_and_changes_of_other_programs_appear_while_the_page_is_open(
    browser: Browser, home: Home, simulator: Simulator, gateway: str
) -> None:
    with opened(browser, link(home)) as page:
        expect(page.locator("#part-turns")).to_contain_text("Nothing is running.")
        simulator.script({"steps": [{"text": "One"}, {"pause": 20}, {"text": " two."}]})
        asking = threading.Thread(target=ask, args=(gateway,), kwargs={"stream": True})
        asking.start()
        expect(page.locator("#part-turns")).to_contain_text("Claude Code")
        expect(page.locator("#part-turns")).to_contain_text("answering")
        expect(page.locator("[data-began]")).to_have_text(re.compile(r"\d s"))
        asking.join()
        expect(page.locator("#part-turns")).to_contain_text("Nothing is running.")

        ask(gateway, model="no-such-model")
        newest = page.locator("#part-troubles details").first
        expect(newest).to_contain_text("KA-MODEL")
        newest.locator("summary").click()
        expect(newest).to_contain_text("The name is misspelled")
        expect(newest).to_contain_text("Choose a model that `kiro-auth models` lists.")

        home.run("accounts", "disable", "ready")
        expect(card(page, "ready").locator(".state")).to_have_text("disabled")
        expect(newest).to_have_attribute("open", "")


def test_an_account_is_disabled_enabled_verified_and_signed_in_again_from_the_page(
    browser: Browser, home: Home, simulator: Simulator, gateway: str
) -> None:
    with opened(browser, link(home)) as page:
        ready = card(page, "ready")
        ready.get_by_role("button", name="Disable").click()
        expect(ready.locator(".state")).to_have_text("disabled")
        expect(page.locator("#told")).to_have_text("Ada, private takes no more requests.")
        assert home.accounts()[0]["state"] == "disabled"
        ready.get_by_role("button", name="Enable").click()
        expect(ready.locator(".state")).to_have_text("ready")
        ready.get_by_role("button", name="Verify").click()
        expect(page.locator("#told")).to_have_text("Ada, private works and is in use.")

        card(page, "signed-out").get_by_role("button", name="Sign in again").click()
        dialog = page.get_by_role("dialog")
        code = page.locator("#sign-in-code")
        expect(code).to_have_text(re.compile("[A-Z]{4}-[A-Z]{4}"))
        address = page.locator("#sign-in-url").get_attribute("href") or ""
        assert code.inner_text() in address
        assert problems(page) == []
        simulator.ask("approve", {"userCode": code.inner_text(), "user": "grace@example.com"})
        expect(dialog).to_be_hidden()
        expect(page.locator("#told")).to_contain_text("is signed in.")
        assert any(account.get("realEmail") == "grace@example.com" for account in home.accounts())


def test_it_can_be_used_in_the_dark_on_a_phone_and_by_keyboard_alone(
    browser: Browser, home: Home, gateway: str
) -> None:
    with opened(browser, link(home)) as page:
        assert problems(page) == []
        page.get_by_role("button", name="theme").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Dark theme; change it")).to_be_focused()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 19, 23)"
        page.reload()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 19, 23)"

        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "disable-ready":
                break
        page.keyboard.press("Enter")
        expect(card(page, "ready").locator(".state")).to_have_text("disabled")
        page.locator("#verify-throttled").focus()
        home.run("accounts", "enable", "ready")
        expect(card(page, "ready").locator(".state")).to_have_text("ready")
        expect(page.locator("#verify-throttled")).to_be_focused()

        page.get_by_label("Model").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#by-head")).to_have_text("Project")
    with opened(browser, link(home), dark=True) as page:
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 19, 23)"
        expect(page.locator("#spending-table tbody tr")).to_have_count(3)
        assert problems(page) == []
    for width in (320, 390):
        with opened(browser, link(home), width=width) as page:
            expect(page.locator("#spending-table tbody tr")).to_have_count(3)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert problems(page) == []


def test_a_link_is_good_once_and_without_a_session_the_page_says_how_to_open_it(
    browser: Browser, home: Home, gateway: str
) -> None:
    address = link(home)
    with opened(browser, address) as page:
        assert page.url == f"{gateway}/"
        [cookie] = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
        page.get_by_role("button", name="Close").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("This is the gateway of kiro-auth")
        expect(page.get_by_text("Ada, private")).to_have_count(0)
        assert problems(page) == []
        page.context.clear_cookies()
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_have_text("This link is no longer good")
    context.close()


def test_a_page_whose_gateway_ends_says_so(browser: Browser, home: Home, gateway: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(link(home))
    expect(page.locator("#link-words")).to_have_text("Live")
    home.run("stop")
    expect(page.locator("#told")).to_contain_text("The gateway has ended.")
    expect(page.locator("#link-words")).to_have_text("Not live")
    context.close()


def test_the_holder_of_a_key_types_it_and_sees_its_own_page_until_it_closes_it(
    browser: Browser, home: Home, gateway: str
) -> None:
    made = home.json("keys", "create", "ann", "--budget", "5/day", "--concurrency", "2")
    context = browser.new_context(viewport={"width": 800, "height": 700})
    page = context.new_page()
    trouble: list[str] = []
    page.on("console", lambda said: trouble.append(said.text) if said.type == "error" else None)
    page.goto(gateway)
    page.get_by_label("your own key").fill(made["key"])
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The key ann")
    expect(page.get_by_text("5.00 of 5")).to_be_visible()
    expect(page.get_by_text("in 0 turns, 0 failed")).to_have_count(2)
    expect(page.locator("li.card .state")).to_contain_text(
        ["ready", "throttled", "out of credits", "signed out"]
    )
    assert page.url == f"{gateway}/"
    assert problems(page) == []
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This is the gateway of kiro-auth")
    assert problems(page) == []
    assert trouble == []
    context.close()


TELLS_WHAT_IS_ASKED = """
  const { fetch } = window
  window.fetch = (path, options) => {
    const { pathname } = new URL(path, location)
    options?.signal?.addEventListener("abort", () => console.log(`given up: ${pathname}`))
    console.log(`asked: ${pathname}`)
    return fetch(path, options)
  }
  const { close } = EventSource.prototype
  EventSource.prototype.close = function () {
    console.log(`given up: ${new URL(this.url).pathname}`)
    close.call(this)
  }
"""


def test_what_is_under_way_is_given_up_before_the_session_is_closed(
    browser: Browser, home: Home, gateway: str
) -> None:
    with opened(browser, link(home)) as page:
        page.route("**/dashboard/spending*", lambda route: None)  # not answered while the page is open
        page.add_init_script(TELLS_WHAT_IS_ASKED)
        page.reload()
        expect(page.locator("#link-words")).to_have_text("Live")
        steps: list[str] = []
        page.on("console", lambda said: steps.append(said.text))
        page.get_by_label("Project").check()
        page.get_by_role("button", name="Close").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("This is the gateway of kiro-auth")
        asked = [step for step in steps if step.startswith("asked")]
        # It also asks by itself, whenever the sums above have changed.
        assert set(asked[:-1]) == {"asked: /dashboard/spending"}
        assert asked[-1] == "asked: /dashboard/close"
        given_up = Counter(steps[: steps.index(asked[-1])])
        assert given_up["given up: /dashboard/events"] == 1
        assert given_up["given up: /dashboard/spending"] >= len(asked[:-1])


def test_a_person_of_the_company_signs_in_at_another_site_and_closes_the_page(
    browser: Browser, home: Home, simulator: Simulator
) -> None:
    furnish(home, simulator, time.time())
    with openid("localhost") as provider:  # to a browser another site than 127.0.0.1, as a company's is
        option = {"issuer": provider.issuer, "client_id": "kiro", "operators": ["anna@example.com"]}
        secret = home.folder / "oidc.secret"
        secret.write_text(SECRET)
        option["client_secret_file"] = str(secret)
        with home.gateway(KIRO_DASHBOARD_OIDC=json.dumps(option)) as gateway:
            context = browser.new_context()
            page = context.new_page()
            trouble: list[str] = []
            page.on("console", lambda said: trouble.append(said.text) if said.type == "error" else None)
            page.goto(gateway)
            assert problems(page) == []
            page.get_by_role("link", name="Sign in with your company").click()
            expect(page.locator("#link-words")).to_have_text("Live")
            assert page.url == f"{gateway}/"
            expect(card(page, "ready")).to_contain_text("ready")
            [cookie] = context.cookies(gateway)
            assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
            page.get_by_role("button", name="Close").click()
            expect(page.get_by_role("link", name="Sign in with your company")).to_be_visible()
            assert trouble == []

            provider.person["email"] = "eve@example.com"
            page.get_by_role("link", name="Sign in with your company").click()
            expect(page.get_by_role("heading", level=1)).to_have_text("You are not signed in")
            expect(page.get_by_text("eve@example.com may not see this dashboard")).to_be_visible()
            assert problems(page) == []
            context.close()
