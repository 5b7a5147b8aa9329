"""Which proxy is the trouble: an account's own one, or that of the environment."""

from __future__ import annotations

import pytest

from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.client import Credentials, KiroClient
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from support.scripted import reply, script

pytestmark = pytest.mark.outside

DEAD = "http://127.0.0.1:9"
UNKNOWN = "http://proxy.invalid:3128"
OWN = "accounts set NAME --proxy"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


async def sentence(url: str, own: str | None) -> str:
    """What a person reads when the models are asked for through this proxy."""
    async with Lines(Trust()) as lines:
        client = KiroClient(lines, Endpoints({"management": (url,)}), timeout=5)
        with pytest.raises(TurnFailed) as raised:
            await client.list_models(
                Credentials(kind="idc", token="the-token", region="us-east-1", proxy=own)
            )
    return raised.value.failure.sentence()


@pytest.mark.parametrize("url", ["http://q.example/", "https://q.example/"])
@pytest.mark.parametrize("proxy", [DEAD, UNKNOWN])
async def test_an_account_s_own_proxy_that_is_gone_is_named_as_such(
    url: str, proxy: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HTTPS_PROXY", "http://127.0.0.1:10")
    told = await sentence(url, proxy)

    assert told.startswith("The account's own proxy for q.example cannot be reached (KA-NETWORK).")
    assert OWN in told


@pytest.mark.parametrize("proxy", [DEAD, UNKNOWN])
async def test_that_of_the_environment_is_not_called_the_account_s(
    proxy: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HTTPS_PROXY", proxy)
    told = await sentence("https://q.example/", None)

    assert told == "The proxy for q.example cannot be reached (KA-NETWORK). Check HTTPS_PROXY and NO_PROXY."


@pytest.mark.parametrize("own", [True, False])
async def test_a_proxy_that_refuses_is_named_as_whose_it_is(
    own: bool, environment: pytest.MonkeyPatch
) -> None:
    async with script(reply({}, 407)) as proxy:
        environment.setenv("HTTPS_PROXY", DEAD if own else proxy.url)
        told = await sentence("https://q.example/", proxy.url if own else None)

    assert "refuses to connect to q.example" in told
    assert (OWN in told) is own
