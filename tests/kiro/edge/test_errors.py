"""Trouble between here and a host, in plain words; and which way leads there."""

import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.connections import proxy_for
from kiro_auth.kiro.edge.errors import HostFailed, ours, translated
from support.scripted import reply, script

REGION = "eu-central-1"
HOST = "q.eu-central-1.amazonaws.com"
KEY = ConnectionKey(HOST, 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
REFUSED = OSError(111, "refused")


def broken(error):
    return ours(error, f"https://{HOST}/path?token=secret", REGION)


def no_tunnel() -> aiohttp.ClientHttpProxyError:
    request = aiohttp.RequestInfo(URL(f"https://{HOST}"), "CONNECT", {}, URL(f"https://{HOST}"))
    return aiohttp.ClientHttpProxyError(request, (), status=407)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(
            aiohttp.ClientConnectorDNSError(KEY, REFUSED),
            "there is no region eu-central-1",
            id="unknown name",
        ),
        pytest.param(
            aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("x")),
            "certificate",
            id="certificate",
        ),
        pytest.param(
            aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError("x")), "No secure connection", id="TLS"
        ),
        pytest.param(
            aiohttp.ClientProxyConnectionError(KEY, REFUSED), "proxy for q.", id="proxy unreachable"
        ),
        pytest.param(no_tunnel(), "proxy refuses", id="proxy refuses"),
        pytest.param(aiohttp.ClientConnectorError(KEY, REFUSED), "refuses the connection", id="refused"),
        pytest.param(aiohttp.InvalidURL("x"), "not a URL", id="no URL"),
    ],
)
def test_without_a_connection_another_host_may_do(error, words):
    failed = broken(error)
    assert isinstance(failed, HostFailed)
    assert failed.failure.code == "KA-NETWORK"
    assert words in failed.failure.message
    assert failed.failure.next_step


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        pytest.param(
            aiohttp.ConnectionTimeoutError(), HostFailed, "did not accept a connection", id="while connecting"
        ),
        pytest.param(aiohttp.SocketTimeoutError(), TurnFailed, "silent for too long", id="while reading"),
        pytest.param(TimeoutError(), TurnFailed, "silent for too long", id="altogether"),
    ],
)
def test_silence_is_a_timeout(error, kind, words):
    failed = broken(error)
    assert type(failed) is kind
    assert failed.failure.code == "KA-TIMEOUT"
    assert words in failed.failure.message


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientOSError(104, "reset"),
        aiohttp.ClientPayloadError("cut"),
        ConnectionResetError(),
        OSError("anything"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_breaks_after_the_connection_is_not_sent_to_another_host(error):
    failed = broken(error)
    assert type(failed) is TurnFailed
    assert failed.failure.code == "KA-NETWORK"
    assert "broke off" in failed.failure.message


@pytest.mark.parametrize(
    "error",
    [aiohttp.ClientConnectorError(KEY, REFUSED), TimeoutError(), ConnectionResetError()],
    ids=lambda error: type(error).__name__,
)
def test_a_sentence_names_the_host_and_nothing_else_of_the_address(error):
    sentence = broken(error).failure.sentence()
    assert HOST in sentence
    assert "secret" not in sentence


def test_the_cause_stays_attached():
    cause = ConnectionResetError()
    with pytest.raises(TurnFailed) as raised, translated(f"https://{HOST}", REGION):
        raise cause
    assert raised.value.__cause__ is cause


def test_mistakes_of_the_program_are_not_called_network_trouble():
    with pytest.raises(KeyError), translated(f"https://{HOST}", REGION):
        raise KeyError("x")


async def test_a_host_without_tls_is_told_as_such():
    async with script(reply()) as service, aiohttp.ClientSession() as http:
        url = service.url.replace("http:", "https:")
        with pytest.raises(HostFailed, match="No secure connection"), translated(url, REGION):
            await http.get(url)


# ----------------------------------------------------------------------------------------- proxies

PROXY = "http://proxy.example:3128"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        pytest.param({}, f"https://{HOST}/", None, id="none is set"),
        pytest.param({"HTTPS_PROXY": PROXY}, f"https://{HOST}/", PROXY, id="HTTPS_PROXY"),
        pytest.param({"https_proxy": PROXY}, f"https://{HOST}/", PROXY, id="small letters"),
        pytest.param({"HTTP_PROXY": PROXY}, f"https://{HOST}/", None, id="that of another scheme"),
        pytest.param({"ALL_PROXY": PROXY}, f"https://{HOST}/", PROXY, id="ALL_PROXY"),
        pytest.param({"HTTPS_PROXY": "proxy.example:3128"}, f"https://{HOST}/", PROXY, id="without a scheme"),
        pytest.param(
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "amazonaws.com"}, f"https://{HOST}/", None, id="NO_PROXY"
        ),
        pytest.param(
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "example.org"},
            f"https://{HOST}/",
            PROXY,
            id="NO_PROXY for others",
        ),
        pytest.param(
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, f"https://{HOST}/", None, id="NO_PROXY for all"
        ),
    ],
)
def test_the_environment_names_the_proxy(environment, variables, url, proxy):
    for name, value in variables.items():
        environment.setenv(name, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "127.1.2.3", "localhost", "LOCALHOST:1", "[::1]:8080"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_this_machine_is_never_asked_through_a_proxy(environment, host, scheme):
    for name in VARIABLES[:3]:
        environment.setenv(name, PROXY)
    assert proxy_for(f"{scheme}://{host}/path") is None
