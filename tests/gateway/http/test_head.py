"""Heads of requests, and bodies: however they are cut, and whatever they are."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.gateway.http.head import Head, HeadReader, Unreadable
from kiro_auth.gateway.http.incoming import Incoming, TooLarge
from kiro_auth.gateway.http.limits import MAX_HEAD, MAX_HEADER, MAX_HEADERS

HEADS = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: [::1]:80\r\nX-Api-Key: k\r\nContent-Length: 12\r\n\r\n",
    b"POST /a%20b HTTP/1.0\r\nA: 1\r\na:2\r\nConnection: keep-alive\r\n\r\n",
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    b"GET http://host/v1/models#x HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"GET /%C3%BC HTTP/1.1\r\nHost: x\r\nX: m\xc3\xbc\xff\r\nConnection: close\r\n\r\n",
]  # fmt: skip


def read(*parts: bytes) -> tuple[Head, bytes] | None:
    """The head of what comes in these parts, and what is behind it."""
    reader = HeadReader()
    for number, part in enumerate(parts):
        found = reader.feed(part)
        if found is not None:
            return found[0], part[found[1] :] + b"".join(parts[number + 1 :])
    return None


def refused(sent: bytes) -> Unreadable:
    with pytest.raises(Unreadable) as raised:
        read(sent)
    return raised.value


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_a_head_does_not_depend_on_how_it_is_cut(head: bytes) -> None:
    whole = read(head + b"rest")
    assert whole is not None

    for cut in range(1, len(head) + 4):
        assert read((head + b"rest")[:cut], (head + b"rest")[cut:]) == whole
    assert read(*(bytes([byte]) for byte in head + b"rest")) == whole
    assert whole[1] == b"rest"


def test_a_head_says_what_is_asked_for() -> None:
    heads = [found[0] for head in HEADS if (found := read(head))]
    paths = [(head.path, head.query) for head in heads]

    assert paths == [
        ("/", ""), ("/v1/messages", "beta=true"), ("/a b", ""), ("/c", ""), ("/v1/models", ""), ("/ü", ""),
    ]  # fmt: skip
    assert [head.length for head in heads] == [0, 12, 0, 0, 0, 0]
    assert [head.chunked for head in heads] == [False, False, False, True, False, False]
    assert [head.stays for head in heads] == [True] * 5 + [False]
    assert (heads[2].headers["a"], heads[2].all("a"), heads[2].all("b")) == ("1", ["1", "2"], ())
    assert heads[5].headers["x"] == "mü\udcff"


OF_DOUBT = {
    "two lengths": b"Content-Length: 1\r\nContent-Length: 1\r\n",
    "a length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "a length with a sign": b"Content-Length: +5\r\n",
    "a length in words": b"Content-Length: five\r\n",
    "no length": b"Content-Length:\r\n",
    "a length beyond all": b"Content-Length: 99999999999999999999999\r\n",
    "another encoding": b"Transfer-Encoding: gzip\r\n",
    "chunks, and something": b"Transfer-Encoding: chunked, gzip\r\n",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "chunks that are none": b"Transfer-Encoding: xchunked\r\n",
    "two hosts": b"Host: y\r\n",
    "a folded line": b"A: 1\r\n 2\r\n",
    "a space before the colon": b"Content-Length : 5\r\n",
    "a zero byte": b"A: \0\r\n",
    "a bare line feed": b"A: 1\nB: 2\r\n",
    "a bare carriage return": b"A: 1\rB: 2\r\n",
}


@pytest.mark.parametrize("lines", OF_DOUBT.values(), ids=OF_DOUBT)
def test_a_head_that_two_readers_could_read_differently_is_refused(lines: bytes) -> None:
    refused(b"POST / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")


def test_lines_that_end_with_a_line_feed_alone_are_no_head() -> None:
    refused(b"GET / HTTP/1.1\nHost: x\n\n")


@pytest.mark.parametrize("size", [MAX_HEADER, MAX_HEADER + 1])
def test_a_header_has_at_most_so_many_bytes(size: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * size + b"\r\n\r\n"

    assert refused(head).too_large if size > MAX_HEADER else read(head)


@pytest.mark.parametrize(
    "endless",
    [b"GET /" + b"a" * MAX_HEADER, b"A: " + b"a" * MAX_HEAD, b"A: b\r\n" * (MAX_HEADERS + 1)],
    ids=["the address", "a header", "headers"],
)
def test_of_a_head_without_end_no_more_is_read_than_the_limit(endless: bytes) -> None:
    begin = b"" if endless.startswith(b"GET") else b"GET / HTTP/1.1\r\nHost: x\r\n"

    assert refused(begin + endless).too_large


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_are_a_head_or_none_or_refused(noise: bytes, cut: int) -> None:
    for sent in (noise, HEADS[1][:cut] + noise + HEADS[1][cut:]):
        with contextlib.suppress(Unreadable):
            read(sent[:cut], sent[cut:])


# ------------------------------------------------------------------------------------------ bodies

CHUNKED, LENGTH = HEADS[3], HEADS[1]


def body(head: bytes, sent: bytes, cuts: list[int], limit: int = 100) -> tuple[bytes, bytes, bool]:
    """The body, what is behind it, and whether something is whose beginning nobody knows."""
    found = read(head)
    assert found is not None
    incoming, behind = Incoming(found[0], limit, wanted=True), b""
    for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        behind += sent[begin:end] if incoming.complete else incoming.feed(sent[begin:end])
    assert incoming.complete
    return incoming.taken(), behind, incoming.behind


@given(st.lists(st.integers(0, 40), max_size=5).map(sorted))
def test_a_body_does_not_depend_on_how_it_is_cut(cuts: list[int]) -> None:
    chunks = b"6\r\nHello \r\n6;x=y\r\nWorld!\r\n0\r\nT: x\r\n\r\n"

    assert body(CHUNKED, chunks, cuts)[0] == b"Hello World!"
    assert body(LENGTH, b"Hello World!GET / HTTP/1.1", [cut for cut in cuts if cut < 26]) == (
        b"Hello World!", b"GET / HTTP/1.1", False,
    )  # fmt: skip


def test_what_follows_chunks_in_one_read_is_noticed() -> None:
    assert body(CHUNKED, b"1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", [])[2]
    assert not body(CHUNKED, b"1\r\nx\r\n0\r\n\r\n", [])[2]


def test_chunks_have_at_most_as_many_bytes_as_they_may() -> None:
    with pytest.raises(TooLarge):
        body(CHUNKED, b"65\r\n" + b"x" * 0x65, [])


@pytest.mark.parametrize(
    "begin",
    [b"5;", b'5;x="', b"1\r\nx\r\n0\r\nT: ", b"1\r\nx\r\n0\r\nT: y\r\n", b"0" * 99],
    ids=["extension", "quoted extension", "trailer", "trailers", "zeros"],
)
def test_what_chunks_bring_beside_the_body_has_an_end(begin: bytes) -> None:
    more = {b"\n": b"T: y\r\n" * 1000, b"0": b"0" * 6000}.get(begin[-1:], b"y" * 6000)
    with pytest.raises(TooLarge):
        body(CHUNKED, begin + more * 20, [*range(6000, 120_000, 6000)])


@pytest.mark.parametrize("chunked", [True, False])
def test_however_small_its_pieces_are_a_body_takes_little_more_memory_than_its_bytes(chunked: bool) -> None:
    count = 20_000
    head = CHUNKED if chunked else LENGTH.replace(b"12", b"%d" % (2 * count))
    found = read(head)
    assert found is not None
    incoming = Incoming(found[0], 2 * count, wanted=True)
    tracemalloc.start()
    for number in range(count):
        piece = b"%02d" % (number % 100)
        incoming.feed(b"2\r\n%b\r\n" % piece if chunked else piece)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert held < 3 * 2 * count
    assert len(incoming.taken()) == 2 * count


@pytest.mark.parametrize("sent", [b"zz\r\n", b"1\r\nxx\r\n", b"-1\r\n", b"fffffffffffffffff\r\n", b"\r\n"])
def test_chunks_that_are_none_are_refused(sent: bytes) -> None:
    with pytest.raises(Unreadable):
        body(CHUNKED, sent, [])
