"""Connections to real sockets: kept, ended by the other side, encrypted, through proxies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from kiro_auth.kiro.edge.answer import Answer, LineFailed
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust

pytestmark = pytest.mark.outside

Handler = Callable[["Server", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOOPS = {"asyncio": asyncio.new_event_loop}
if sys.platform != "win32":
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class Server:
    """Raw bytes over sockets.  `asked` are the requests, `lines` the connections, `reused` those of TLS."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.asked: list[bytes] = []
        self.lines = 0
        self.reused: list[bool] = []
        self.port = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines += 1
        if secured := writer.get_extra_info("ssl_object"):
            self.reused.append(secured.session_reused)
        try:
            await self.handler(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        self.asked.append(head + await reader.readexactly(length))
        return self.asked[-1]


@asynccontextmanager
async def served(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    made = Server(handler)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await asyncio.sleep(0)


async def answers(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await server.request(reader)
        writer.write(OK)


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return made


def certificate(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """The test with fresh `lines`, on each loop that the gateway runs on: each has a TLS of its own."""

    async def scene(**given: Any) -> None:
        async with asyncio.timeout(20), Lines(Trust()) as lines:
            await test(lines=lines, **given)

    def run(loop: str, **given: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(scene(**given))

    wanted = [p for name, p in inspect.signature(test).parameters.items() if name != "lines"]
    loop = inspect.Parameter("loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = inspect.Signature([loop, *wanted])  # type: ignore[attr-defined]
    run.__name__ = test.__name__
    return pytest.mark.parametrize("loop", LOOPS)(run)


async def ask(
    lines: Lines, url: str, proxy: str | None = None, silence: float = 5, body: bytes = b"{}"
) -> bytes:
    answer: Answer = await lines.ask(url, {"X-A": "1"}, body, silence=silence, proxy=proxy)
    try:
        return b"".join([part async for part in parts(answer)])
    finally:
        answer.close()


async def parts(answer: Answer) -> AsyncIterator[bytes]:
    while data := await answer.read():
        yield data


async def fault(asking: Awaitable[bytes]) -> str:
    with pytest.raises(LineFailed) as raised:
        await asking
    return raised.value.fault


# ------------------------------------------------------------------------------------------ kept lines


@on_both_loops
async def test_a_line_that_the_host_ended_meanwhile_is_not_written_to(lines: Lines) -> None:
    async def once(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(OK)

    async with served(once) as server:
        for _ in range(5):  # at once, before the loop can have seen the end
            assert await ask(lines, f"http://127.0.0.1:{server.port}/") == b"ok"
    assert (server.lines, len(server.asked)) == (5, 5)


@on_both_loops
async def test_a_request_that_reached_a_host_is_never_sent_twice(lines: Lines) -> None:
    async def drops_the_second(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.request(reader)
        writer.write(OK)
        await server.request(reader)

    async with served(drops_the_second) as server:
        url = f"http://127.0.0.1:{server.port}/"
        assert await ask(lines, url) == b"ok"
        assert await fault(ask(lines, url)) == "broken"
    assert len(server.asked) == 2


@on_both_loops
async def test_requests_at_once_have_a_line_each_which_are_kept(lines: Lines) -> None:
    async with served(answers) as server:
        url = f"http://127.0.0.1:{server.port}/"
        for _ in range(2):
            await asyncio.gather(*(ask(lines, url) for _ in range(4)))
    assert (server.lines, len(server.asked)) == (4, 8)


@on_both_loops
async def test_an_answer_before_the_body_was_taken_is_an_answer(lines: Lines) -> None:
    async def refuses(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.sleep(0.3)

    async with served(refuses) as server:
        assert await ask(lines, f"http://127.0.0.1:{server.port}/", body=b"x" * 20_000_000) == b"no"
        assert await ask(lines, f"http://127.0.0.1:{server.port}/") == b"no"
    assert server.lines == 2


@on_both_loops
async def test_who_is_not_read_is_held_back(lines: Lines) -> None:
    sent = 0

    async def endless(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await server.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with served(endless) as server:
        answer = await lines.ask(f"http://127.0.0.1:{server.port}/", {}, b"", silence=5, proxy=None)
        before = -1
        while sent != before:
            before = sent
            assert sent < 16_000_000  # what sockets hold
            await asyncio.sleep(0.3)
        answer.close()


@on_both_loops
async def test_a_header_cannot_hold_the_end_of_a_line(lines: Lines) -> None:
    async with served(answers) as server:
        for bad in ("a\r\nX-Injected: 1", "a\nb", "a\rb", "a\0b"):
            with pytest.raises(ValueError, match="end of a line"):
                await lines.ask(f"http://127.0.0.1:{server.port}/", {"X": bad}, b"", silence=5, proxy=None)
    assert server.asked == []


@pytest.mark.parametrize("url", ["https://", "ftp://host/", "https://host:port/", "nonsense"])
@on_both_loops
async def test_what_is_no_url_is_told_as_such(lines: Lines, url: str) -> None:
    assert await fault(ask(lines, url)) == "address"


# ------------------------------------------------------------------------------------------------ TLS


@on_both_loops
async def test_an_encrypted_line_is_kept_and_the_next_goes_on_with_its_session(
    lines: Lines, authority: trustme.CA
) -> None:
    async with served(answers, certificate(authority, "localhost", "127.0.0.1")) as server:
        url = f"https://localhost:{server.port}/"
        assert await ask(lines, url) == b"ok"
        assert await ask(lines, url) == b"ok"
        await asyncio.gather(ask(lines, url), ask(lines, url))
    assert server.reused == [False, True]


@on_both_loops
async def test_a_session_is_kept_for_the_host_whose_certificate_was_checked(
    lines: Lines, authority: trustme.CA
) -> None:
    async with served(answers, certificate(authority, "localhost")) as proxy:
        assert await ask(lines, "http://service.example/", f"https://localhost:{proxy.port}") == b"ok"
        assert await ask(lines, f"https://localhost:{proxy.port}/") == b"ok"
    assert proxy.reused == [False, True]


@pytest.mark.parametrize("known", [True, False], ids=["for another host", "of nobody"])
@on_both_loops
async def test_a_certificate_that_is_not_the_host_s_is_refused(
    lines: Lines, authority: trustme.CA, known: bool
) -> None:
    issuer = authority if known else trustme.CA()
    async with served(answers, certificate(issuer, "other.example" if known else "localhost")) as server:
        assert await fault(ask(lines, f"https://localhost:{server.port}/")) == "certificate"
    assert server.asked == []


@on_both_loops
async def test_a_host_without_tls_is_told_as_such(lines: Lines) -> None:
    async def plain(_: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad\r\n\r\n")

    async with served(plain) as server:
        assert await fault(ask(lines, f"https://localhost:{server.port}/")) == "tls"


@on_both_loops
async def test_a_host_that_never_shakes_hands_is_given_up(lines: Lines) -> None:
    async def mute(_: Server, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await reader.read()

    async with served(mute) as server:
        assert await fault(ask(lines, f"https://localhost:{server.port}/", silence=0.2)) == "slow"


def ends_as_it_begins(tls: ssl.SSLContext) -> Handler:
    """A host whose words and end stand in the packet that completes the handshake."""

    async def handle(_: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        secured = tls.wrap_bio(came, goes, server_side=True)
        while True:
            try:
                secured.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(goes.read())
                came.write(await reader.read(65536))
        secured.write(b"HTTP/1.1 408 Too Late\r\nContent-Length: 2\r\n\r\nno")
        with contextlib.suppress(ssl.SSLError):
            secured.unwrap()
        writer.write(goes.read())

    return handle


@pytest.mark.parametrize("tunnelled", [False, True], ids=["direct", "through a proxy"])
@on_both_loops
async def test_a_host_that_ends_the_line_as_it_begins_is_told_at_once_and_nothing_is_logged(
    lines: Lines, authority: trustme.CA, caplog: pytest.LogCaptureFixture, tunnelled: bool
) -> None:
    tls = certificate(authority, "localhost")
    tls.maximum_version = ssl.TLSVersion.TLSv1_2  # where the host has the last word
    async with served(ends_as_it_begins(tls)) as server, served(tunnels(server.port)) as proxy:
        url, way = f"https://localhost:{server.port}/", f"http://127.0.0.1:{proxy.port}"
        try:
            told = (await ask(lines, url, way if tunnelled else None)).decode()
        except LineFailed as error:
            told = error.fault
    assert told in ("refused", "broken", "no")
    assert caplog.records == []


# -------------------------------------------------------------------------------------------- proxies


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def tunnels(to: int, words: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> Handler:
    async def handle(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(words)
        if b" 200 " not in words:
            return
        further, there = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(relay(reader, there), relay(further, writer))

    return handle


@pytest.mark.parametrize("secured", [False, True], ids=["http proxy", "https proxy"])
@on_both_loops
async def test_what_is_encrypted_passes_through_a_proxy_that_sees_the_host_alone(
    lines: Lines, authority: trustme.CA, secured: bool
) -> None:
    tls = certificate(authority, "localhost", "service.example")
    async with (
        served(answers, tls) as server,
        served(tunnels(server.port), tls if secured else None) as proxy,
    ):
        way = f"{'https' if secured else 'http'}://user:p%40ss@localhost:{proxy.port}"
        for _ in range(2):
            assert await ask(lines, "https://service.example/chat", way) == b"ok"
    [head] = proxy.asked
    assert head.startswith(b"CONNECT service.example:443 HTTP/1.1\r\nHost: service.example:443\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"user:p@ss") in head
    assert b"X-A" not in head
    assert len(server.asked) == 2
    assert b"Proxy-Authorization" not in server.asked[0]
    assert server.asked[0].startswith(b"POST /chat HTTP/1.1\r\nHost: service.example\r\n")


@on_both_loops
async def test_the_environment_s_proxy_is_taken_where_an_account_has_none(
    lines: Lines, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        served(answers, certificate(authority, "service.example")) as server,
        served(tunnels(server.port)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert await ask(lines, "https://service.example/") == b"ok"
        monkeypatch.setenv("NO_PROXY", "other.example")
        assert await fault(ask(lines, "https://other.example/")) == "name"
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("words", [b"HTTP/1.1 407 Who?\r\n\r\n", b"", b"SSH-2.0\r\n\r\n"])
@on_both_loops
async def test_a_proxy_that_refuses_is_told_as_such(
    lines: Lines, authority: trustme.CA, words: bytes
) -> None:
    async with served(tunnels(1, words)) as proxy:
        assert (
            await fault(ask(lines, "https://service.example/", f"http://127.0.0.1:{proxy.port}"))
            == "proxy refuses"
        )


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "proxy",
    ["http://127.0.0.1:9", "http://proxy.invalid:3128", "https://127.0.0.1:9", "socks5://127.0.0.1:9"],
)
@on_both_loops
async def test_a_proxy_that_is_not_there_is_told_as_such(
    lines: Lines, authority: trustme.CA, scheme: str, proxy: str
) -> None:
    assert await fault(ask(lines, f"{scheme}://service.example/", proxy)) == "proxy gone"
