"""The gateway's doors as clients knock: addresses, heads, bodies, names of the machine, origins."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import brotli
import pytest

from kiro_auth.gateway.unpacking import zstd
from support.ports import free_port
from support.programs import KEY, Home, Services

SAY = [{"role": "user", "content": "Say hello."}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/messages": {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": SAY},
    "/v1/chat/completions": {"model": "claude-sonnet-4-5", "messages": SAY},
    "/v1/responses": {"model": "claude-sonnet-4-5", "input": "Say hello."},
}
apis = pytest.mark.parametrize("path", BODIES)
NOTE, PAGE = "app://notes.example", "https://page.example"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def failure(self, path: str) -> dict[str, Any]:
        """What it says, in the shape of the API of that path."""
        said = json.loads(self.body)
        assert self.headers["content-type"] == "application/json"
        assert ("type" in said) == path.startswith("/v1/messages")
        assert ("code" in said["error"]) == (not path.startswith("/v1/messages"))
        return said["error"]


class Door:
    """A running gateway at a port of its own."""

    def __init__(self, url: str) -> None:
        self.port = int(url.rpartition(":")[2])

    def ask(
        self, method: str, path: str, body: bytes = b"", host: str = "127.0.0.1", **headers: str
    ) -> Answer:
        given = {"x-api-key": KEY} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(host, self.port, timeout=60)
        connection.request(method, path, body, {name: value for name, value in given.items() if value})
        with connection.getresponse() as answer:
            found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def send(self, data: bytes) -> Answer:
        """The answer to these bytes; the gateway then closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as line:
            line.sendall(data)
            answer = http.client.HTTPResponse(line)
            answer.begin()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def send_slowly(self, *parts: bytes) -> Answer:
        """The answer to these parts of a request, which come one after the other."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as line:
            for part in parts:
                line.sendall(part)
                time.sleep(0.1)
            answer = http.client.HTTPResponse(line)
            answer.begin()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def head(self, path: str, *lines: str, method: str = "POST") -> bytes:
        usual = (f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"x-api-key: {KEY}")
        return ("\r\n".join([*usual, *lines]) + "\r\n\r\n").encode()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Iterator[Door]:
    home = Home(tmp_path_factory.mktemp("home"))
    services.begin(home, auto_approve=True)
    home.run("login", "--builder-id", "--no-browser")
    with home.gateway(KIRO_ALLOW_HOST="dock.internal", KIRO_ALLOW_ORIGIN=f"{NOTE} other://x") as url:
        yield Door(url)


# --------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "way", ["{}", "/v1{}", "{}/", "/{}", "/v1/{}/"], ids=["right", "twice", "end", "start", "all"]
)
@apis
def test_a_base_url_with_a_v1_or_a_slash_too_many_leads_there(door: Door, path: str, way: str) -> None:
    answer = door.ask("POST", way.format(path), json.dumps(BODIES[path]).encode())
    short = door.ask("POST", path.removeprefix("/v1"), json.dumps(BODIES[path]).encode())

    assert (answer.status, short.status) == (200, 200)
    assert json.loads(answer.body).keys() == json.loads(short.body).keys()


@pytest.mark.parametrize("path", ["/", "/api/hello", "/health"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_whoever_looks_whether_it_is_there_needs_no_key(door: Door, path: str, host: str) -> None:
    got = door.ask("GET", path, host=host, x_api_key="")
    head = door.ask("HEAD", path, host=host, x_api_key="")

    assert (got.status, json.loads(got.body)["status"]) == (200, "ok")
    assert (head.status, head.body) == (200, b"")
    assert door.ask("GET", path, host=host, x_api_key="wrong").status == 401


@apis
def test_a_websocket_probe_is_told_to_go_on_over_http(door: Door, path: str) -> None:
    probe = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}

    answer = door.ask("GET", path, **probe)
    assert (answer.status, answer.headers["upgrade"]) == (426, "HTTP/1.1")
    assert "HTTP alone" in answer.failure(path)["message"]
    assert door.ask("GET", path, **probe | {"x_api_key": ""}).status == 401
    assert door.ask("GET", path).status == 405


# ------------------------------------------------------------------------------------------- heads


@apis
def test_a_header_of_some_tens_of_kilobytes_is_taken_and_a_larger_one_named(door: Door, path: str) -> None:
    body = json.dumps(BODIES[path]).encode()
    assert door.ask("POST", path, body, x_turn_metadata="m" * 65_536).status == 200

    for head in (["x-trace: " + "t" * 66_000], ["x-trace: " + "t" * 3_000_000], ["x-y: z"] * 300):
        answer = door.send(door.head(path, *head))
        assert answer.status == 431
        assert "64 KiB" in answer.failure(path)["message"]


MALFORMED = {
    "no request line": b"hello\r\n\r\n",
    "another version": b"GET / HTTP/7.3\r\n\r\n",
    "a method that is none": b"G@T /v1/responses HTTP/1.1\r\n\r\n",
    "a line that is no header": b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nno colon\r\n\r\n",
    "a length that is none": b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: six\r\n\r\n",
    "two lengths": b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "another transfer": b"POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: x\r\n\r\n",
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "encryption": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 /v1/messages",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a chunk that is none": b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: "
    + KEY.encode()
    + b"\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_request_is_answered_in_the_shape_of_the_api(door: Door, sent: bytes) -> None:
    answer = door.send(sent)
    path = next((path for path in BODIES if path.encode() in sent[:60]), "/v1/messages")

    assert answer.status == 400
    assert answer.failure(path)["message"].startswith("The request's ")
    assert KEY.encode() not in answer.body


@apis
def test_an_expectation_that_cannot_be_met_is_answered_in_the_shape_of_the_api(door: Door, path: str) -> None:
    answer = door.send(door.head(path, "Expect: a-miracle", "Connection: close"))

    assert answer.status == 417
    assert "Expectation" in answer.failure(path)["message"]


@pytest.mark.parametrize("chunks", [(b"5\r\nhello\r\n", b"zz\r\n"), (b"5\r\nhello!!\r\n",)], ids=repr)
@apis
def test_a_body_that_becomes_malformed_on_its_way_is_answered_at_once(
    door: Door, path: str, chunks: tuple[bytes, ...]
) -> None:
    answer = door.send_slowly(door.head(path, "Transfer-Encoding: chunked"), *chunks)
    keyless = door.send_slowly(
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode(), *chunks
    )

    assert answer.status == 400
    told = "The request's body cannot be read: it is malformed (KA-REQUEST)."
    assert answer.failure(path)["message"] == told
    assert keyless.status == 401


@apis
def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(door: Door, path: str) -> None:
    answer = door.send(door.head(path, "Content-Length: 99999999999"))

    assert answer.status == 413


def test_what_is_no_request_leaves_no_traceback_and_no_word_of_it_in_the_log(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.environment |= {"KIRO_GATEWAY_KEY": KEY}
    port = free_port()
    with home.started("serve", "--quiet", "--port", str(port)):
        log = home.state / "gateway.log"
        while not answers(port):
            time.sleep(0.05)
        door, chunked = Door(f"http://127.0.0.1:{port}"), "Transfer-Encoding: chunked"
        for sent in MALFORMED.values():
            door.send(sent)
        door.send(door.head("/v1/messages", "x-secret: " + "very-secret" * 9000))
        for head in (
            door.head("/v1/messages", chunked),
            f"POST / HTTP/1.1\r\n{chunked}\r\nHost: ::1\r\n\r\n".encode(),
        ):
            door.send_slowly(head, b"1\r\n{\r\n", b"very-secret\r\n")

    written = log.read_text()
    assert "could not be read" in written
    for word in ("Traceback", "very-secret", KEY, "no colon"):
        assert word not in written


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


# ------------------------------------------------------------------------------------------ bodies


@pytest.mark.parametrize(
    ("encoding", "pack"), [("zstd", zstd.compress), ("br", brotli.compress), ("gzip", gzip.compress)]
)
@apis
def test_a_packed_body_is_answered_like_any_other(door: Door, path: str, encoding: str, pack: Any) -> None:
    body = pack(json.dumps(BODIES[path]).encode())

    assert door.ask("POST", path, body, content_encoding=encoding).status == 200
    assert door.ask("POST", path.removeprefix("/v1"), body, content_encoding=encoding.upper()).status == 200


@apis
def test_nothing_is_unpacked_for_one_without_the_key(door: Door, path: str) -> None:
    for encoding, body in (("zstd", b"no zstd"), ("nonsense", b"{}")):
        assert door.ask("POST", path, body, content_encoding=encoding, x_api_key="").status == 401


@apis
def test_a_body_that_cannot_be_unpacked_says_why(door: Door, path: str) -> None:
    unknown = door.ask("POST", path, b"{}", content_encoding="lzma")
    damaged = door.ask("POST", path, b"{}", content_encoding="zstd")

    assert (unknown.status, damaged.status) == (415, 400)
    assert "zstd" in unknown.failure(path)["message"]
    assert "not packed as zstd" in damaged.failure(path)["message"]


# --------------------------------------------------------------------------- machines and origins


@apis
def test_a_name_that_containers_know_the_machine_by_is_let_in_if_it_was_given(door: Door, path: str) -> None:
    body = json.dumps(BODIES[path]).encode()

    assert door.ask("POST", path, body, Host="Dock.Internal:4000").status == 200
    refused = door.ask("POST", path, body, Host="host.docker.internal:4000")
    assert refused.status == 403
    assert "--allow-host host.docker.internal" in refused.failure(path)["message"]
    assert door.ask("POST", path, body, Host="dock.internal", x_api_key="").status == 401


@apis
def test_an_origin_that_was_given_is_let_in_and_may_read_the_answer(door: Door, path: str) -> None:
    asks = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "x-api-key,x-other"}
    preflight = door.ask("OPTIONS", path, Origin=NOTE, x_api_key="", **asks)
    answer = door.ask("POST", path, json.dumps(BODIES[path]).encode(), Origin=NOTE)
    streamed = door.ask("POST", path, json.dumps(BODIES[path] | {"stream": True}).encode(), Origin=NOTE)
    keyless = door.ask("POST", path, b"{}", Origin=NOTE, x_api_key="")

    assert (preflight.status, preflight.body) == (204, b"")
    assert preflight.headers["access-control-allow-headers"] == "x-api-key,x-other"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert (answer.status, streamed.status, keyless.status) == (200, 200, 401)
    for got in (preflight, answer, streamed, keyless):
        assert got.headers["access-control-allow-origin"] == NOTE
        assert got.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", [PAGE, "null", NOTE.upper(), f"{NOTE}.evil", f"{NOTE}:80", "other://xy"])
def test_every_other_origin_is_refused_and_told_the_option(door: Door, origin: str) -> None:
    asks = {"Access_Control_Request_Method": "POST"}
    for method, more in (("OPTIONS", asks), ("POST", {})):
        refused = door.ask(method, "/v1/messages", b"{}", Origin=origin, **more)
        assert refused.status == 403
        assert "access-control-allow-origin" not in refused.headers
        says = refused.failure("/v1/messages")["message"]
        assert (f"--allow-origin {origin}" in says) == (origin != "null")


def test_an_answer_to_no_browser_says_nothing_of_origins(door: Door) -> None:
    answer = door.ask("GET", "/v1/models")
    assert not [name for name in answer.headers if name.startswith(("access-control", "vary"))]


@pytest.mark.parametrize("host", [None, "localhost"])
def test_localhost_leads_to_the_gateway_by_either_address(tmp_path: Path, host: str | None) -> None:
    home = Home(tmp_path)
    arguments = ["--host", host] if host else []
    with home.started("serve", *arguments) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split()[2].rstrip(";").rpartition(":")[2])
        for address in ("127.0.0.1", "::1"):
            line = http.client.HTTPConnection(address, port, timeout=60)
            line.request("GET", "/health")
            assert line.getresponse().status == 200
            line.close()
        assert json.loads((home.state / "gateway.json").read_text())["host"] == "127.0.0.1"
        assert home.run("status").returncode == 0


def test_names_and_origins_are_also_given_on_the_command_line(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.environment |= {"KIRO_GATEWAY_KEY": KEY}
    given = ("--allow-host", "box", "--allow-host", "crate", "--allow-origin", "tauri://localhost")
    with home.started("serve", "--port", "0", *given) as process:
        assert process.stdout is not None
        door = Door(process.stdout.readline().split()[2].rstrip(";"))
        for host in ("box:1", "crate"):
            assert door.ask("GET", "/v1/models", Host=host).status == 200
        assert door.ask("GET", "/v1/models", Origin="tauri://localhost").status == 200
        assert door.ask("GET", "/v1/models", Origin="tauri://other").status == 403
    for wrong in (("--allow-host", "box:80"), ("--allow-origin", "*"), ("--allow-origin", "a://b/c")):
        refused = home.process("serve", "--port", "0", *wrong, check=False)
        assert refused.returncode == 1
        assert wrong[0] in refused.stderr
