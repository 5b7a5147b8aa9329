"""The programs that are measured, started and ended, and what they have used."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import trustme
from msgspec import Struct

from bench.load import KEY

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
_WAIT: Final = 60.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


class Program(Struct, frozen=True):
    """One that listens, and how it is measured: with the processes that it has started."""

    port: int
    process: subprocess.Popen[str]

    def cpu(self) -> float:
        """Seconds its threads have run, to the nanosecond: the clock of `stat` ticks too slowly."""
        threads = (thread for pid in self._pids() for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def memory(self) -> float:
        """Resident bytes."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE for pid in self._pids())

    def _pids(self) -> list[int]:
        own = self.process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]


class Place(Struct, frozen=True):
    """The service's port, its authority's certificate, and a folder for what is started beside it."""

    port: int
    authority: Path
    folder: Path


@contextlib.contextmanager
def service(folder: Path) -> Iterator[Place]:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    pem = folder / "service.pem"
    authority.issue_cert(
        "127.0.0.1", "localhost", key_type=trustme.KeyType.ECDSA
    ).private_key_and_cert_chain_pem.write_to_path(pem)
    trusted = folder / "authorities.pem"
    # With all that people have: reading them is a part of the start.
    known = _SYSTEM_AUTHORITIES.read_bytes() if _SYSTEM_AUTHORITIES.exists() else b""
    trusted.write_bytes(known + authority.cert_pem.bytes())
    with _process([sys.executable, "-m", "bench.service", str(pem)]) as process:
        yield Place(_announced_port(process), trusted, folder)


@contextlib.contextmanager
def pass_through(place: Place) -> Iterator[Program]:
    argv = [sys.executable, "-m", "bench.relay", str(place.port), str(place.authority)]
    with _process(argv) as process:
        yield Program(_announced_port(process), process)


@contextlib.contextmanager
def nginx(place: Place) -> Iterator[Program]:
    assert NGINX is not None
    port, folder = free_port(), place.folder / "nginx"
    folder.mkdir(exist_ok=True)
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, port=port, service=place.port, authority=place.authority))
    argv = [NGINX, "-p", str(folder), "-e", "stderr", "-c", str(file)]
    with _process(argv) as process:
        _until_it_listens(port)
        yield Program(port, process)


_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_max_body_size 64m; tcp_nodelay on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream service {{ server 127.0.0.1:{service}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048; keepalive_requests 1000000;
    location / {{
      proxy_pass https://service; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_ssl_trusted_certificate {authority}; proxy_ssl_verify on; proxy_ssl_name localhost;
      proxy_ssl_verify_depth 3; proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 1h;
    }}
  }}
}}
"""


@contextlib.contextmanager
def gateway(
    place: Place, *, accounts: int = 1, ledger: bool = True, store: Mapping[str, str] | None = None
) -> Iterator[Program]:
    with started_gateway(place, accounts=accounts, ledger=ledger, store=store) as program:
        until_health(program.port)
        yield program


@contextlib.contextmanager
def started_gateway(
    place: Place, *, accounts: int = 1, ledger: bool = True, store: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """A gateway that has only just been started; `store` are the variables of a database that is empty."""
    home = place.folder / f"home-{accounts}{'' if ledger else '-without-ledger'}{'-shared' if store else ''}"
    is_new = not home.exists()
    if is_new:
        _write_accounts(home / "config" / "opencode", accounts)
    port, url = free_port(), f"https://127.0.0.1:{place.port}"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "SSL_CERT_FILE": str(place.authority),
        "KIRO_GATEWAY_KEY": KEY,
        "KIRO_USAGE_TRACKING_ENABLED": "false",
        "KIRO_MAX_CONCURRENT_PER_ACCOUNT": "100",
        "KIRO_LEDGER": "true" if ledger else "false",
        "KIRO_ENDPOINT_RUNTIME": url,
        "KIRO_ENDPOINT_MANAGEMENT": url,
        **(store or {}),
    }
    command = [sys.executable, "-m", "kiro_auth"]
    if store and is_new:
        for words in (["store", "migrate"], ["store", "copy", "--from", "files"]):
            subprocess.run([*command, *words], env=environment, stdout=subprocess.DEVNULL, check=True)
    with _process([*command, "serve", "--port", str(port), "--quiet"], environment) as process:
        yield Program(port, process)


def state_folder(place: Place) -> Path:
    """Where the gateway with one account says where it listens."""
    return place.folder / "home-1" / "state" / "kiro-auth"


def _write_accounts(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    accounts = [
        {
            "id": f"{number:032x}",
            "authMethod": "idc",
            "region": "us-east-1",
            "clientId": "bench",
            "clientSecret": "bench",
            "refreshToken": f"bench-{number}",
            "accessToken": "bench",
            "expiresAt": 4102444800000,
            "profileArn": f"arn:aws:codewhisperer:us-east-1:123456789012:profile/P{number}",
        }
        for number in range(count)
    ]
    (folder / "kiro-accounts.json").write_text(json.dumps({"version": 1, "accounts": accounts}))


@contextlib.contextmanager
def _process(argv: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout:
            process.stdout.close()


def _announced_port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def _until_it_listens(port: int) -> None:
    end = time.monotonic() + _WAIT
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
            return
        time.sleep(0.002)
    raise SystemExit("a program that is to be measured did not start")


def until_health(port: int) -> None:
    """Wait for the first answer of a gateway."""
    end = time.monotonic() + _WAIT
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return
        time.sleep(0.002)
    raise SystemExit("the gateway did not start")


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
