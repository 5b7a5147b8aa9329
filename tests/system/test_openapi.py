"""docs/openapi.json against the running gateway: what it allows is answered, what it forbids is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from support.programs import KEY, Home, Services
from support.serving import serving

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "openapi.json"
DESCRIPTION: dict[str, Any] = json.loads(FILE.read_text())
OPERATIONS = [(method, path) for path, methods in DESCRIPTION["paths"].items() for method in methods]
ENDING = ("/kiro/retire", "/kiro/stop")
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
HOOKS = {"SCHEMATHESIS_HOOKS": "support.schemathesis_hooks", "PYTHONPATH": str(ROOT / "tests")}
SEED, EXAMPLES, SECONDS = 1, 10, 560


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    services.begin(home, auto_approve=True)
    home.run("login", "--builder-id", "--no-browser")
    return home


@pytest.fixture(scope="module")
def gateway(home: Home) -> Iterator[str]:
    with home.gateway() as url:
        yield url


def asked(url: str, method: str, path: str, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        url + re.sub(r"\{\w+\}", "auto", path),
        method=method.upper(),
        data=b"{}" if method == "post" else None,
    )
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_it_describes_the_addresses_of_the_page_and_no_others() -> None:
    table = (ROOT / "docs" / "apis.md").read_text().split("| Address | |", 1)[1].split("\n\n", 1)[0]
    listed = {
        (method.lower(), path)
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for method, path in addresses(row)
    }
    assert set(OPERATIONS) == listed - {("head", path) for _, path in listed}


async def test_it_describes_all_that_the_gateway_has_and_nothing_else(home: Home) -> None:
    """Its own routes, and those of the pages that aiohttp serves."""
    async with serving(home) as served:
        own = served.entrance._front.routes
        pages = (await served.entrance._pages()).router.routes()
    routes = {
        (method.lower(), address.replace("*", "{id}"))
        for table in (own._exact, {f"{begin}*": methods for begin, methods in own._below.items()})
        for address, methods in table.items()
        for method in methods
    }
    routes |= {(route.method.lower(), route.resource.canonical) for route in pages if route.resource}
    assert set(OPERATIONS) == {route for route in routes if route[0] != "head"}


def addresses(row: str) -> Iterator[tuple[str, str]]:
    """`GET /a`, or several of them; of `GET`, `HEAD` `/a`, `/b` every pair."""
    words = [word.split("?")[0] for word in re.findall(r"`([^`]+)`", row)]
    paired = [word.split(" ") for word in words if " " in word]
    yield from ((method, path) for method, path in paired)
    methods = [word for word in words if word.isupper()]
    yield from ((method, word) for method in methods for word in words if word.startswith("/"))


@pytest.mark.parametrize(("method", "path"), [pair for pair in OPERATIONS if pair[1] not in ENDING])
def test_each_address_is_there(gateway: str, method: str, path: str) -> None:
    nonce = {"x_kiro_nonce": "a" * 32}
    status, body = asked(gateway, method, path, x_api_key=KEY, **nonce)
    assert str(status) in DESCRIPTION["paths"][path][method]["responses"]
    assert f"There is no {method.upper()} ".encode() not in body


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_without_the_key_nothing_is_answered_but_what_the_description_says(
    gateway: str, method: str, path: str
) -> None:
    operation = DESCRIPTION["paths"][path][method]
    status, body = asked(gateway, method, path)
    if operation.get("security") == []:
        assert status != 401
        return
    assert status == 401
    shape = operation["responses"]["401"]["content"]["application/json"]["schema"]
    jsonschema.validate(json.loads(body), {**shape, "components": DESCRIPTION["components"]})


@pytest.mark.parametrize(("method", "path"), [("get", "/v1/messages"), ("delete", "/health")])
def test_another_method_is_told_those_that_there_are(gateway: str, method: str, path: str) -> None:
    request = urllib.request.Request(gateway + path, method=method.upper(), headers={"x-api-key": KEY})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 405
    assert refused.value.headers["allow"].replace(" ", "").split(",")[0] in ("POST", "GET")
    refused.value.close()


@pytest.mark.clients
@pytest.mark.early
@pytest.mark.timeout(600)
def test_whatever_the_description_allows_or_forbids_is_answered_as_it_says(
    home: Home, gateway: str, tmp_path: Path
) -> None:
    """The same requests each time; none of them is answered by a defect, which the log would tell."""
    left_out = [word for path in ENDING for word in ("--exclude-path", path)]
    done = subprocess.run(
        [SCHEMATHESIS, "--config-file", ROOT / "tests" / "support" / "schemathesis.toml", "run", FILE,
         "--url", gateway, "--header", f"x-api-key: {KEY}", *left_out, "--seed", str(SEED),
         "--max-examples", str(EXAMPLES), "--request-timeout", "30"],
        cwd=tmp_path, env={**home.environment, **HOOKS}, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    log = "".join(path.read_text() for path in home.state.glob("gateway.log*"))

    assert done.returncode == 0, done.stdout
    assert "defect" not in log
    assert "Traceback" not in log
