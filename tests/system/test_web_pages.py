"""A real browser's page of another origin, or of a name that leads here (DNS rebinding), can neither read nor
start anything: the gateway has no cookie, and knows its own names.
"""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from support.chromium import program
from support.programs import KEY, Home, Services, Simulator

pytestmark = [pytest.mark.real, pytest.mark.clients, pytest.mark.timeout(180)]

REBOUND = "evil.example"
PLACES = (
    "/v1/messages",
    "/v1/models",
    "/kiro/accounts",
    "/kiro/login",
    "/kiro/stop",
    "/kiro/proof",
    "/health",
)
NOTHING = ("refused", "opaque", "nothing", "sent")
ATTACK = """async ([base, places, body]) => {
  const seen = {}, note = (name, value) => { seen[name] = value }
  const later = (what, wait) => new Promise(done => setTimeout(() => done(what), wait))
  const long = (promise) => Promise.race([promise, later('nothing', 1500)])
  const asked = async (name, path, options) => {
    try {
      const answer = await fetch(base + path, options)
      note(name, answer.type === 'opaque' ? 'opaque' : `${answer.status} ${await answer.text()}`)
    } catch (error) { note(name, 'refused') }
  }
  for (const place of places) for (const method of ['GET', 'POST']) {
    const sent = method === 'POST' ? { method, body } : {}
    await asked(`cors ${method} ${place}`, place, sent)
    await asked(`no-cors ${method} ${place}`, place, { ...sent, mode: 'no-cors', credentials: 'include' })
    const json = { 'content-type': 'application/json' }, keyed = { 'x-api-key': 'a-guess' }
    await asked(`json ${method} ${place}`, place, { ...sent, headers: json })
    await asked(`keyed ${method} ${place}`, place, { ...sent, headers: keyed })
  }
  for (const place of places) {
    note(`script ${place}`, await long(new Promise(done => {
      const tag = document.createElement('script'); tag.src = base + place
      tag.onload = () => done('loaded'); tag.onerror = () => done('refused'); document.body.append(tag) })))
    note(`image ${place}`, await long(new Promise(done => {
      const tag = new Image(); tag.src = base + place
      tag.onload = () => done('loaded'); tag.onerror = () => done('refused') })))
    note(`frame ${place}`, await long(new Promise(done => {
      const tag = document.createElement('iframe'); tag.src = base + place
      tag.onload = () => {
        try { done('read ' + tag.contentDocument.body.innerText) } catch { done('refused') }
      }
      document.body.append(tag) })))
    note(`events ${place}`, await long(new Promise(done => {
      const source = new EventSource(base + place)
      source.onopen = () => done('opened'); source.onerror = () => { source.close(); done('refused') } })))
    note(`socket ${place}`, await long(new Promise(done => {
      const socket = new WebSocket(base.replace('http', 'ws') + place)
      socket.onopen = () => done('opened'); socket.onerror = () => done('refused') })))
    const form = document.createElement('form'), frame = document.createElement('iframe')
    frame.name = 'f' + place; form.target = frame.name; form.method = 'post'; form.enctype = 'text/plain'
    form.action = base + place
    const field = document.createElement('input'); field.name = body.slice(0, -2); field.value = '"}'
    form.append(field); document.body.append(frame, form); form.submit()
    note(`beacon ${place}`, navigator.sendBeacon(base + place, body) ? 'sent' : 'refused')
  }
  await later('', 1000)
  return seen
}"""


@contextmanager
def another_site() -> Iterator[int]:
    """A web server of somebody else, at a port of this machine."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>evil</title><body>")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@contextmanager
def page_at(url: str) -> Iterator[Page]:
    """The page, in a browser for which every foreign name leads to this machine."""
    rules = f"MAP {REBOUND} 127.0.0.1, MAP *.example 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program(),
            args=["--no-sandbox", "--disable-gpu", f"--host-resolver-rules={rules}"],
        )
        try:
            page = browser.new_page()
            page.goto(url)
            yield page
        finally:
            browser.close()


@pytest.fixture
def scene(tmp_path: Any, services: Services) -> tuple[Home, Simulator]:
    home = Home(tmp_path)
    simulator = services.begin(home, auto_approve=True)
    home.run("login", "--builder-id", "--no-browser")
    return home, simulator


def attacked(page: Page, base: str) -> dict[str, str]:
    body = json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": ["Hi"], "x": ""})
    seen: dict[str, str] = page.evaluate(ATTACK, [base, list(PLACES), body])
    return seen


def test_a_page_of_another_origin_reads_and_starts_nothing(scene: tuple[Home, Simulator]) -> None:
    home, simulator = scene
    with home.gateway() as url, another_site() as port, page_at(f"http://localhost:{port}/") as page:
        before = simulator.calls()
        seen = attacked(page, url)
        assert home.json("status")["url"] == url  # `/kiro/stop` stopped nothing
        assert simulator.calls() == before

    # A page may open what it cannot read; `opaque` is an answer that it sees nothing of.
    told = {name: what for name, what in seen.items() if what not in NOTHING}
    assert told == {}
    assert len(seen) > 80


def test_a_page_at_a_name_that_leads_here_reads_and_starts_nothing(scene: tuple[Home, Simulator]) -> None:
    home, simulator = scene
    with home.gateway() as url:
        rebound = f"http://{REBOUND}:{url.rpartition(':')[2]}"
        with page_at(f"{rebound}/") as page:
            before = simulator.calls()
            here = page.content()
            seen = attacked(page, rebound)
            assert home.json("status")["url"] == url
            assert simulator.calls() == before

    # This page is of the same origin to its browser, so it reads the answers: every one is a refusal.
    assert "KA-ORIGIN" in here
    answers = {
        name: what for name, what in seen.items() if what not in ("refused", "opaque", "nothing", "sent")
    }
    assert all("KA-ORIGIN" in what for name, what in answers.items()), answers
    assert KEY not in json.dumps(seen)
    assert len(answers) > 20
