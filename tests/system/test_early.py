"""The moment in which a gateway listens and its rest is still imported: nothing is refused or lost in it.

It is the real program; the import alone is held back, as on a slow disk, until the test lets it go.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.programs import KEY, Home, Simulator
from support.virtual import body_for
from system.test_client_keys import Connection, created
from system.test_drain import asked, ready
from system.test_reload import log_of, until, write
from system.test_tls import AUTHORITY, Outside, write_certificate
from system.test_unix_socket import Connection as UnixConnection

__all__ = ["ready"]

pytestmark = pytest.mark.timeout(120)

HELD = """
import sys, time
from pathlib import Path
from kiro_auth.cli import serve
go, begin = Path(sys.argv.pop(1)), serve._rest
def held(*arguments):
    while not go.exists():
        time.sleep(0.01)
    exec(go.read_text())
    return begin(*arguments)
serve._rest = held
from kiro_auth.cli.main import main
main()
"""


class Early:
    """A gateway that listens, and is not complete before `let_go`, which runs the given code before that."""

    def __init__(self, process: subprocess.Popen[str], go: Path) -> None:
        self._go = go
        self.process = process
        self.outside = Outside(process, AUTHORITY)
        found = re.search(r"http://[^ ;,]*", self.outside.said)
        assert found, self.outside.said
        self.url = found[0]

    def let_go(self, code: str = "") -> None:
        whole = self._go.with_suffix(".new")
        whole.write_text(code)
        whole.replace(self._go)

    def says(self, path: str) -> tuple[int, str]:
        with contextlib.closing(Connection(self.url, None)) as connection:
            status, said = connection.ask("GET", path)
            return status, said["status"]

    @contextlib.contextmanager
    def asking(self) -> Iterator[Future[int]]:
        """The status of a turn that it has been asked for: its bytes are there."""
        line = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        body = json.dumps(body_for("/v1/messages", "Hi"))
        with contextlib.closing(line), ThreadPoolExecutor(1) as pool:
            line.request("POST", "/v1/messages", body, {"x-api-key": KEY})
            # What came later is answered, so that was taken before.
            assert self.says("/ready") == (503, "starting")
            yield pool.submit(lambda: line.getresponse().status)

    def turn(self, key: str = KEY, **more: str) -> int:
        with contextlib.closing(Connection(self.url, key)) as connection:
            return int(connection.turn(**more)[0])


@contextlib.contextmanager
def early(home: Home, *options: str) -> Iterator[Early]:
    """One that has no terminal, is told to other programs, and listens at all the doors that there are."""
    go = home.folder / "go"
    home.environment["KIRO_GATEWAY_KEY"] = KEY
    cert, key = write_certificate(home.folder)
    doors = ["--port", "0", "--tls-cert", cert, "--tls-key", key, "--unix", str(home.folder / "kiro.sock")]
    with subprocess.Popen(
        [sys.executable, "-P", "-c", HELD, str(go), "serve", *doors, *options],
        env=home.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield Early(process, go)
        finally:
            process.kill()


def test_at_every_door_whoever_has_a_key_waits_and_is_answered(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    ann, gone = created(home, "ann"), created(home, "gone")
    home.run("keys", "revoke", "gone")
    with early(home) as gateway, contextlib.ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        unix, tls = (
            stack.enter_context(contextlib.closing(connection))
            for connection in (UnixConnection(home.folder / "kiro.sock"), gateway.outside.connection())
        )
        waiting = [pool.submit(gateway.turn, key) for key in (KEY, ann)]
        waiting += [pool.submit(lambda door: asked(door).status, door) for door in (unix, tls)]

        assert gateway.says("/health") == (200, "ok")
        assert gateway.says("/ready") == (503, "starting")
        assert [gateway.turn(key) for key in (gone, "kak_wrong", "wrong")] == [401] * 3
        assert home.run("status").returncode == 0
        time.sleep(0.3)
        assert not any(answer.done() for answer in waiting)

        gateway.let_go()
        assert [answer.result(60) for answer in waiting] == [200] * 4
        assert gateway.says("/ready") == (200, "ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_cuts_no_answer(
    ready: tuple[Home, Simulator], number: signal.Signals
) -> None:
    home, _ = ready
    with early(home, "--drain", "1") as gateway, gateway.asking() as waiting:
        gateway.process.send_signal(number)
        until(lambda: gateway.says("/ready") == (503, "draining"))

        gateway.let_go()
        assert waiting.result(60) == 200
        assert gateway.process.wait(40) == 0
        assert not (home.folder / "kiro.sock").exists()
    assert home.run("status", check=False).returncode == 1


def test_a_reload_that_is_asked_for_comes_as_soon_as_it_is_complete(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    with early(home) as gateway:
        write(home, model_aliases={"mine": "claude-haiku-4-5"}, allow_host=["box"])
        gateway.process.send_signal(signal.SIGHUP)
        with ThreadPoolExecutor(1) as pool:
            told = pool.submit(home.run, "reload")
            time.sleep(0.3)
            gateway.let_go()
            assert told.result(30).returncode == 0
        until(lambda: "the options were reloaded" in log_of(home))
        assert gateway.turn(model="mine") == 200
        with contextlib.closing(Connection(gateway.url, KEY)) as named:
            assert named.ask("GET", "/health", host="box")[0] == 200


@pytest.mark.parametrize(
    ("store", "words"), [("mysql://127.0.0.1/kiro", "Correct store"), ("sqlite", "other options")]
)
def test_what_becomes_of_kiro_json_meanwhile_is_for_the_next_start(
    ready: tuple[Home, Simulator], store: str, words: str
) -> None:
    home, _ = ready
    with early(home, "--drain", "1") as gateway:
        write(home, store=store)
        gateway.let_go()
        assert gateway.turn() == 200, "the account is in the files, which it began with"
        assert gateway.process.poll() is None
        assert words in home.run("status", check=False).stderr


def test_a_rest_that_cannot_be_opened_ends_it_with_its_words_and_frees_its_place(
    ready: tuple[Home, Simulator],
) -> None:
    home, _ = ready
    words = "The disk is on fire"
    code = "from kiro_auth.failures import Failure, StoreFailed\n"
    code += f"raise StoreFailed(Failure(code='KA-STORE', message={words!r}))"
    with early(home) as gateway, gateway.asking() as waiting:
        gateway.let_go(code)
        assert waiting.result(60) == 424
        assert gateway.process.wait(40) == 1
        assert gateway.process.stderr is not None
        assert words in gateway.process.stderr.read()
        assert not (home.folder / "kiro.sock").exists()
    assert home.run("status", check=False).returncode == 1
