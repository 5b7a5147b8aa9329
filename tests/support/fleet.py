"""Several gateways on one database behind a balancer, all of them real: a team's installation on one machine.

Each replica is `kiro-auth serve` with a home, a state folder and a port of its own.  nginx passes requests on
with what it has without payment: a replica that refuses connections is left out for a second.  Who wants more
has it told which ones are ready (`Balancer.follow`), as balancers do that ask for /ready themselves.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from support.ports import free_port
from support.postgres import KEY as STORE_KEY
from support.postgres import Cluster
from support.programs import KEY, KIRO_AUTH, Home, Simulator, as_usual

REPLICAS: Final = 3
_SECONDS: Final = 60.0
"""The longest wait for anything that is to come by itself, on a machine that has much else to do."""
_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
http {{
  access_log off; client_max_body_size 64m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream replicas {{ {servers} }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://replicas; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host 127.0.0.1;
      proxy_buffering off; proxy_read_timeout 1h;
      # A request that was sent to a replica is never sent to another: it may have cost credits.
      proxy_next_upstream error timeout; proxy_next_upstream_tries {tries};
    }}
  }}
}}
"""


def until(is_so: Callable[[], Any], what: str, seconds: float = _SECONDS) -> Any:
    """Wait for it; what it gave."""
    end = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} seconds"
        time.sleep(0.05)
    return found


class Replica:
    """One gateway; `command` is what runs it, if it is not this release."""

    def __init__(self, home: Home, port: int) -> None:
        self.home = home
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.command: list[str] = KIRO_AUTH
        self._process: subprocess.Popen[str] | None = None

    @property
    def errors(self) -> str:
        """What it printed there, in all its lives."""
        return (self.home.folder / "stderr").read_text()

    def begin(self) -> None:
        """Start the process; `until_ready` waits for it."""
        with (self.home.folder / "stderr").open("a") as errors:
            self._process = subprocess.Popen(
                as_usual(*self.command, "serve", "--port", str(self.port)),
                env=self.home.environment,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                text=True,
            )

    def until_ready(self) -> None:
        until(self.is_ready, f"a replica is ready; it said: {self.errors[-500:]}")

    def is_ready(self) -> bool:
        """What a balancer asks: it has its place and its database, and does not end."""
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """As the system does it: without a word before."""
        self._signal(signal.SIGKILL)

    def drain(self) -> None:
        """As an operator does it in a rolling upgrade: SIGTERM, and wait until it has ended by itself."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(_SECONDS)

    def end(self) -> None:
        """However it is, it is gone afterwards."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait(40)


class Fleet:
    """The replicas, what they share, and where clients ask: `url`, the balancer's.

    `home` is the operator's: commands run there.
    """

    def __init__(
        self,
        home: Home,
        server: Cluster,
        simulator: Simulator,
        replicas: list[Replica],
        balancer: Balancer,
    ) -> None:
        self.home = home
        self.server = server
        self.simulator = simulator
        self.replicas = replicas
        self.balancer = balancer
        self.url = balancer.url

    def create_key(self, name: str, *options: str) -> str:
        """The secret of a new client key."""
        return str(self.home.json("keys", "create", name, *options)["key"])

    def rows(self, statement: Any) -> list[tuple[Any, ...]]:
        """What the database says, asked by a hand of its own."""
        with psycopg.connect(self.home.environment["KIRO_STORE"], autocommit=True) as connection:
            return connection.execute(statement).fetchall()

    def until_rows_of(self, request_ids: set[str]) -> None:
        """Wait until the ledger has the rows of these turns: what lies in a spool is soon sent."""
        statement = "SELECT request_id FROM kiro_auth.ledger"
        until(
            lambda: request_ids <= {row[0] for row in self.rows(statement)},
            f"the ledger has {len(request_ids)} rows",
        )


@contextlib.contextmanager
def fleet(
    folder: Path,
    server: Cluster,
    *,
    accounts: int = 4,
    settings: Mapping[str, Any] | None = None,
    database: str = "",
    **environment: str,
) -> Iterator[Fleet]:
    """Replicas with so many accounts, for as long as the block lasts; `settings` are the simulator's.

    `database` is the address of an empty one; else there is a new one.
    """
    home = Home(folder / "operator")
    home.environment |= {
        "KIRO_GATEWAY_KEY": KEY,
        "KIRO_STORE": database or server.new_database(f"fleet{os.urandom(6).hex()}"),
        "KIRO_STORE_KEY": base64.b64encode(STORE_KEY).decode(),
        "KIRO_GRACE_SECONDS": "60",
        "KIRO_SHARE_ACCOUNTS": "true",  # so that any key may use up any account's places
        **environment,
    }
    with contextlib.ExitStack() as running:
        simulator = running.enter_context(home.simulator("--auto-approve"))
        simulator.ask("settings", {"deviceInterval": 0.1, **(settings or {})})
        home.run("store", "migrate")
        for other in ("ada@example.com", "grace@example.com"):  # so that each sign-in is a new member's
            simulator.ask("user", {"email": other, "startUrl": None})
        for number in range(accounts):
            simulator.ask("user", {"email": f"member{number}@example.com", "limit": 100_000})
            home.run("login", "--builder-id", "--no-browser")
        replicas = [
            Replica(_home_of_a_replica(home, folder / f"replica{number}"), free_port())
            for number in range(REPLICAS)
        ]
        for replica in replicas:
            running.callback(replica.end)
            replica.begin()
        for replica in replicas:
            replica.until_ready()
        with balancer(folder / "nginx", replicas) as running_balancer:
            yield Fleet(home, server, simulator, replicas, running_balancer)


def _home_of_a_replica(operator: Home, folder: Path) -> Home:
    """The home of another machine, with the same options, the same database and the same services."""
    folder.mkdir(parents=True)
    home = Home(folder)
    given = operator.environment
    home.environment |= {name: value for name, value in given.items() if name.startswith("KIRO_")}
    return home


class Balancer:
    """An nginx over the replicas, where clients ask."""

    def __init__(self, nginx: str, folder: Path, replicas: list[Replica]) -> None:
        folder.mkdir()
        self._folder = folder
        self._replicas = replicas
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._left_out: set[int] = set()
        self._write()
        self.process = subprocess.Popen([nginx, "-p", str(folder), "-e", "stderr", "-c", str(self._file)])

    @property
    def _file(self) -> Path:
        return self._folder / "nginx.conf"

    def _write(self) -> None:
        servers = " ".join(
            f"server 127.0.0.1:{replica.port} max_fails=1 fail_timeout=1s"
            f"{' down' if replica.port in self._left_out else ''};"
            for replica in self._replicas
        )
        values = {"folder": self._folder, "port": self._port, "servers": servers}
        self._file.write_text(_NGINX.format(**values, tries=len(self._replicas)))

    def follow(self, over: threading.Event) -> None:
        """Ask each replica several times a second whether it is ready, and send requests to those alone."""
        while not over.wait(0.2):
            left_out = {replica.port for replica in self._replicas if not replica.is_ready()}
            if left_out != self._left_out and len(left_out) < len(self._replicas):
                self._left_out = left_out
                self._write()
                self.process.send_signal(signal.SIGHUP)  # answers under way go on in the worker of before


@contextlib.contextmanager
def balancer(folder: Path, replicas: list[Replica]) -> Iterator[Balancer]:
    """The replicas behind nginx, for as long as the block lasts."""
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if nginx is None:
        assert "CI" not in os.environ, "nginx is missing: apt-get install nginx-light"
        pytest.skip("needs nginx")
    made = Balancer(nginx, folder, replicas)
    try:
        until(lambda: _answers(f"{made.url}/health"), "the balancer answers")
        yield made
    finally:
        made.process.terminate()
        made.process.wait(30)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def note(capsys: pytest.CaptureFixture[str], title: str, figures: Mapping[str, Any]) -> None:
    """Print the figures of a run; with KIRO_WRITE_FIGURES, the name of a file, they are added to it."""
    line = json.dumps({title: figures})
    with capsys.disabled():
        sys.stdout.write(f"\n{line}\n")
    if path := os.environ.get("KIRO_WRITE_FIGURES"):
        with Path(path).open("a") as file:
            file.write(f"{line}\n")
