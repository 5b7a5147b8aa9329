"""Trouble between here and a host, in plain words; and which way leads there."""

import pytest

from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.answer import LineFailed
from kiro_auth.kiro.edge.errors import HostFailed, ours, translated
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.proxies import proxy_for
from kiro_auth.kiro.edge.trust import Trust
from support.scripted import reply, script

REGION = "eu-central-1"
HOST = "q.eu-central-1.amazonaws.com"


def broken(fault):
    return ours(LineFailed(fault), f"https://{HOST}/path?token=secret", REGION)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("name", "there is no region eu-central-1"),
        ("certificate", "certificate"),
        ("tls", "No secure connection"),
        ("proxy gone", "proxy for q."),
        ("proxy refuses", "proxy refuses"),
        ("refused", "refuses the connection"),
        ("address", "not a URL"),
    ],
)
def test_without_a_connection_another_host_may_do(fault, words):
    failed = broken(fault)
    assert isinstance(failed, HostFailed)
    assert failed.failure.code == "KA-NETWORK"
    assert words in failed.failure.message
    assert failed.failure.next_step


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        pytest.param("slow", HostFailed, "did not accept a connection", id="while connecting"),
        pytest.param("silent", TurnFailed, "silent for too long", id="while reading"),
    ],
)
def test_silence_is_a_timeout(fault, kind, words):
    failed = broken(fault)
    assert type(failed) is kind
    assert failed.failure.code == "KA-TIMEOUT"
    assert words in failed.failure.message


def test_what_breaks_after_the_connection_is_not_sent_to_another_host():
    failed = broken("broken")
    assert type(failed) is TurnFailed
    assert failed.failure.code == "KA-NETWORK"
    assert "broke off" in failed.failure.message


@pytest.mark.parametrize("fault", ["refused", "silent", "broken"])
def test_a_sentence_names_the_host_and_nothing_else_of_the_address(fault):
    sentence = broken(fault).failure.sentence()
    assert HOST in sentence
    assert "secret" not in sentence


def test_the_cause_stays_attached():
    cause = LineFailed("broken")
    with pytest.raises(TurnFailed) as raised, translated(f"https://{HOST}", REGION):
        raise cause
    assert raised.value.__cause__ is cause


@pytest.mark.parametrize("mistake", [KeyError("x"), ConnectionResetError()])
def test_mistakes_of_the_program_are_not_called_network_trouble(mistake):
    with pytest.raises(type(mistake)), translated(f"https://{HOST}", REGION):
        raise mistake


async def test_a_host_without_tls_is_told_as_such():
    async with script(reply()) as service, Lines(Trust()) as lines:
        url = service.url.replace("http:", "https:")
        with pytest.raises(HostFailed, match="No secure connection"), translated(url, REGION):
            await lines.ask(url, {}, b"", silence=5, proxy=None)


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
