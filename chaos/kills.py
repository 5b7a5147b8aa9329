"""Scenarios of real processes that are killed: gateways under load or in renewals, and what starts them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from chaos.oracle import broken_law
from chaos.plan import APIS, Request
from chaos.played import Played
from chaos.stage import body_of
from support.programs import KEY, KIRO_AUTH, Home, Simulator
from support.storing import HandStore

_WAIT: Final = 60.0  # seconds, of a busy machine
_OF_GATEWAYS: Final = 0.6


def play(seed: int) -> Played:
    """One scenario, in a home of its own: a gateway is killed, or one that starts it."""
    chance, played = random.Random(seed), Played(seed)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.environment["KIRO_GATEWAY_KEY"] = KEY
        with home.simulator("--auto-approve") as simulator:
            ids = _sign_in(home, simulator)
            if chance.random() < _OF_GATEWAYS:
                _gateway_is_killed(home, simulator, chance, played)
            else:
                _starter_is_killed(home, chance, played)
            _nothing_is_lost(home, ids, played)
    return played


def _sign_in(home: Home, simulator: Simulator) -> set[str]:
    store = HandStore(home.config, home.state / "locks")
    for email in ("ada@example.com", "grace@example.com"):
        held = simulator.ask("sign-in", {"user": email})
        names = ("accessToken", "refreshToken", "clientId", "clientSecret", "region")
        ends = round((time.time() + held["expiresIn"]) * 1000)
        record = {name: held[name] for name in names} | {"expiresAt": ends}
        store.add_account({"id": email[:3] * 8, "label": email[:3], **record})
    return {record["id"] for record in store.accounts()}


@contextlib.contextmanager
def _gateway(home: Home) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    command = [*KIRO_AUTH, "serve", "--port", "0"]  # one that is chosen before may be another's by then
    with subprocess.Popen(
        command, env=home.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            assert line, "the gateway did not start"
            yield process, line.split()[2].rstrip(";")
        finally:
            process.kill()


def _gateway_is_killed(home: Home, simulator: Simulator, chance: random.Random, played: Played) -> None:
    renewing = chance.random() < 0.6
    if renewing:
        store = HandStore(home.config, home.state / "locks")
        for record in store.accounts():
            store.change_account(record["id"], {"expiresAt": 1})
        simulator.ask("advance", {"seconds": 7200})
    simulator.script(*[{"steps": [{"text": "One"}, {"pause": 0.2}, {"text": "two."}]}] * 6)
    with _gateway(home) as (process, url), ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(_ask, url, Request(api=chance.choice(APIS), stream=True)) for _ in range(6)]
        time.sleep(chance.uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
        played.injected.append(f"gateway killed {'while it renews' if renewing else 'under load'}")
        for each in asked:
            played.ends.append(each.result(_WAIT)[1])
    with _gateway(home) as (_, url):
        request = Request(api=chance.choice(APIS), stream=chance.random() < 0.5)
        body, end = _ask(url, request)
        played.ends.append(end)
        lost = b"(KA-SIGNIN)" in body or b"KA-ACCOUNTS" in body
        if end != "answered" and not (renewing and lost):  # a token may die inside its one write
            played.broken.append(f"the next gateway does not serve: {end} {body[-300:]!r}")


def _starter_is_killed(home: Home, chance: random.Random, played: Played) -> None:
    starters = [
        subprocess.Popen(
            [*KIRO_AUTH, "env", "claude"],
            env=home.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(chance.choice((1, 2)))
    ]
    time.sleep(chance.uniform(0.0, 1.5))
    for starter in starters:
        starter.kill()
        starter.wait(30)
        played.injected.append("starter killed")
    done = home.run("env", "claude", check=False)
    played.ends.append("answered" if done.returncode == 0 else "failed")
    if done.returncode:
        played.broken.append(f"no gateway can be started: {done.stderr[-300:]}")
    try:
        address = json.loads((home.state / "gateway.json").read_text())
        _, end = _ask(f"http://127.0.0.1:{address['port']}", Request(api=APIS[0], stream=True))
        played.ends.append(end)
        if end != "answered":
            played.broken.append(f"what was started does not serve: {end}")
    finally:
        home.run("stop", check=False)
        _end_all(home)


def _end_all(home: Home) -> None:
    """End what still runs in this home: what a killed program started may begin only now."""
    own = f"HOME={home.folder}".encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if own in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)


def _ask(url: str, request: Request) -> tuple[bytes, str]:
    """What was answered, and how that ended; a connection that breaks off is an end of its own."""
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    asked = urllib.request.Request(f"{url}{request.api}", json.dumps(body_of(request)).encode(), headers)
    body, status = b"", 200
    try:
        with urllib.request.urlopen(asked, timeout=_WAIT) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            body, status = error.read(), error.code
    except (OSError, ValueError, EOFError) as error:
        return b"", f"broken off: {type(error).__name__}"
    except Exception as error:  # http.client has errors of its own
        return b"", f"broken off: {type(error).__name__}"
    if wrong := broken_law(request.api, status, body, stream=request.stream, calls=[]):
        return body, wrong
    return body, "failed" if status != 200 or b"(KA-" in body else "answered"


def _nothing_is_lost(home: Home, ids: set[str], played: Played) -> None:
    """The store loads, with all accounts, and of what was killed nothing is left after the next start."""
    store = HandStore(home.config, home.state / "locks")
    if {record["id"] for record in store.accounts()} != ids:
        played.broken.append("accounts were lost")
    with _gateway(home):
        end = time.monotonic() + _WAIT
        while (left := _left(home)) and time.monotonic() < end:
            time.sleep(0.05)
        if left:
            played.broken.append(f"files were left behind: {left}")


def _left(home: Home) -> list[str]:
    hidden: list[Any] = [path for path in home.config.iterdir() if path.name.startswith(".")]
    return [path.name for path in [*hidden, *(home.state / "renewals").glob("*")]]
