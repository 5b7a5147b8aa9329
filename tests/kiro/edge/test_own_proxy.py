"""Which proxy is the trouble: an account's own one, or that of the environment."""

from __future__ import annotations

import aiohttp
import pytest
from yarl import URL

from kiro_auth.kiro.edge.connections import proxy_for
from kiro_auth.kiro.edge.errors import ours

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


async def sentence(url: str, proxy: str | None) -> str:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError) as raised:
            await http.get(url, proxy=proxy or proxy_for(url))
    return ours(raised.value, url, "us-east-1").failure.sentence()


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


@pytest.mark.parametrize(("variable", "own"), [("", True), (DEAD, False)])
def test_a_proxy_that_refuses_is_the_account_s_where_the_environment_has_none(
    variable: str, own: bool, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HTTPS_PROXY", variable)
    url = URL("https://q.example/")
    error = aiohttp.ClientHttpProxyError(aiohttp.RequestInfo(url, "CONNECT", {}, url), (), status=407)

    assert (OWN in ours(error, str(url), "us-east-1").failure.sentence()) is own
